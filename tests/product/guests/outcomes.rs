//! A misbehaving guest results in an outcome, and does not affect other guests.

use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, PROGRAM, Server};

async fn run(client: &Client, input: Value) -> Answer {
    let id = client.submit(&json!({"plugin": "misbehave", "input": input})).await;
    client.until_finished(&id).await
}

#[tokio::test]
async fn each_failure_has_its_status_and_reason() {
    let server = Server::start(&["--result", "1KiB"]);
    let client = server.client();
    let neighbour =
        client.submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 3_000}})).await;
    for (input, status, reason) in [
        (json!({"do": "trap"}), "failed by trap", "unreachable"),
        (json!({"do": "panic"}), "failed by trap", "unreachable"),
        (json!({"do": "recurse"}), "failed by trap", "stack"),
        (json!({"do": "hog"}), "failed by memory limit", "64"),
        // `exit` of WASI 0.2 only distinguishes success and failure; a failure arrives as 1, without a code
        // in the message.
        (json!({"do": "exit", "code": 3}), "failed by exit code 1", "carries no code"),
        (json!({"do": "result", "bytes": 5_000}), "failed by result limit", "1"),
        (json!({"do": "fail", "kind": "io", "message": "no route"}), "failed by io bound", "no route"),
        (json!({"do": "fail", "kind": "other", "message": "odd"}), "failed by plugin error", "odd"),
        (json!({"do": "fail", "kind": "invalid-input", "message": "huh"}), "failed by invalid input", "huh"),
    ] {
        let task = run(&client, input.clone()).await;
        assert_eq!(task.str("status"), status, "{input}");
        let message = task.json["error"]["message"].as_str().expect("a reason");
        assert!(message.contains(reason), "{input}: {message}");
    }
    client.until(&neighbour, "completed").await;
}

#[tokio::test]
async fn a_program_completes_with_the_exit_codes_of_its_manifest() {
    let folder = Server::folder_with_guests();
    std::fs::write(folder.path().join("plugins/solver.wasm"), PROGRAM).expect("written");
    std::fs::write(folder.path().join("plugins/solver.toml"), "exit_ok = [10, 20]").expect("written");
    let server = Server::start_in(folder, &[]).expect("a server");
    server.wait_for_plugins();
    let client = server.client();
    assert_eq!(client.get("/plugins/solver").await.json["exit_ok"], json!([10, 20]));
    let ended = async |code: &str| {
        let args = json!({"args": ["print-and-exit-with", "sat", code]});
        let id = client.submit(&json!({"plugin": "solver", "input": args})).await;
        client.until_finished(&id).await
    };
    for (code, exit_code) in [("0", Value::Null), ("10", json!(10)), ("20", json!(20))] {
        let task = ended(code).await;
        assert_eq!((task.str("status"), task.str("result")), ("completed", "sat\n"), "{code}");
        assert_eq!(task.json["exit_code"], exit_code);
    }
    let task = ended("30").await;
    assert_eq!((task.str("status"), &task.json["exit_code"]), ("failed by exit code 30", &json!(30)));
    let message = task.json["error"]["message"].as_str().expect("a reason");
    assert!(message.ends_with("the end of its stdout:\nsat"), "{message}");
}

#[tokio::test]
async fn a_panic_leaves_its_message_in_the_log() {
    let server = Server::start(&[]);
    let task = run(&server.client(), json!({"do": "panic"})).await;
    assert!(task.str("log").contains("panicked"), "{}", task.text);
}

#[tokio::test]
async fn a_log_flood_keeps_only_the_newest_lines() {
    let server = Server::start(&["--log-tail", "1KiB"]);
    let task = run(&server.client(), json!({"do": "flood", "bytes": 5_000_000})).await;
    let log = task.str("log");
    assert!(log.len() < 1_200 && log.contains("earlier bytes dropped"), "{log}");
}

#[tokio::test]
async fn a_guest_knows_its_task_and_attempt() {
    let server = Server::start(&[]);
    let client = server.client();
    let task = json!({"plugin": "misbehave", "input": {"do": "context"}, "max_attempts": 4});
    let id = client.submit(&task).await;
    let answer = client.until(&id, "completed").await;
    let context: Value = serde_json::from_str(answer.str("result")).expect("JSON");
    assert_eq!(context["task"], json!(id));
    assert_eq!(context["plugin"], "misbehave");
    assert_eq!((&context["attempt"], &context["max_attempts"]), (&json!(1), &json!(4)));
}

#[tokio::test]
async fn progress_is_visible_while_the_task_runs() {
    let server = Server::start(&[]);
    let client = server.client();
    let input = json!({"do": "progress", "fraction": 0.25, "note": "a quarter", "ms": 60_000});
    let id = client.submit(&json!({"plugin": "misbehave", "input": input})).await;
    let task = client.until_progress(&id).await;
    assert_eq!(task.json["progress"], json!({"fraction": 0.25, "note": "a quarter"}));
    assert_eq!(client.get(&format!("/task/{id}/status")).await.json["progress"], task.json["progress"]);
}

#[tokio::test]
async fn a_task_is_retried_up_to_its_maximum_attempts() {
    let server = Server::start(&[]);
    let client = server.client();
    let input = json!({"do": "fail", "kind": "io", "message": "again"});
    let id = client.submit(&json!({"plugin": "misbehave", "input": input, "max_attempts": 2})).await;
    let task = client.until(&id, "failed").await;
    assert_eq!((&task.json["attempt"], &task.json["max_attempts"]), (&json!(2), &json!(2)));
}
