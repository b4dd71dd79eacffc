//! The five routes whose paths, status codes and keys never change.

use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::{Answer, Server};

/// Returns the keys of a JSON object in order.
fn keys(answer: &str) -> Vec<String> {
    // serde_json sorts keys; the text has the original order.
    let mut keys: Vec<(usize, String)> = serde_json::from_str::<serde_json::Map<_, _>>(answer)
        .expect("an object")
        .into_iter()
        .map(|(key, _)| (answer.find(&format!("\"{key}\":")).expect("the key"), key))
        .collect();
    keys.sort();
    keys.into_iter().map(|(_, key)| key).collect()
}

fn is_rfc3339_utc_with_nanoseconds(text: &str) -> bool {
    let pattern = "0000-00-00T00:00:00.000000000Z";
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(b, p)| if p == b'0' { b.is_ascii_digit() } else { b == p })
}

#[tokio::test]
async fn an_empty_post_starts_the_default_task() {
    let server = Server::start(&[]);
    let client = server.client();
    let answer = client.send(Method::POST, "/task", None).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(keys(&answer.text), ["id", "created_at", "duration"]);
    assert!(is_rfc3339_utc_with_nanoseconds(answer.str("created_at")), "{}", answer.text);
    assert_eq!(answer.json["duration"], 0);
    let id = answer.str("id");
    assert_eq!(answer.headers["location"], format!("/task/{id}"));
    let running = client.until(id, "running").await;
    assert_eq!(running.json["plugin"], "io-stub");
    assert_eq!(running.json["status"], "in process");
}

#[tokio::test]
async fn a_task_answers_its_status_and_its_result() {
    let server = Server::start(&[]);
    let client = server.client();
    let input = json!({"min_ms": 1_200, "max_ms": 1_300, "fail_rate": 0});
    let id = client.submit(&json!({"input": input})).await;
    client.until(&id, "running").await;

    let early = client.get(&format!("/task/{id}/result")).await;
    assert_eq!(early.status, StatusCode::ACCEPTED);
    assert_eq!(early.json, json!({"problem": "task running or failed, no result, check status"}));
    let status = client.get(&format!("/task/{id}/status")).await;
    assert_eq!(status.status, StatusCode::OK);
    assert_eq!(keys(&status.text)[..3], ["status", "created_at", "duration"]);
    assert_eq!(status.json["status"], "in process");
    assert_eq!(status.json["duration"], 0);

    client.until(&id, "completed").await;
    let status = client.get(&format!("/task/{id}/status")).await;
    assert_eq!(status.json["status"], "completed");
    assert_eq!(status.json["duration"], 1, "whole seconds of a run of 1.2 s");
    let result = client.get(&format!("/task/{id}/result")).await;
    assert_eq!(result.status, StatusCode::OK);
    assert_eq!(keys(&result.text), ["result"]);
    let digit = result.str("result").strip_prefix("io work result = ").expect("the seed's words");
    assert!(digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit(), "{digit}");
}

#[tokio::test]
async fn a_task_without_a_slot_waits() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let first = client.submit(&json!({})).await;
    client.until(&first, "running").await;
    let second = client.submit(&json!({})).await;
    let status = client.get(&format!("/task/{second}/status")).await;
    assert_eq!(status.json["status"], "created, but waiting to start");
    assert_eq!(status.json["duration"], 0);
    let result = client.get(&format!("/task/{second}/result")).await;
    assert_eq!(result.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_failed_io_task_has_its_status() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"input": {"min_ms": 1, "max_ms": 2, "fail_rate": 1}})).await;
    let task = client.until(&id, "failed").await;
    assert_eq!(task.json["status"], "failed by io bound");
    assert_eq!(task.json["result"], json!(null));
    let result = client.get(&format!("/task/{id}/result")).await;
    assert_eq!(result.status, StatusCode::CONFLICT);
    assert_eq!(result.json["code"], "task-failed");
    assert_eq!(result.json["problem"], "task running or failed, no result, check status");
}

#[tokio::test]
async fn the_list_is_an_array_of_tasks_newest_first() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let empty = client.get("/task").await;
    assert_eq!((empty.status, empty.text.as_str()), (StatusCode::OK, "[]"));

    let done = client.submit(&json!({"plugin": "noop"})).await;
    let record = client.until(&done, "completed").await;
    let running = client.submit(&json!({})).await;
    let list = client.get("/task").await;
    let tasks = list.json.as_array().expect("an array");
    assert_eq!(tasks.iter().map(|task| &task["id"]).collect::<Vec<_>>(), [&json!(running), &json!(done)]);
    assert_eq!(tasks[0]["result"], json!(null));
    assert_eq!(tasks[1]["result"], record.json["result"]);
    let first = list.text.split('}').next().expect("an object");
    let order = ["\"id\":", "\"result\":", "\"status\":", "\"created_at\":", "\"duration\":"];
    let places: Vec<_> = order.iter().map(|key| first.find(key).expect("a key of the seed")).collect();
    assert!(places.is_sorted(), "{first}");
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let server = Server::start(&[]);
    let client = server.client();
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(client.submit(&json!({"plugin": "noop"})).await);
    }
    ids.reverse();
    let (mut seen, mut path) = (Vec::new(), "/task?limit=3".to_owned());
    loop {
        let page = client.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        seen.extend(page.json.as_array().expect("an array").iter().map(|task| task["id"].clone()));
        // A new task at the front does not shift the pages.
        client.submit(&json!({"plugin": "noop"})).await;
        match next(&page) {
            Some(next) => path = next,
            None => break,
        }
    }
    assert_eq!(seen, ids.into_iter().map(|id| json!(id)).collect::<Vec<_>>());
}

fn next(page: &Answer) -> Option<String> {
    let link = page.headers.get("link")?.to_str().expect("text");
    Some(link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?.to_owned())
}

#[tokio::test]
async fn a_deleted_task_is_gone_from_every_route() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({})).await;
    client.until(&id, "running").await;
    let deleted = client.delete(&format!("/task/{id}")).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (StatusCode::NO_CONTENT, ""));
    for path in [format!("/task/{id}"), format!("/task/{id}/status"), format!("/task/{id}/result")] {
        let answer = client.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.json["code"], "unknown-task");
    }
    assert_eq!(client.get("/task").await.text, "[]");
    assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NOT_FOUND);
}
