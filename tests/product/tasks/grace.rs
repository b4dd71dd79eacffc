//! A guest that is asked to stop may clean up; one that ignores it is killed.

use std::fs;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server};

/// Starts a server whose plugin `misbehave` may write to a folder, mounted as `/out`.
fn with_folder() -> Server {
    let server = Server::start(&["--slots", "4", "--drain", "50s"]);
    let out = server.folder().join("out");
    fs::create_dir(&out).expect("a folder");
    let dirs = format!("allow.dirs = [{{ host = {out:?}, guest = \"/out\", write = true }}]");
    fs::write(server.folder().join("plugins/misbehave.toml"), dirs).expect("written");
    server.stop_and_restart()
}

fn written(server: &Server) -> Option<String> {
    fs::read_to_string(server.folder().join("out/note")).ok()
}

async fn running(client: &Client, input: Value) -> String {
    let id = client.submit(&json!({"plugin": "misbehave", "input": input})).await;
    client.until_progress(&id).await;
    id
}

async fn send(client: &Client, method: Method, path: &str) -> Answer {
    client.send(method, path, None).await.expect("an answer")
}

#[tokio::test]
async fn a_guest_with_a_grace_cleans_up_and_its_task_is_still_cancelled() {
    let server = with_folder();
    let client = server.client();
    for computes in [false, true] {
        let id = running(&client, json!({"do": "heed", "file": "/out/note", "computes": computes})).await;
        let answer = send(&client, Method::POST, &format!("/task/{id}/cancel?grace=50s")).await;
        // It finishes long before its grace: the client would time out after a minute.
        assert_eq!((answer.status, answer.str("state")), (StatusCode::OK, "cancelled"), "{}", answer.text);
        assert_eq!(written(&server).as_deref(), Some("asked to stop"));
        assert_eq!(client.slots_used().await, 0);
        assert_eq!(client.get(&format!("/task/{id}")).await.str("state"), "cancelled");
        fs::remove_file(server.folder().join("out/note")).expect("removed");
    }
}

#[tokio::test]
async fn a_stop_request_wakes_a_guest_that_waits_for_a_timer_too() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let id = running(&client, json!({"do": "await-stop", "ms": 3_600_000})).await;
    let answer = send(&client, Method::POST, &format!("/task/{id}/cancel?grace=50s")).await;
    assert_eq!((answer.status, answer.str("state")), (StatusCode::OK, "cancelled"), "{}", answer.text);
    assert_eq!(client.get(&format!("/task/{id}")).await.str("log"), "stop came\n");
}

#[tokio::test]
async fn a_guest_without_a_grace_gets_no_stop_request() {
    let server = with_folder();
    let client = server.client();
    let id = running(&client, json!({"do": "heed", "file": "/out/note", "computes": false})).await;
    assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!((client.slots_used().await, written(&server)), (0, None));
}

#[tokio::test]
async fn a_guest_that_ignores_the_stop_request_is_killed_after_its_grace() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "misbehave", "input": {"do": "spin"}})).await;
    client.until(&id, "running").await;
    let answer = send(&client, Method::DELETE, &format!("/task/{id}?grace=200ms")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
    assert_eq!(client.slots_used().await, 0);
}

#[tokio::test]
async fn an_invalid_grace_is_422_and_cancels_nothing() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({})).await;
    for query in ["grace=61s", "grace=soon", "grace=5", "grase=5s"] {
        let answer = send(&client, Method::DELETE, &format!("/task/{id}?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {}", answer.text);
        assert_eq!(answer.str("code"), "invalid-request");
    }
    client.until(&id, "running").await;
}

#[tokio::test]
async fn a_drain_asks_guests_to_stop_and_keeps_their_checkpoints() {
    let server = with_folder();
    let client = server.client();
    let id = running(&client, json!({"do": "heed", "file": null, "computes": false})).await;
    let server = server.stop_and_restart();
    let task = server.client().until(&id, "completed").await;
    assert_eq!(task.str("result"), "was asked to stop before");
    assert_eq!(task.json["attempt"], 1, "{}", task.text);
}
