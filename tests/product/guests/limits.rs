//! Every limit, against a guest that tries to exceed it: alone, and five hundred at once.

use std::fs;

use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::{Client, Server};

/// Starts a server whose plugin `misbehave` has a CPU limit of 300 ms.
fn with_cpu_limit(args: &[&str]) -> Server {
    let server = Server::start(args);
    let manifest = server.folder().join("plugins/misbehave.toml");
    fs::write(manifest, "limits.cpu = \"300ms\"\nlimits.logs = \"1KiB\"").expect("written");
    server.stop_and_restart()
}

/// What guests try, the status of their tasks, and what the message must contain.
fn attacks() -> [(Value, &'static str, &'static str); 7] {
    [
        (json!({"do": "spin"}), "failed by cpu limit", "limits.cpu of the manifest"),
        (json!({"do": "hog"}), "failed by memory limit", "limits.memory of the manifest"),
        (json!({"do": "result", "bytes": 2_000_000}), "failed by result limit", "`result` is 1 MiB"),
        (json!({"do": "carry", "bytes": 9_000_000}), "failed by call limit", "limit of 5 MiB"),
        (json!({"do": "hoard-timers", "count": 100_000}), "failed by handle limit", "1024 handles"),
        (json!({"do": "recurse"}), "failed by trap", "stack of 512 KiB"),
        (json!({"do": "flood", "bytes": 500_000}), "completed", "earlier bytes dropped"),
    ]
}

fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}

/// Waits until a task has finished, and checks its outcome.
async fn ended_as_it_must(client: &Client, id: &str, (input, status, printed): &(Value, &str, &str)) {
    let task = client.until_finished(id).await;
    assert_eq!(task.str("status"), *status, "{input}: {}", task.text);
    assert!(task.text.contains(printed), "{input}: {}", task.text);
}

#[tokio::test]
async fn each_limit_has_its_status_and_is_named() {
    let server = with_cpu_limit(&[]);
    let client = server.client();
    for attack in attacks() {
        let id = client.submit(&misbehave(&attack.0)).await;
        ended_as_it_must(&client, &id, &attack).await;
    }
    assert_eq!(client.get("/plugins/misbehave").await.json["limits"]["cpu_ms"], 300);
}

#[tokio::test]
async fn five_hundred_concurrent_attacks_do_not_affect_another_task() {
    let server = with_cpu_limit(&["--slots", "600"]);
    let client = server.client();
    let neighbour = json!({"plugin": "io-stub", "input": {"min_ms": 3_000, "max_ms": 3_000, "fail_rate": 0}});
    let neighbour = client.submit(&neighbour).await;
    client.until(&neighbour, "running").await;
    let attacks = attacks();
    let mut ids = Vec::new();
    for attack in attacks.iter().cycle().take(500) {
        ids.push(client.submit(&misbehave(&attack.0)).await);
    }
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    for (id, attack) in ids.iter().zip(attacks.iter().cycle()) {
        ended_as_it_must(&client, id, attack).await;
    }
    let task = client.until(&neighbour, "completed").await;
    assert!(task.str("result").starts_with("io work result = "), "{}", task.text);
    assert_eq!(client.slots_used().await, 0);
}

#[tokio::test]
async fn too_many_arguments_fail_with_the_limit() {
    let server = Server::start(&["--body-max", "8MiB"]);
    let wasm =
        wasmill_tests::tiny::parse(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    fs::write(server.folder().join("plugins/empty.wasm"), wasm).expect("written");
    let server = server.stop_and_restart();
    let client = server.client();
    let input = json!({"args": vec!["x".repeat(1_000); 3_000]});
    let refused = client.post("/task", &json!({"plugin": "empty", "input": input})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
    assert!(refused.text.contains("the limit is 2 MiB"), "{}", refused.text);
}
