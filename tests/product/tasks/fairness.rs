//! Spinning guests leave CPU time for the API and for short tasks.

use serde_json::json;
use wasmill_tests::Server;

#[tokio::test]
async fn spinning_guests_delay_neither_requests_nor_short_tasks() {
    let server = Server::start(&["--timeout", "1h"]);
    let client = server.client();
    let cores = std::thread::available_parallelism().expect("a number").get();
    let mut spinning = Vec::new();
    for _ in 0..2 * cores {
        spinning.push(client.submit(&json!({"plugin": "misbehave", "input": {"do": "spin"}})).await);
    }
    for id in &spinning {
        client.until(id, "running").await;
    }
    for round in 0..20 {
        let id = client.submit(&json!({"plugin": "noop"})).await;
        let task = client.until(&id, "completed").await;
        assert_eq!(task.json["attempt"], 1, "round {round}: {}", task.text);
        for path in [
            &format!("/task/{id}"),
            &format!("/task/{id}/status"),
            &format!("/task/{id}/result"),
            "/task",
            "/stats",
            "/plugins",
            "/plugins/noop",
            "/healthz",
            "/readyz",
        ] {
            let answer = client.get(path).await;
            assert!(answer.status.is_success(), "{path}: {}", answer.text);
        }
    }
    for id in &spinning {
        assert_eq!(client.get(&format!("/task/{id}/status")).await.str("state"), "running");
        assert!(client.delete(&format!("/task/{id}")).await.status.is_success());
    }
    assert_eq!(client.slots_used().await, 0);
}
