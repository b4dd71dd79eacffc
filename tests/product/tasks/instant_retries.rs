//! Tasks that retry instantly, during cancels and deletes: a stopped task does not run any more.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Client, Server};

/// Fails at once in its first attempt, and spins in the second, which starts instantly.
fn fails_then_spins() -> Value {
    json!({
        "plugin": "misbehave", "input": {"do": "fail-then-spin", "spins": 2},
        "max_attempts": 2, "backoff": {"first": "0s", "factor": 1, "max": "0s"},
    })
}

fn debug_port(server: &Server) -> Client {
    let address: Option<SocketAddr> = server.log().lines().find_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        event["message"].as_str().filter(|message| message.starts_with("debug port"))?;
        event["address"].as_str()?.parse().ok()
    });
    Client::new(address.expect("the log says where the debug port is")).undocumented()
}

/// Waits until there is no guest and no used slot.
async fn expect_nothing_left(client: &Client, debug: &Client) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let stats = client.get("/stats").await.json;
        let tasks = debug.get("/debug/tasks?format=json").await.json;
        let is_idle = stats["slots"]["used"] == 0 && stats["running"] == 0 && stats["waiting"] == 0;
        if is_idle && tasks["tasks"].as_array().is_some_and(Vec::is_empty) {
            return;
        }
        assert!(Instant::now() < deadline, "something is left: {stats} {tasks}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn no_guest_survives_the_cancel_of_a_task_that_retries_instantly() {
    let server = Server::start(&["--slots", "20", "--debug-listen", "127.0.0.1:0"]);
    let (client, debug) = (server.client(), debug_port(&server));
    for round in 0..20_u64 {
        let batch: Vec<_> = (0..10).map(|_| fails_then_spins()).collect();
        let answer = client.post("/task/batch", &json!(batch)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let ids: Vec<_> = answer.json.as_array().expect("an array").iter().map(id).collect();
        // At a different time of the attempts in each round.
        tokio::time::sleep(Duration::from_millis(round * 5)).await;
        let stops = ids.into_iter().enumerate().map(|(index, id)| {
            let client = client.clone();
            tokio::spawn(async move {
                let (method, path, expected) = if index % 2 == 0 {
                    (Method::DELETE, format!("/task/{id}"), StatusCode::NO_CONTENT)
                } else {
                    (Method::POST, format!("/task/{id}/cancel"), StatusCode::OK)
                };
                let answer = client.send(method, &path, None).await.expect("an answer");
                assert_eq!(answer.status, expected, "{}", answer.text);
            })
        });
        for stop in stops.collect::<Vec<_>>() {
            stop.await.expect("stopped");
        }
        assert_eq!(client.slots_used().await, 0, "what is answered is over");
    }
    expect_nothing_left(&client, &debug).await;
}

fn id(task: &Value) -> String {
    task["id"].as_str().expect("an id").to_owned()
}
