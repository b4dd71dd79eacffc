//! Terminal sessions: what the user sees, and what keys do. `cli_run` covers `run`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use serde_json::json;
use wasmill_tests::Server;
use wasmill_tests::mock_server::{MockServer, Reply};
use wasmill_tests::terminal::Terminal;

const ID: &str = "01a2074c-e503-703b-819d-4717c026346b";

fn log(seq: u64, attempt: u32, text: &str) -> String {
    let line = json!({"seq": seq, "time": "2026-11-23T07:26:49Z", "attempt": attempt, "stream": "stdout", "text": text});
    format!("event: log\nid: {seq}\ndata: {line}\n\n")
}

/// Returns the end of an id, the part that fits into the table.
fn end(id: &str) -> &str {
    &id[id.len() - 12..]
}

#[tokio::test]
async fn watch_shows_task_transitions_and_cancels_the_selected_task() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let input = json!({"do": "progress", "fraction": 0.5, "note": "halfway there", "ms": 600_000});
    let running = client.submit(&json!({"plugin": "misbehave", "input": input})).await;
    client.until_progress(&running).await;
    let waiting = client.submit(&json!({"plugin": "noop"})).await;
    let url = format!("http://{}", server.address());
    let mut terminal = Terminal::start(server.folder(), &["watch", "--interval", "100ms", "--server", &url]);
    let shown =
        terminal.until("both tasks", |shown| shown.contains(end(&running)) && shown.contains(end(&waiting)));
    let row = |shown: &str, id: &str| {
        shown.lines().find(|line| line.contains(&format!("…{}", end(id)))).unwrap_or_default().to_owned()
    };
    assert!(shown.contains("1 running, 1 waiting, 1 of 1 slots"), "{shown}");
    assert!(row(&shown, &running).contains("━━━━━━──────  50 %  halfway there"), "{shown}");
    assert!(row(&shown, &waiting).contains("available"), "{shown}");
    assert_eq!(terminal.modes(), (true, true), "a screen of its own, without a cursor");
    // The running task comes first and is selected.
    terminal.press("c");
    terminal.until_shows(&format!("cancel {running}?"));
    terminal.press("n");
    terminal.until_shows("q quit");
    assert_eq!(client.get(&format!("/task/{running}")).await.str("state"), "running");
    terminal.press("c");
    terminal.until_shows(&format!("cancel {running}?"));
    terminal.press("y");
    terminal.until("the end of both", |shown| {
        row(shown, &running).contains("cancelled")
            && row(shown, &waiting).contains("completed")
            // The counts come from a separate request, and may be older.
            && shown.contains("0 running, 0 waiting")
    });
    assert_eq!(client.get(&format!("/task/{running}")).await.str("state"), "cancelled");
    terminal.press("\x1b[B");
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);
    assert_eq!(terminal.modes(), (false, false), "the terminal is as before");
}

#[tokio::test]
async fn watch_counts_what_its_key_reaches() {
    let server = Server::start(&["--slots", "1"]);
    let keyless = server.client();
    let sleeps =
        |group: &str| json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}, "group": group});
    let ours = keyless.submit(&sleeps("ours")).await;
    keyless.until(&ours, "running").await;
    for group in ["ours", "ours", "theirs"] {
        keyless.submit(&sleeps(group)).await;
    }
    let key = server.create_key("ours", &["--scope", "watch", "--group", "ours"]);
    let file = server.folder().join("ours.key");
    std::fs::write(&file, key).expect("written");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("changed");
    let url = format!("http://{}", server.address());
    let mut terminal =
        Terminal::start(server.folder(), &["watch", "--key-file", "ours.key", "--server", &url]);
    let shown = terminal.until_shows("1 running, 2 waiting within the reach of the key");
    assert!(!shown.contains("slots"), "{shown}");
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test]
async fn watch_survives_its_server_and_restores_the_terminal_on_ctrl_c() {
    let mut server = Server::start(&[]);
    let id = server.client().submit(&json!({})).await;
    let url = format!("http://{}", server.address());
    let mut terminal = Terminal::start(server.folder(), &["watch", "--interval", "100ms", "--server", &url]);
    terminal.until_shows(end(&id));
    server.kill();
    let shown = terminal.until_shows("no response from");
    assert!(shown.contains(end(&id)), "the last view stays: {shown}");
    terminal.press("\x03");
    assert_eq!((terminal.end().0, terminal.modes()), (0, (false, false)));
}

#[tokio::test]
async fn a_list_fits_the_terminal() {
    let server = Server::start(&[]);
    let input = json!({"do": "progress", "fraction": 0.5, "note": "n".repeat(200), "ms": 600_000});
    let id = server.client().submit(&json!({"plugin": "misbehave", "input": input})).await;
    server.client().until_progress(&id).await;
    let url = format!("http://{}", server.address());
    let mut terminal = Terminal::start(server.folder(), &["list", "--server", &url]);
    let (code, shown) = terminal.end();
    assert_eq!((code, shown.lines().count()), (0, 2), "{shown}");
    assert!(
        shown.contains("50 %  nnnn")
            && shown.ends_with('…')
            && terminal.written().contains("\x1b[36mrunning"),
        "{shown}"
    );
}

#[test]
fn watch_without_a_terminal_fails_with_instructions() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = wasmill_tests::wasmill(folder.path(), &["watch"]);
    assert!(output.code == 2 && output.err.contains("wasmill list"), "{output:?}");
}

