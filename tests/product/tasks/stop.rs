//! A 204 or `cancelled` means that the guest is gone and its slot is free.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::{Client, Server};

fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}

async fn delete(client: &Client, id: &str) {
    let answer = client.delete(&format!("/task/{id}")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
}

/// Submits a task, deletes it while it runs, and checks that the only slot is free and usable at once.
async fn a_running_task_frees_its_slot(task: Value) {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let id = client.submit(&task).await;
    client.until(&id, "running").await;
    // A task is running as soon as that is stored, a moment before its run exists.
    while client.slots_used().await == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    delete(&client, &id).await;
    assert_eq!(client.slots_used().await, 0);
    let next = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&next, "completed").await;
}

#[tokio::test]
async fn deleting_a_sleeping_task_frees_its_slot() {
    a_running_task_frees_its_slot(json!({})).await;
}

#[tokio::test]
async fn deleting_a_spinning_task_frees_its_slot() {
    a_running_task_frees_its_slot(misbehave(&json!({"do": "spin"}))).await;
}

#[tokio::test]
async fn deleting_a_waiting_task_never_runs_it() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let running = client.submit(&json!({})).await;
    client.until(&running, "running").await;
    let waiting = client.submit(&json!({})).await;
    delete(&client, &waiting).await;
    delete(&client, &running).await;
    assert_eq!(client.slots_used().await, 0);
    assert_eq!(client.get("/task").await.text, "[]");
}

#[tokio::test]
async fn deleting_a_spinning_task_frees_its_core() {
    let server = Server::start(&["--slots", "2"]);
    let client = server.client();
    for _ in 0..2 {
        let id = client.submit(&misbehave(&json!({"do": "spin"}))).await;
        client.until(&id, "running").await;
        delete(&client, &id).await;
    }
    let before = cpu_ticks(server.pid());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let spent = cpu_ticks(server.pid()) - before;
    assert!(spent < 20, "an idle server used {spent} ticks of 10 ms within 500 ms");
}

/// Reads user and system time of a process in clock ticks, which are 10 ms on Linux.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<_> = fields.split_whitespace().collect();
    [11, 12].iter().map(|&field| fields[field].parse::<u64>().expect("a number")).sum()
}

#[tokio::test]
async fn many_spinning_tasks_leave_the_server_responsive() {
    let server = Server::start(&["--slots", "40"]);
    let client = server.client();
    let mut ids = Vec::new();
    for _ in 0..32 {
        ids.push(client.submit(&misbehave(&json!({"do": "spin"}))).await);
    }
    for id in &ids {
        client.until(id, "running").await;
    }
    let short = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&short, "completed").await;
    for id in &ids {
        delete(&client, id).await;
    }
    assert_eq!(client.slots_used().await, 0);
}

#[tokio::test]
async fn a_cancelled_task_keeps_its_record() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({})).await;
    client.until(&id, "running").await;
    let answer = client.post(&format!("/task/{id}/cancel"), &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!((answer.str("state"), answer.str("status")), ("cancelled", "cancelled"));
    assert_eq!(client.slots_used().await, 0);
    let again = client.post(&format!("/task/{id}/cancel"), &json!({})).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!((again.str("code"), again.str("state")), ("task-finished", "cancelled"));
    let result = client.get(&format!("/task/{id}/result")).await;
    assert_eq!((result.status, result.str("code")), (StatusCode::CONFLICT, "task-cancelled"));
}

#[tokio::test]
async fn a_task_that_exceeds_its_timeout_fails() {
    let server = Server::start(&["--slots", "2"]);
    let client = server.client();
    let mut ids = Vec::new();
    for input in [json!({"do": "sleep", "ms": 60_000}), json!({"do": "spin"})] {
        let mut task = misbehave(&input);
        task["timeout"] = json!("300ms");
        ids.push(client.submit(&task).await);
    }
    for id in ids {
        let task = client.until(&id, "failed").await;
        assert_eq!(task.str("status"), "failed by timeout");
        assert!(
            task.json["error"]["message"].as_str().expect("a message").contains("300ms"),
            "{}",
            task.text
        );
    }
}
