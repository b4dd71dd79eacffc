//! Files that tasks hand to those that depend on them.

use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::Client;

use super::{KEEPS, listed, server, task, until_stored};

/// A task whose run leaves `NAME` with `text`.
fn leaving(name: &str, text: &str) -> Value {
    task(&["put", &format!("/tmp/{name}"), text], &[(name, b"given")])
}

/// A task that depends on others and gets their files.
fn after(mut task: Value, on: &[&str], files_from: &str) -> Value {
    (task["depends_on"], task["files_from"]) = (json!(on), files_from.into());
    task
}

async fn until_failed(client: &Client, task: &Value) -> Value {
    let failed = client.until_finished(&client.submit(task).await).await;
    assert_eq!(failed.str("status"), "failed by invalid input", "{}", failed.text);
    failed.json["error"]["message"].clone()
}

#[tokio::test]
async fn a_dependent_reads_what_its_dependencies_left() {
    let server = server(KEEPS, &[]);
    let client = server.client();
    let first = client.submit(&leaving("a.json", "one")).await;
    let other = client.submit(&leaving("a.json", "two")).await;
    let read = |path: &str| task(&["read", path], &[("own", b"x")]);
    let alone = client.submit(&after(read("/tmp/a.json"), &[&first], "dependencies")).await;
    let folders = after(read("/tmp/1/a.json"), &[&first, &other], "dependency-folders");
    let folders = client.submit(&folders).await;
    assert_eq!(client.until_finished(&alone).await.str("result"), "one");
    let done = client.until_finished(&folders).await;
    assert_eq!((done.str("result"), done.str("files_from")), ("two", "dependency-folders"), "{}", done.text);
    // What it was given is neither its own nor kept once more, though a pattern matches.
    let whole = client.get(&format!("/task/{alone}")).await;
    assert_eq!(listed(&whole), [("own", "input", 1)]);
    // A task that did not ask for files has none of them.
    let plain =
        json!({"plugin": "program", "input": {"args": ["read", "/tmp/a.json"]}, "depends_on": [first]});
    let plain = client.until_finished(&client.submit(&plain).await).await;
    assert_ne!(plain.str("result"), "one", "{}", plain.text);
    let again = client.post(&format!("/task/{alone}/retry"), &json!({})).await;
    assert_eq!(client.until_finished(again.str("id")).await.str("result"), "one");
    for id in [&first, &other, &alone, &folders, &again.str("id").to_owned()] {
        client.delete(&format!("/task/{id}")).await;
    }
    until_stored(&server, 0).await;
}

#[tokio::test]
async fn files_that_cannot_be_handed_fail_the_attempt_and_say_why() {
    let server = server(KEEPS, &["--files-per-task", "2", "--files-max", "20B", "--file-max", "20B"]);
    let client = server.client();
    let first = client.submit(&leaving("a.json", "one")).await;
    let other = client.submit(&leaving("a.json", "two")).await;
    client.until(&other, "completed").await;
    let reads = |files: &[(&str, &[u8])]| task(&["read", "/tmp/a.json"], files);
    let same = until_failed(&client, &after(reads(&[]), &[&first, &other], "dependencies")).await;
    assert!(same.as_str().expect("text").contains("dependency-folders"), "{same}");
    let own = until_failed(&client, &after(reads(&[("a.json", b"")]), &[&first], "dependencies")).await;
    assert!(own.as_str().expect("text").contains("the task itself"), "{own}");
    let many = after(reads(&[("b", b"")]), &[&first, &other], "dependency-folders");
    let many = until_failed(&client, &many).await;
    assert!(many.as_str().expect("text").contains("files_per_task"), "{many}");
    let large = until_failed(&client, &after(reads(&[("b", &[0; 18])]), &[&first], "dependencies")).await;
    assert!(large.as_str().expect("text").contains("files_max"), "{large}");
    // Deleted while another dependency runs.
    let open = client.submit(&task(&["temporary", "/tmp/t", "x", "3000"], &[])).await;
    let late = client.submit(&after(reads(&[]), &[&first, &open], "dependencies")).await;
    client.delete(&format!("/task/{first}")).await;
    let gone = client.until_finished(&late).await;
    assert_eq!(gone.str("status"), "failed by invalid input", "{}", gone.text);
    assert!(gone.json["error"]["message"].as_str().expect("text").contains(&first), "{}", gone.text);
    for (change, pointer) in [
        (json!({"files_from": "dependencies"}), "/files_from"),
        (json!({"files_from": "everywhere", "depends_on": [other]}), "/files_from"),
        (json!({"plugin": "bare", "files_from": "dependencies", "depends_on": [other]}), "/files_from"),
    ] {
        let mut wrong = reads(&[]);
        wrong.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        let refused = client.post("/task", &wrong).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
        assert_eq!(refused.pointers(), [pointer], "{}", refused.text);
    }
}

#[tokio::test]
async fn a_key_gets_no_files_of_tasks_that_it_may_not_read() {
    let server = server(KEEPS, &[]);
    let [one, other] = ["one", "other"]
        .map(|name| server.client().with_key(&server.create_key(name, &["--scope", "submit"])));
    let first = one.submit(&leaving("a.json", "secret")).await;
    let dependent = after(task(&["read", "/tmp/a.json"], &[]), &[&first], "dependencies");
    let refused = other.post("/task", &dependent).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
    assert_eq!(refused.pointers(), ["/depends_on/0"], "{}", refused.text);
    let own = one.submit(&dependent).await;
    assert_eq!(one.until_finished(&own).await.str("result"), "secret");
}
