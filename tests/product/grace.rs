//! A guest that is asked to stop may put things in order; one that does not listen is stopped.

use std::fs;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server};

/// Starts a server whose plugin `misbehave` may write to a folder, which it sees as `/out`.
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
async fn a_guest_with_a_grace_puts_things_in_order_and_its_task_is_cancelled_all_the_same() {
    let server = with_folder();
    let client = server.client();
    for computes in [false, true] {
        let id = running(&client, json!({"do": "heed", "file": "/out/note", "computes": computes})).await;
        let answer = send(&client, Method::POST, &format!("/task/{id}/cancel?grace=50s")).await;
        // It ended long before its grace: the client would have given up after a minute.
        assert_eq!((answer.status, answer.str("state")), (StatusCode::OK, "cancelled"), "{}", answer.text);
        assert_eq!(written(&server).as_deref(), Some("asked to stop"));
        assert_eq!(client.slots_used().await, 0);
        assert_eq!(client.get(&format!("/task/{id}")).await.str("state"), "cancelled");
        fs::remove_file(server.folder().join("out/note")).expect("removed");
    }
}

#[tokio::test]
async fn a_guest_without_a_grace_is_asked_nothing() {
    let server = with_folder();
    let client = server.client();
    let id = running(&client, json!({"do": "heed", "file": "/out/note", "computes": false})).await;
    assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!((client.slots_used().await, written(&server)), (0, None));
}

#[tokio::test]
async fn a_guest_that_does_not_listen_is_stopped_when_its_grace_ends() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "misbehave", "input": {"do": "spin"}})).await;
    client.until(&id, "running").await;
    let answer = send(&client, Method::DELETE, &format!("/task/{id}?grace=200ms")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
    assert_eq!(client.slots_used().await, 0);
}

#[tokio::test]
async fn a_grace_that_makes_no_sense_is_422_and_cancels_nothing() {
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
async fn a_drain_asks_guests_to_stop_and_what_they_saved_is_there_after_it() {
    let server = with_folder();
    let client = server.client();
    let id = running(&client, json!({"do": "heed", "file": null, "computes": false})).await;
    let server = server.stop_and_restart();
    let task = server.client().until(&id, "completed").await;
    assert_eq!(task.str("result"), "was asked to stop before");
    assert_eq!(task.json["attempt"], 1, "{}", task.text);
}
