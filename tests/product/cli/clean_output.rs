//! Text from elsewhere cannot drive the user's terminal: no control characters, no bidirectional overrides,
//! nothing invisible; data in files and pipes stays unchanged.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill_tests::mock_server::{MockServer, ReceivedRequest, Reply};
use wasmill_tests::terminal::Terminal;
use wasmill_tests::wasmill;

const ID: &str = "01a2074c-e503-703b-819d-4717c026346b";

/// Clears the screen, sets a title, reverses, hides and shifts text, and ends a line early.
const HOSTILE: &str =
    "evil\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}\u{2060}\u{feff}\u{e0041}\rend";

fn is_harmful(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[track_caller]
fn is_clean(what: &str, text: &str) {
    let found: Vec<_> = text.chars().filter(|c| is_harmful(*c)).collect();
    assert!(found.is_empty(), "{what} has {found:?}: {text:?}");
}

/// Responds to every request with hostile texts in every text field.
fn hostile(received: &ReceivedRequest) -> Reply {
    let task = json!({
        "id": ID, "state": "failed", "status": HOSTILE, "plugin": HOSTILE, "attempt": 1, "max_attempts": 2,
        "created_at": "2026-11-23T07:26:49Z", "started_at": "2026-11-23T07:26:49Z", "tags": [HOSTILE],
        "group": HOSTILE, "trace_id": HOSTILE, "retry_of": HOSTILE, "result": HOSTILE, "unique_key": HOSTILE,
        "error": {"cause": HOSTILE, "message": HOSTILE}, "progress": {"fraction": 0.5, "note": HOSTILE},
    });
    let refused = json!({
        "code": "invalid-request", "title": HOSTILE, "detail": HOSTILE,
        "errors": [{"pointer": HOSTILE, "detail": HOSTILE}, {"parameter": HOSTILE, "detail": HOSTILE}],
    });
    let plugin = json!({
        "name": HOSTILE, "state": HOSTILE, "kind": HOSTILE, "reason": HOSTILE, "digest": HOSTILE,
        "size_bytes": 1, "tasks": {"waiting": 0, "running": 0},
    });
    let schedule = json!({
        "name": HOSTILE, "from": HOSTILE, "cron": HOSTILE, "timezone": HOSTILE, "plugin": HOSTILE, "paused": false,
        "next_runs": [HOSTILE], "runs": 1, "skipped": 0, "last_error": HOSTILE,
    });
    let counts = json!({"waiting": 0, "running": 0, "completed": 1, "failed": 0, "cancelled": 0});
    let stats = json!({
        "waiting": 0, "running": 0, "slots": {"used": 0, "total": 1}, "draining": false,
        "memory": {"used_bytes": 0, "total_bytes": 1, "blocks_queue": false}, "stored": counts, "finished": counts,
        "plugins": {(HOSTILE): {"stored": counts, "finished": counts}},
    });
    match (received.method.as_str(), received.path.split('?').next().unwrap_or_default()) {
        ("GET", "/task") => Reply::Json(200, json!([task])),
        ("GET", "/plugins") => Reply::Json(200, json!([plugin])),
        ("GET", "/schedules") => Reply::Json(200, json!([schedule])),
        ("GET", "/stats") => Reply::Json(200, stats),
        ("GET", path) if path.ends_with("/result") => Reply::Json(409, refused),
        ("GET", path) if path.starts_with("/task/") && !path.ends_with("/logs") => Reply::Json(200, task),
        ("PUT", _) => Reply::Json(200, schedule),
        _ => Reply::Json(422, refused),
    }
}

#[test]
fn server_texts_cannot_drive_the_terminal() {
    let mock_server = MockServer::start(hostile);
    for args in [
        &["list"][..],
        &["status", ID],
        &["result", ID],
        &["submit", "x"],
        &["logs", ID],
        &["cancel", ID],
        &["delete", ID],
        &["retry", ID],
        &["stats"],
        &["plugin", "list"],
        &["plugin", "delete", "x"],
        &["schedule", "list"],
        &["schedule", "set", "x", "@daily"],
        &["schedule", "run", "x"],
    ] {
        let output = mock_server.wasmill(args);
        is_clean(&format!("stdout of {args:?}"), &output.out);
        is_clean(&format!("stderr of {args:?}"), &output.err);
        assert!(
            output.out.contains("evil") || output.err.contains("evil") || output.out.contains(ID),
            "{args:?}: {output:?}"
        );
    }
    // Only this program may set colours.
    let output = mock_server.wasmill(&["--color", "always", "schedule", "list"]);
    is_clean(
        "what stands between the colours",
        &output.out.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "").replace("\u{1b}[31m", ""),
    );
    assert!(output.out.contains("\u{1b}[31m"), "{output:?}");
}

