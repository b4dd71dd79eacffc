//! Suspended tasks, which wait without an instance.

use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};
use wasmill_tests::{Client, Server, wasmill};

const SUSPENDED: &[u8] = include_bytes!(env!("GUEST_IO_STUB_SUSPENDED"));

fn start(args: &[&str]) -> Server {
    let folder = Server::folder_with_guests();
    std::fs::write(folder.path().join("plugins/io-stub-suspended.wasm"), SUSPENDED).expect("a plugin");
    Server::start_in(Arc::clone(&folder), args).expect("a server")
}

fn suspended_for(ms: u32) -> Value {
    json!({"plugin": "io-stub-suspended", "input": {"min_ms": ms, "max_ms": ms, "fail_rate": 0}})
}

async fn until_suspended(client: &Client, id: &str) {
    client
        .until_task(id, "is suspended", |record| {
            record["suspensions"] == 1 && record["queue_state"] == "suspended"
        })
        .await;
}

#[tokio::test]
async fn a_thousand_tasks_wait_in_one_slot() {
    let server = start(&["--slots", "1"]);
    let client = server.client();
    assert_eq!(client.get("/plugins/io-stub-suspended").await.str("kind"), "suspendable");
    let tasks: Vec<_> = (0..1_000).map(|_| suspended_for(3_000)).collect();
    let stored = client.post("/task/batch", &json!(tasks)).await;
    let ids: Vec<_> =
        stored.json.as_array().expect("an array").iter().map(|task| task["id"].clone()).collect();
    for id in ids.iter().filter_map(Value::as_str) {
        let done = client.until(id, "completed").await;
        assert_eq!((done.json["attempt"].as_u64(), done.json["suspensions"].as_u64()), (Some(1), Some(1)));
        assert!(done.json["duration_ms"].as_u64() >= Some(3_000), "{}", done.text);
    }
}

#[tokio::test]
async fn a_suspended_task_survives_the_host_and_is_cancelled_at_once() {
    let server = start(&[]);
    let client = server.client();
    let [done, cancelled] =
        [client.submit(&suspended_for(3_000)).await, client.submit(&suspended_for(86_400_000)).await];
    for id in [&done, &cancelled] {
        until_suspended(&client, id).await;
    }
    let record = client.get(&format!("/task/{done}")).await;
    assert_eq!(record.str("status"), "in process");
    assert!(record.json["started_at"].is_string() && record.json["duration_ms"].is_u64(), "{}", record.text);
    assert_eq!(client.slots_used().await, 0);

    let server = server.kill_and_restart();
    let client = server.client();
    let record = client.until(&done, "completed").await;
    assert_eq!((record.json["attempt"].as_u64(), record.json["host_crashes"].as_u64()), (Some(1), Some(0)));
    assert!(
        (3_000..60_000).contains(&record.json["duration_ms"].as_u64().expect("a number")),
        "{}",
        record.text
    );
    let logs = client.get(&format!("/task/{done}/logs")).await;
    assert_eq!(logs.json[0]["text"], "suspended for 3000 ms");
    let gone =
        client.send(Method::POST, &format!("/task/{cancelled}/cancel"), None).await.expect("an answer");
    assert_eq!(gone.str("state"), "cancelled");
}

#[tokio::test]
async fn followers_hear_that_a_task_is_suspended() {
    let server = start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&id, "completed").await;
    let mut all = client.follow("/events", None).await;
    let id = client.submit(&suspended_for(300)).await;
    let mut names = Vec::new();
    while let Some(event) = all.next().await {
        names.push(event.name.clone());
        if event.name == "suspended" {
            assert!(event.data["ready_at"].is_string(), "{event:?}");
        }
        if event.name == "completed" {
            break;
        }
    }
    assert_eq!(names, ["created", "started", "suspended", "started", "completed"]);
    assert_eq!(client.get(&format!("/task/{id}")).await.json["attempts"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn run_waits_for_a_suspended_task_by_itself() {
    let folder = Server::folder_with_guests();
    let file = folder.path().join("plugins/io-stub-suspended.wasm");
    std::fs::write(&file, SUSPENDED).expect("a plugin");
    let input = suspended_for(200)["input"].to_string();
    let output = wasmill(folder.path(), &["run", file.to_str().expect("text"), "--input", &input]);
    assert!(output.out.starts_with("io work result = "), "{output:?}");
    assert!(output.err.contains("suspended, resumes in"), "{output:?}");
}
