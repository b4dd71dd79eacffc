//! No accepted task is lost, whatever happens to the host.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;
use wasmill_tests::Server;

#[tokio::test]
async fn nothing_is_lost_when_the_host_is_killed() {
    let server = Server::start(&["--slots", "4"]);
    let client = server.client();
    let done = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&done, "completed").await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(client.submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 700}})).await);
    }
    client.until(&ids[3], "running").await;

    let server = server.kill_and_restart();
    let client = server.client();
    assert_eq!(client.get(&format!("/task/{done}/status")).await.str("status"), "completed");
    let mut second_attempts = 0;
    for id in &ids {
        let task = client.until(id, "completed").await;
        let (attempt, crashes) = (&task.json["attempt"], &task.json["host_crashes"]);
        assert_eq!(attempt.as_u64(), crashes.as_u64().map(|crashes| crashes + 1), "{}", task.text);
        second_attempts += u32::from(attempt == 2);
    }
    assert_eq!(second_attempts, 4, "those that were running start again, the others start once");
    assert!(server.log().contains("a host crashed while tasks were running"), "{}", server.log());
}

#[tokio::test]
async fn a_task_accepted_just_before_a_crash_survives() {
    let mut server = Server::start(&["--slots", "1"]);
    let mut ids = Vec::new();
    for _ in 0..5 {
        let client = server.client();
        ids.push(client.submit(&json!({"plugin": "noop"})).await);
        server = server.kill_and_restart();
        // A task that crashed three hosts would fail.
        server.client().until(&ids[ids.len() - 1], "completed").await;
    }
    let client = server.client();
    for id in ids {
        assert_eq!(client.get(&format!("/task/{id}")).await.str("state"), "completed");
    }
}

#[tokio::test]
async fn the_default_task_finishes_on_time_despite_a_crash() {
    let server = Server::start(&[]);
    let client = server.client();
    let start = Instant::now();
    let id = client.submit(&json!({"input": {"min_ms": 4_000, "max_ms": 4_000, "fail_rate": 0}})).await;
    // It reports progress after its checkpoint.
    client.until_progress(&id).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let server = server.kill_and_restart();
    let task = server.client().until(&id, "completed").await;
    assert_eq!(task.json["attempt"], 2);
    let run = task.json["duration_ms"].as_u64().expect("a number");
    assert!(run < 3_000, "the second attempt waits only for the rest, not {run} ms");
    assert!(start.elapsed() >= Duration::from_secs(4), "nor does it end early: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_cancelled_task_stays_cancelled_after_a_crash() {
    let server = Server::start(&[]);
    let client = server.client();
    let kept = client.submit(&json!({})).await;
    let gone = client.submit(&json!({})).await;
    client.until(&kept, "running").await;
    client.until(&gone, "running").await;
    client.post(&format!("/task/{kept}/cancel"), &json!({})).await;
    client.delete(&format!("/task/{gone}")).await;
    let server = server.kill_and_restart();
    let client = server.client();
    assert_eq!(client.get(&format!("/task/{kept}")).await.str("state"), "cancelled");
    assert_eq!(client.get(&format!("/task/{gone}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_drain_lets_a_short_task_finish() {
    let mut server = Server::start(&["--drain", "20s"]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 1_000}})).await;
    client.until(&id, "running").await;
    server.signal();
    let refused = loop {
        let answer = client.post("/task", &json!({"plugin": "noop"})).await;
        if answer.status != StatusCode::CREATED {
            break answer;
        }
    };
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.str("code"), "draining");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(client.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(client.get(&format!("/task/{id}")).await.str("state"), "running");
    assert!(server.wait().success(), "{}", server.log());
    let server = server.start_beside().expect("a server");
    assert_eq!(server.client().get(&format!("/task/{id}")).await.str("state"), "completed");
}

#[tokio::test]
async fn a_drain_requeues_long_tasks_without_using_an_attempt() {
    let server = Server::start(&["--drain", "100ms"]);
    let client = server.client();
    let mut ids = Vec::new();
    for input in [json!({"do": "sleep", "ms": 60_000}), json!({"do": "spin"})] {
        ids.push(client.submit(&json!({"plugin": "misbehave", "input": input})).await);
    }
    for id in &ids {
        client.until(id, "running").await;
    }
    let server = server.stop_and_restart();
    for id in &ids {
        let task = server.client().until(id, "running").await;
        assert_eq!((&task.json["attempt"], &task.json["host_crashes"]), (&json!(1), &json!(0)));
    }
}

#[tokio::test]
async fn a_second_signal_cuts_the_drain_short() {
    let mut server = Server::start(&["--drain", "1h"]);
    let client = server.client();
    let id = client.submit(&json!({})).await;
    client.until(&id, "running").await;
    server.signal();
    while client.get("/readyz").await.status == StatusCode::OK {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.signal();
    assert!(server.wait().success(), "{}", server.log());
    let server = server.start_beside().expect("a server");
    let task = server.client().until(&id, "running").await;
    assert_eq!(task.json["attempt"], 1);
}

/// Waits until another version of a plugin is in service.
async fn until_reloaded(client: &wasmill_tests::Client, plugin: &str, digest: &str) {
    while client.get(&format!("/plugins/{plugin}")).await.json["in_service"] == digest {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_checkpoint_survives_retry_reload_and_crash() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    // It counts attempts in its checkpoint, so losing it would restart at 1.
    let id = client
        .submit(&json!({
            "plugin": "misbehave",
            "input": {"do": "count-then-fail", "succeed_on": 3},
            "max_attempts": 3,
            "backoff": {"first": "6s", "factor": 1},
        }))
        .await;
    let has_failed = |record: &serde_json::Value| record["state"] == "waiting" && record["attempt"] == 1;
    client.until_task(&id, "between attempts", has_failed).await;

    let first = client.get("/plugins/misbehave").await.str("in_service").to_owned();
    let mut changed = wasmill_tests::MISBEHAVE.to_vec();
    // A custom section changes the file, but not the plugin.
    changed.extend([0, 2, 1, b'x']);
    std::fs::write(server.folder().join("plugins/misbehave.wasm"), changed).expect("written");
    until_reloaded(&client, "misbehave", &first).await;
    let has_failed = |record: &serde_json::Value| record["state"] == "waiting" && record["attempt"] == 2;
    let second = client.until_task(&id, "between attempts", has_failed).await;
    assert_ne!(second.str("plugin_digest"), first);

    let server = server.kill_and_restart();
    let task = server.client().until(&id, "completed").await;
    assert_eq!(task.str("result"), "succeeded on attempt 3");
}

#[test]
fn the_release_build_has_no_fault_points() {
    let marked = include_str!("../../../host/store-sqlite/src/writer/batcher.rs");
    let name = "all written, not committed";
    assert!(marked.contains(name), "the fault point has another name now");
    let binary = std::fs::read(wasmill_tests::binary().expect("built")).expect("readable");
    assert!(!binary.windows(name.len()).any(|bytes| bytes == name.as_bytes()));
}