#[test]
fn invalid_durations_are_refused_or_clamped() {
    let folder = tempfile::tempdir().expect("a folder");
    for interval in ["0s", "49ms", "2h", "often"] {
        let output = wasmill_tests::wasmill(folder.path(), &["watch", "--interval", interval]);
        assert!(output.code == 2 && output.err.contains("--interval"), "{output:?}");
    }
    let ages = "26000000000weeks";
    let cancel = ["cancel", ID, "--grace", ages, "--server", "http://127.0.0.1:1"];
    assert_eq!(wasmill_tests::wasmill(folder.path(), &cancel).code, 4);
    let input = r#"{"min_ms": 1, "max_ms": 2, "fail_rate": 0}"#;
    let run = ["run", "io-stub", "--timeout", ages, "--grace", ages, "--input", input];
    assert_eq!(wasmill_tests::wasmill(folder.path(), &run).code, 0);
}

#[test]
fn a_log_is_followed_until_the_task_has_finished() {
    let (sender, events) = mpsc::channel();
    let events = Mutex::new(Some(events));
    let mock_server = MockServer::start(move |_| match events.lock().expect("no panic").take() {
        Some(events) => Reply::Events(events),
        None => Reply::events(&[log(3, 2, "after the cut"), "event: end\ndata: {}\n\n".to_owned()]),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::start(folder.path(), &["logs", "-f", ID, "--server", &mock_server.url()]);
    sender.send(log(1, 1, "first")).expect("a stream");
    terminal.until_shows("first");
    sender.send(log(2, 2, "second \x1b]0;owned\x07")).expect("a stream");
    let shown = terminal.until_shows("second");
    assert!(shown.contains("first\n-- attempt 2 --\nsecond"), "{shown}");
    drop(sender);
    let (code, shown) = terminal.end();
    assert!(code == 0 && shown.contains("second ") && shown.contains("after the cut"), "{code}: {shown}");
    assert!(!terminal.written().contains("\x1b]"), "a guest cannot drive the terminal");
    assert_eq!(mock_server.requests()[1].path, format!("/task/{ID}/logs?after=2"));
}

#[test]
fn ctrl_c_stops_following_a_log_at_once() {
    let (sender, events) = mpsc::channel();
    let events = Mutex::new(Some(events));
    let mock_server = MockServer::start(move |_| match events.lock().expect("no panic").take() {
        Some(events) => Reply::Events(events),
        None => Reply::unknown_route(),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::start(folder.path(), &["logs", "-f", ID, "--server", &mock_server.url()]);
    sender.send(log(1, 1, "first")).expect("a stream");
    terminal.until_shows("first");
    terminal.press("\x03");
    assert_eq!(terminal.end().0, 130);
}

#[tokio::test]
async fn a_waiting_submit_shows_a_progress_bar_and_the_result() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address());
    let input = r#"{"min_ms": 3000, "max_ms": 3100, "fail_rate": 0}"#;
    let mut terminal =
        Terminal::start(server.folder(), &["submit", "--wait", "--input", input, "--server", &url]);
    let shown = terminal.until("a bar", |shown| shown.contains("io-stub  ━") && shown.contains("s left"));
    assert!(shown.starts_with("task "), "{shown}");
    let (code, shown) = terminal.end();
    assert!(code == 0 && shown.contains("io work result = ") && !shown.contains("s left"), "{code}: {shown}");
}

#[tokio::test]
async fn ctrl_c_stops_waiting_but_not_the_task() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address());
    let mut terminal = Terminal::start(server.folder(), &["submit", "--wait", "--server", &url]);
    terminal.until_shows("io-stub  ");
    terminal.press("\x03");
    let (code, shown) = terminal.end();
    assert!(code == 130 && shown.contains("the task keeps running"), "{code}: {shown}");
    let tasks = server.client().get("/task?state=running").await;
    assert_eq!(tasks.json.as_array().map(Vec::len), Some(1), "{}", tasks.text);
}

#[test]
fn a_wait_shows_the_events_of_a_task() {
    let looks = AtomicU32::new(0);
    let mock_server = MockServer::start(move |received| {
        let running = json!({
            "state": "running", "status": "in process", "plugin": "fetch", "attempt": 2, "max_attempts": 3,
            "created_at": "2026-11-23T07:26:49Z", "progress": {"fraction": 0.75, "note": "12 of 16 pages"},
        });
        match received.path.as_str() {
            path if path.contains("/logs") => {
                Reply::events(&[log(1, 1, "got page 12"), "event: end\ndata: {}\n\n".to_owned()])
            }
            path if path.contains("/status") => {
                looks.fetch_add(1, Ordering::SeqCst);
                Reply::Json(200, running)
            }
            path if path.contains("/result") && looks.load(Ordering::SeqCst) < 3 => {
                Reply::Json(202, json!({}))
            }
            path if path.contains("/result") => {
                Reply::Json(409, json!({"code": "task-failed", "detail": "failed"}))
            }
            _ if received.method == "POST" => Reply::Json(201, json!({"id": ID})),
            _ => Reply::Json(
                200,
                json!({
                    "id": ID, "state": "failed", "status": "failed by trap", "error": {"cause": "trap", "message": "unreachable"},
                }),
            ),
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal =
        Terminal::start(folder.path(), &["retry", ID, "--wait", "--server", &mock_server.url()]);
    let shown = terminal.until_shows("12 of 16 pages");
    assert!(shown.contains("got page 12\n") && shown.contains(" 75 %"), "{shown}");
    let (code, shown) = terminal.end();
    assert!(
        code == 1 && shown.contains("failed by trap: unreachable") && !shown.contains("75 %"),
        "{code}: {shown}"
    );
}