#[test]
fn data_in_a_pipe_is_unchanged() {
    let result = json!({"result": HOSTILE});
    let mock_server = MockServer::start(move |received| match received.path.ends_with("/result") {
        true => Reply::Json(200, result.clone()),
        false => hostile(received),
    });
    assert_eq!(mock_server.wasmill(&["result", ID]).out, format!("{HOSTILE}\n"));
    let output = mock_server.wasmill(&["status", "--json", ID]);
    let record: Value = serde_json::from_str(&output.out).expect("JSON");
    assert_eq!(record["tags"][0], HOSTILE);
    let listed: Value = serde_json::from_str(&mock_server.wasmill(&["list", "--json"]).out).expect("JSON");
    assert_eq!(listed[0]["status"], HOSTILE);
}

#[test]
fn data_on_a_terminal_is_sanitized() {
    let result = json!({"result": HOSTILE});
    let mock_server = MockServer::start(move |received| match received.path.ends_with("/result") {
        true => Reply::Json(200, result.clone()),
        false => hostile(received),
    });
    let (folder, url) = (tempfile::tempdir().expect("a folder"), mock_server.url());
    for args in [&["result", ID][..], &["status", "--json", ID], &["list", "--json"]] {
        let mut terminal = Terminal::start(folder.path(), &[args, &["--server", &url]].concat());
        terminal.end();
        // Terminals end lines with both.
        is_clean(&format!("{args:?}"), &terminal.written().replace("\r\n", "\n"));
        assert!(terminal.written().contains("evil"), "{args:?}");
    }
}

fn folder_with(name: &[u8], wasm: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), wasm).expect("written");
    folder
}

#[test]
fn files_and_their_names_cannot_drive_the_terminal() {
    let export =
        "(module (memory (export \"memory\") 1) (func (export \"\\1b]0;owned\\07\\1b[2J\\e2\\80\\aeevil\")))";
    let wasm = wat::parse_str(export).expect("a module");
    let folder = folder_with(b"hostile.wasm", &wasm);
    for args in [&["plugin", "check", "hostile.wasm"][..], &["run", "./hostile.wasm"]] {
        let output = wasmill(folder.path(), args);
        is_clean(&format!("stdout of {args:?}"), &output.out);
        is_clean(&format!("stderr of {args:?}"), &output.err);
    }
    let name = "a\u{1b}[2J\u{202e}evil.wasm";
    let folder = folder_with(name.as_bytes(), b"none");
    let url = "http://127.0.0.1:9";
    for args in [&["plugin", "check", name][..], &["run", name], &["plugin", "put", name, "--server", url]] {
        let output = wasmill(folder.path(), args);
        is_clean(&format!("stderr of {args:?}"), &output.err);
        assert!(output.err.contains("evil"), "{output:?}");
    }
    // A manifest, and a settings file with an unknown key.
    let folder = folder_with(b"x.wasm", &wat::parse_str("(module)").expect("a module"));
    fs::write(folder.path().join("x.toml"), "\"a\\u202Eevil\\u001B[2J\" = 1").expect("written");
    is_clean("a manifest", &wasmill(folder.path(), &["plugin", "check", "x.wasm"]).err);
    fs::write(folder.path().join("wasmill.toml"), "\"a\\u202Eevil\\u001B[2J\" = 1").expect("written");
    let output = wasmill(folder.path(), &["serve"]);
    is_clean("a settings file", &output.err);
    assert!(output.err.contains("evil"), "{output:?}");
    let doctor = wasmill(folder.path(), &["doctor"]);
    is_clean("the doctor", &doctor.out);
    assert!(doctor.out.contains("evil"), "{doctor:?}");
}

#[test]
fn command_line_errors_contain_no_control_characters() {
    let folder = TempDir::new().expect("a folder");
    let flag = format!("--{HOSTILE}");
    let commands: [&[&str]; 5] = [
        &["status", HOSTILE],
        &[HOSTILE],
        &[&flag],
        &["serve", "--listen", HOSTILE],
        &["serve", "--slots", HOSTILE, "--listen=x"],
    ];
    for args in commands {
        let printed = wasmill(folder.path(), args);
        assert_ne!(printed.code, 0, "{args:?}");
        assert!(printed.err.contains("evil"), "{args:?}: {}", printed.err);
        is_clean(&format!("the error of {args:?}"), &printed.err);
    }
}
