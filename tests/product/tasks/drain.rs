//! `POST /drain`: a rolling restart loses no task and no attempt.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use wasmill_tests::{Client, Server, sleep};

/// Waits until a drain is done.
async fn until_nothing_runs(client: &Client) {
    while client.get("/stats").await.json["running"] != 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_draining_server_refuses_new_tasks_and_serves_the_rest_until_a_signal() {
    let mut server = Server::start(&["--slots", "1", "--drain", "60s"]);
    let client = server.client();
    assert_eq!(client.get("/stats").await.json["draining"], false);
    let running = client.submit(&sleep(1_000)).await;
    client.until(&running, "running").await;
    let waiting = client.submit(&sleep(0)).await;
    for _ in 0..2 {
        let drain = client.post("/drain", &json!({})).await;
        assert_eq!(drain.status, StatusCode::ACCEPTED, "{}", drain.text);
        assert_eq!(drain.json, json!({"draining": true, "running": 1, "drain_ms": 60_000}));
    }
    let refused = client.post("/task", &sleep(0)).await;
    assert_eq!((refused.status, refused.str("code")), (StatusCode::SERVICE_UNAVAILABLE, "draining"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(client.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);

    client.until(&running, "completed").await;
    until_nothing_runs(&client).await;
    assert_eq!(client.get("/stats").await.json["draining"], true);
    assert_eq!(client.get(&format!("/task/{waiting}")).await.str("state"), "waiting");
    assert_eq!(client.delete(&format!("/task/{waiting}")).await.status, StatusCode::NO_CONTENT);
    assert!(server.terminate().success(), "{}", server.log());
}

#[tokio::test]
async fn a_rolling_restart_loses_no_task_and_no_attempt() {
    let mut server = Server::start(&["--slots", "4", "--drain", "300ms"]);
    let mut ids = Vec::new();
    // Killing the last host is harmless once its drain is done.
    for kill in [false, false, true] {
        let client = server.client();
        for _ in 0..6 {
            ids.push(client.submit(&sleep(500)).await);
        }
        let newest = &ids[ids.len() - 6];
        client.until_task(newest, "started", |record| !record["started_at"].is_null()).await;
        assert_eq!(client.post("/drain", &json!({})).await.status, StatusCode::ACCEPTED);
        until_nothing_runs(&client).await;
        if kill {
            server.kill();
        } else {
            assert!(server.terminate().success(), "{}", server.log());
        }
        server = server.start_beside().expect("a server");
    }
    let client = server.client();
    for id in &ids {
        let task = client.until(id, "completed").await;
        assert_eq!((&task.json["attempt"], &task.json["host_crashes"]), (&json!(1), &json!(0)));
    }
}

#[tokio::test]
async fn a_signal_during_a_drain_waits_for_requeued_tasks() {
    let mut server = Server::start(&["--slots", "50", "--drain", "200ms"]);
    let client = server.client();
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(client.submit(&sleep(60_000)).await);
    }
    for id in &ids {
        client.until(id, "running").await;
    }
    client.post("/drain", &json!({})).await;
    assert!(server.terminate().success(), "{}", server.log());
    let server = server.start_beside().expect("a server");
    for id in &ids {
        let task = server.client().until(id, "running").await;
        assert_eq!((&task.json["attempt"], &task.json["host_crashes"]), (&json!(1), &json!(0)));
    }
}
