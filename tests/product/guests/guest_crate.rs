//! Plugins that use the guest crate for Rust.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill_tests::terminal::Terminal;
use wasmill_tests::{CommandOutput, Server, TYPED, wasmill};

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("typed.wasm"), TYPED).expect("written");
    folder
}

/// Runs `typed` with this input and options.
fn typed(folder: &TempDir, input: &Value, options: &[&str]) -> CommandOutput {
    let input = input.to_string();
    wasmill(folder.path(), &[&["run", "typed.wasm", "--input", &input], options].concat())
}

fn result(printed: &CommandOutput) -> Value {
    assert_eq!(printed.code, 0, "{printed:?}");
    serde_json::from_str(&printed.out).expect("JSON")
}

#[test]
fn its_allocator_keeps_blocks_apart_and_uses_freed_ones_again() {
    let printed = typed(&folder(), &json!({"do": "churn", "rounds": 200_000}), &[]);
    let pages = result(&printed)["pages"].as_u64().expect("a number");
    // At most 64 blocks of 16 KiB live at once: a mebibyte, in blocks of half as much again.
    assert!((2..=64).contains(&pages), "{pages} pages");
}

#[test]
fn its_checkpoints_outlive_an_attempt() {
    let folder = folder();
    let printed = typed(&folder, &json!({"do": "count", "until": 3}), &["--max-attempts", "5"]);
    assert_eq!(result(&printed), json!({"attempt": 3, "counted": {"attempts": [1, 2, 3]}}));
    assert!(printed.err.contains("retrying in 10ms"), "{printed:?}");
    let printed = typed(&folder, &json!({"do": "fail-for-good"}), &["--max-attempts", "5"]);
    assert!(printed.code == 1 && !printed.err.contains("retrying"), "{printed:?}");
    assert!(printed.err.contains("the account is closed"), "{printed:?}");
}

#[test]
fn its_clocks_run_and_its_waits_take_their_time() {
    let printed = typed(&folder(), &json!({"do": "clocks", "ms": 30}), &[]);
    let waited = result(&printed)["waited_ms"].as_u64().expect("a number");
    assert!((60..10_000).contains(&waited), "{waited} ms");
}

#[test]
fn its_log_takes_lines_of_any_length_beside_those_of_the_standard_library() {
    let printed = typed(&folder(), &json!({"do": "log", "letters": 10_000}), &[]);
    let lines: Vec<_> = printed.err.lines().collect();
    assert_eq!(lines, ["a".repeat(10_000), "b".repeat(10_000)]);
}

#[test]
fn an_input_of_another_shape_is_refused_with_the_reason() {
    let folder = folder();
    for (input, said) in [
        (json!({"do": "dance"}), "unknown variant `dance`"),
        (json!({"do": "churn"}), "missing field `rounds`"),
        (json!(null), "invalid type"),
    ] {
        let printed = typed(&folder, &input, &[]);
        assert!(printed.code == 1 && printed.err.contains("failed by invalid input"), "{printed:?}");
        assert!(printed.err.contains(said), "{printed:?}");
    }
}

#[test]
fn its_sleep_ends_a_run_that_is_asked_to_stop() {
    let folder = folder();
    let run = ["run", "typed.wasm", "--grace", "50s", "--input", r#"{"do": "sleep"}"#];
    let mut terminal = Terminal::start(folder.path(), &run);
    terminal.until_shows("at work");
    terminal.press("\x03");
    // Long before its grace: the terminal would wait for a minute at most.
    let (code, shown) = terminal.end();
    assert!(code == 3 && shown.contains("stopped"), "{shown}");
}

#[tokio::test]
async fn it_runs_on_a_server() {
    let folder = Server::folder_with_guests();
    fs::write(folder.path().join("plugins/typed.wasm"), TYPED).expect("written");
    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    let id = client.submit(&json!({"plugin": "typed", "input": {"do": "count", "until": 1}})).await;
    let task = client.until(&id, "completed").await;
    let result: Value = serde_json::from_str(task.str("result")).expect("JSON");
    assert_eq!(result, json!({"attempt": 1, "counted": {"attempts": [1]}}));
}
