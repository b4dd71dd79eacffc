//! `wasmill run`: runs one task without a server.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill_tests::terminal::Terminal;
use wasmill_tests::{CommandOutput, MISBEHAVE, PROGRAM, wasmill, wasmill_with_stdin};

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("misbehave.wasm"), MISBEHAVE).expect("written");
    fs::write(folder.path().join("program.wasm"), PROGRAM).expect("written");
    folder
}

/// Runs `misbehave` with this input and options.
fn misbehave(folder: &Path, input: &Value, options: &[&str]) -> CommandOutput {
    let input = input.to_string();
    let args = [&["run", "misbehave.wasm", "--input", &input], options].concat();
    wasmill(folder, &args)
}

#[test]
fn a_run_prints_its_result_alone_on_stdout_and_nothing_else_into_a_pipe() {
    let folder = folder();
    let printed = misbehave(folder.path(), &json!({"do": "echo", "text": "grüße"}), &[]);
    assert_eq!((printed.code, printed.out.as_str(), printed.err.as_str()), (0, "grüße\n", ""));
    let mut left: Vec<_> =
        folder.path().read_dir().expect("a folder").flatten().map(|file| file.file_name()).collect();
    left.sort();
    assert_eq!(left, ["misbehave.wasm", "program.wasm"], "no database, no other traces");
}

#[test]
fn the_log_of_a_run_goes_to_stderr_unless_quiet() {
    let folder = folder();
    let input = json!({"do": "log", "out": "to stdout", "err": "to stderr"});
    let printed = misbehave(folder.path(), &input, &[]);
    assert_eq!((printed.code, printed.out.as_str()), (0, "ok\n"));
    assert_eq!(printed.err, "to stdout\nto stderr\n");
    let printed = misbehave(folder.path(), &input, &["--quiet"]);
    assert_eq!((printed.out.as_str(), printed.err.as_str()), ("ok\n", ""));
}

#[test]
fn each_outcome_of_a_run_has_its_exit_code() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("broken.wasm"), &MISBEHAVE[..999]).expect("written");
    fs::write(path.join("notes.txt"), "no plugin").expect("written");
    let failed = misbehave(path, &json!({"do": "fail", "kind": "io", "message": "the disk is gone"}), &[]);
    assert_eq!(failed.code, 1);
    assert!(
        failed.err.contains("failed by io bound") && failed.err.contains("the disk is gone"),
        "{failed:?}"
    );
    assert_eq!(failed.out, "");
    let trapped = misbehave(path, &json!({"do": "trap"}), &[]);
    assert!(trapped.code == 1 && trapped.err.contains("failed by trap"), "{trapped:?}");
    for (args, code, printed) in [
        (&["run", "misbehave.wasm", "--input", "not json"][..], 2, "is not JSON"),
        (&["run", "misbehave.wasm", "--no-such-option"], 2, "--no-such-option"),
        (&["run", "broken.wasm"], 2, "broken.wasm cannot run"),
        (&["run", "./notes.txt"], 2, "end in .wasm"),
        (&["run", "missing.wasm"], 5, "file missing.wasm not found"),
        (&["run", "missing"], 5, "plugin 'missing' not found"),
        (&["run", "misbehave.wasm", "--input", "@missing.json"], 5, "missing.json"),
    ] {
        let output = wasmill(path, args);
        assert!(output.code == code && output.err.contains(printed), "{args:?}: {output:?}");
        assert_eq!(output.out, "");
    }
}

#[test]
fn a_run_ends_at_its_timeout_even_if_the_guest_spins() {
    let folder = folder();
    let printed = misbehave(folder.path(), &json!({"do": "spin"}), &["--timeout", "300ms"]);
    assert!(printed.code == 1 && printed.err.contains("failed by timeout"), "{printed:?}");
    fs::write(folder.path().join("misbehave.toml"), "limits.timeout = \"200ms\"").expect("written");
    let printed = misbehave(folder.path(), &json!({"do": "sleep", "ms": 60_000}), &[]);
    assert!(printed.code == 1 && printed.err.contains("200ms"), "{printed:?}");
}

#[test]
fn a_program_gets_its_arguments_stdin_and_permissions() {
    let folder = folder();
    let printed = wasmill(folder.path(), &["run", "program.wasm", "--", "args", "-n", "a b"]);
    assert_eq!((printed.code, printed.out.as_str()), (0, "[\"program\", \"args\", \"-n\", \"a b\"]\n"));
    let printed =
        wasmill_with_stdin(folder.path(), &["run", "program.wasm", "--stdin", "-", "--", "cat"], "a\nb");
    assert_eq!((printed.code, printed.out.as_str()), (0, "a\nb\n"));
    let printed = wasmill(folder.path(), &["run", "program.wasm", "--", "exit-with", "3"]);
    assert!(printed.code == 1 && printed.err.contains("failed by exit code 3"), "{printed:?}");
    fs::write(folder.path().join("program.toml"), "allow.env = { REGION = \"eu\" }").expect("written");
    let printed = wasmill(folder.path(), &["run", "program.wasm", "--", "env"]);
    assert_eq!((printed.code, printed.out.as_str()), (0, "REGION=eu\n"));
}

#[test]
fn a_denied_access_is_reported_with_the_manifest_line_that_permits_it() {
    let folder = folder();
    let printed = wasmill(folder.path(), &["run", "program.wasm", "--", "get", "http://example.com/"]);
    assert_eq!(printed.out, "ErrorCode::HttpRequestDenied\n", "{printed:?}");
    assert!(
        printed.err.contains("add to [allow] in program.toml: http = [\"http://example.com\"]"),
        "{printed:?}"
    );
}

#[test]
fn an_input_may_come_from_a_file_or_stdin() {
    let folder = folder();
    let input = json!({"do": "echo", "text": "from afar"}).to_string();
    fs::write(folder.path().join("input.json"), &input).expect("written");
    let printed = wasmill(folder.path(), &["run", "misbehave.wasm", "--input", "@input.json"]);
    assert_eq!((printed.code, printed.out.as_str()), (0, "from afar\n"));
    let printed = wasmill_with_stdin(folder.path(), &["run", "misbehave.wasm", "--input", "-"], &input);
    assert_eq!((printed.code, printed.out.as_str()), (0, "from afar\n"));
}

#[test]
fn an_input_against_the_schema_is_refused_before_the_run() {
    let folder = folder();
    fs::write(folder.path().join("misbehave.toml"), "input.schema = \"s.json\"").expect("written");
    fs::write(folder.path().join("s.json"), r#"{"properties": {"text": {"maxLength": 3}}}"#)
        .expect("written");
    let printed = misbehave(folder.path(), &json!({"do": "echo", "text": "abcd"}), &[]);
    assert!(printed.code == 2 && printed.err.contains("/input/text"), "{printed:?}");
    let printed = misbehave(folder.path(), &json!({"do": "echo", "text": "abc"}), &[]);
    assert_eq!((printed.code, printed.out.as_str()), (0, "abc\n"));
}

#[test]
fn a_name_is_a_plugin_of_the_folder_or_a_built_in_one() {
    let folder = folder();
    let input = r#"{"min_ms": 1, "max_ms": 2, "fail_rate": 0}"#;
    let printed = wasmill(folder.path(), &["run", "io-stub", "--input", input]);
    assert!(printed.code == 0 && printed.out.starts_with("io work result = "), "{printed:?}");
    let plugins = folder.path().join("elsewhere");
    fs::create_dir(&plugins).expect("a folder");
    fs::copy(folder.path().join("program.wasm"), plugins.join("tool.wasm")).expect("copied");
    let printed = wasmill(folder.path(), &["run", "tool", "--plugins", "elsewhere", "--", "args"]);
    assert_eq!((printed.code, printed.out.as_str()), (0, "[\"tool\", \"args\"]\n"));
}

#[test]
fn a_checkpoint_is_available_to_the_next_attempt() {
    let folder = folder();
    fs::write(folder.path().join("misbehave.toml"), "retry.backoff = { first = \"1ms\", max = \"5ms\" }")
        .expect("written");
    let input = json!({"do": "count-then-fail", "succeed_on": 3});
    let printed = misbehave(folder.path(), &input, &["--max-attempts", "3"]);
    assert_eq!((printed.code, printed.out.as_str()), (0, "succeeded on attempt 3\n"), "{printed:?}");
    assert!(printed.err.contains("attempt 2 of 3 failed by io bound"), "{printed:?}");
    let printed = misbehave(folder.path(), &input, &[]);
    assert!(
        printed.code == 1 && printed.err.contains("attempt 1 of 3"),
        "one attempt unless more are asked for: {printed:?}"
    );
}

#[test]
fn a_run_retries_what_manifest_and_plugin_allow() {
    let folder = folder();
    let manifest = |on: &str| {
        let text = format!("[retry]\non = [\"{on}\"]\nbackoff = {{ first = \"1ms\", max = \"5ms\" }}");
        fs::write(folder.path().join("misbehave.toml"), text).expect("written");
    };
    let attempts = |more: Value| {
        let mut input = json!({"do": "fail", "kind": "io", "message": "no"});
        input.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let printed = misbehave(folder.path(), &input, &["--max-attempts", "3"]);
        assert_eq!(printed.code, 1, "{printed:?}");
        1 + printed.err.matches("; retrying in ").count()
    };
    manifest("timeout");
    assert_eq!(attempts(json!({})), 1);
    manifest("io");
    assert_eq!(attempts(json!({})), 3);
    assert_eq!(attempts(json!({"retry_after_ms": 2})), 3);
    assert_eq!(attempts(json!({"permanent": true})), 1);
}

#[test]
fn all_attempts_of_a_run_have_one_task_id() {
    let folder = folder();
    fs::write(folder.path().join("misbehave.toml"), "retry.backoff = { first = \"1ms\", max = \"5ms\" }")
        .expect("written");
    let printed = misbehave(folder.path(), &json!({"do": "log-context"}), &["--max-attempts", "3"]);
    let contexts: Vec<Value> =
        printed.err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(contexts.len(), 3, "{printed:?}");
    for (context, attempt) in contexts.iter().zip(1..) {
        assert_eq!(
            (&context["task"], &context["attempt"]),
            (&contexts[0]["task"], &json!(attempt)),
            "{printed:?}"
        );
    }
}

#[test]
fn json_output_has_the_outcome_of_a_run() {
    let folder = folder();
    let read = |printed: &CommandOutput| serde_json::from_str::<Value>(&printed.out).expect("JSON");
    let printed = misbehave(folder.path(), &json!({"do": "echo", "text": "hi"}), &["--json"]);
    let report = read(&printed);
    assert_eq!((printed.code, &report["state"], &report["result"]), (0, &json!("completed"), &json!("hi")));
    assert_eq!(report["plugin_digest"].as_str().map(str::len), Some(64));
    assert!(report["usage"]["peak_memory_bytes"].as_u64() > Some(0), "{report}");
    assert!(report["usage"]["instantiate_us"].as_u64() > Some(0), "{report}");
    let printed =
        misbehave(folder.path(), &json!({"do": "fail", "kind": "other", "message": "no"}), &["--json"]);
    let report = read(&printed);
    assert_eq!((printed.code, &report["error"]["cause"]), (1, &json!("plugin")), "{report}");
    assert_eq!(report["error"]["message"], "no");
}

#[test]
fn json_output_has_the_usage_of_the_last_attempt() {
    let folder = folder();
    let usage = |input: &Value, args: &[&str]| {
        let printed = misbehave(folder.path(), input, &[&["--json"], args].concat());
        let report: Value = serde_json::from_str(&printed.out).expect("JSON");
        report["usage"].as_object().expect("usage").clone()
    };
    let logged = usage(&json!({"do": "log", "out": "four", "err": "five!"}), &[]);
    let names: Vec<_> = logged.keys().map(String::as_str).collect();
    let all = [
        "checkpoints",
        "cpu_ms",
        "disk_written_bytes",
        "files_created",
        "http_received_bytes",
        "http_requests",
        "http_sent_bytes",
        "instantiate_us",
        "log_bytes",
        "peak_memory_bytes",
        "queue_ms",
        "tcp_connections",
        "tcp_received_bytes",
        "tcp_sent_bytes",
        "wall_ms",
    ];
    assert_eq!(names, all, "as in the record of a task");
    assert_eq!((&logged["log_bytes"], &logged["queue_ms"]), (&json!("four\nfive!\n".len()), &json!(0)));
    assert!(usage(&json!({"do": "sleep", "ms": 150}), &[])["wall_ms"].as_u64() >= Some(150));
    // It saves one checkpoint per attempt.
    let again = usage(&json!({"do": "count-then-fail", "succeed_on": 2}), &["--max-attempts", "2"]);
    assert_eq!(again["checkpoints"], 1, "{again:?}");
}

#[test]
fn the_first_ctrl_c_lets_the_guest_clean_up() {
    let folder = folder();
    let out = folder.path().join("out");
    fs::create_dir(&out).expect("a folder");
    let dirs = format!("allow.dirs = [{{ host = {out:?}, guest = \"/out\", write = true }}]");
    fs::write(folder.path().join("misbehave.toml"), dirs).expect("written");
    let input = json!({"do": "heed", "file": "/out/note", "computes": false}).to_string();
    let mut terminal = Terminal::start(folder.path(), &["run", "misbehave.wasm", "--input", &input]);
    terminal.until_shows("waits to be asked");
    terminal.press("\x03");
    let (code, shown) = terminal.end();
    assert!(
        code == 3 && shown.contains("asked the guest to stop") && shown.contains("stopped in"),
        "{code}: {shown}"
    );
    assert_eq!(fs::read_to_string(out.join("note")).expect("a note"), "asked to stop");
}

#[test]
fn a_run_asked_to_stop_ends_as_stopped_even_if_its_guest_returns_a_result() {
    let folder = folder();
    let input = r#"{"do": "sleep", "ms": 2000}"#;
    let mut terminal = Terminal::start(folder.path(), &["run", "misbehave.wasm", "--input", input]);
    terminal.until_shows("misbehave  ");
    terminal.press("\x03");
    let (code, shown) = terminal.end();
    assert!(code == 3 && shown.contains("stopped in") && !shown.contains("completed"), "{code}: {shown}");
    assert!(!shown.lines().any(|line| line.trim() == "ok"), "no result is printed: {shown}");
}

#[test]
fn a_second_ctrl_c_kills_a_guest_that_ignores_the_first() {
    let folder = folder();
    let mut terminal =
        Terminal::start(folder.path(), &["run", "misbehave.wasm", "--input", r#"{"do": "spin"}"#]);
    terminal.until_shows("misbehave  ");
    terminal.press("\x03");
    terminal.until_shows("Ctrl-C again kills it at once");
    terminal.press("\x03");
    let (code, shown) = terminal.end();
    assert!(code == 3 && shown.contains("stopped in"), "{code}: {shown}");
}

#[test]
fn a_guest_that_ignores_ctrl_c_is_killed_after_the_grace() {
    let folder = folder();
    let args = ["run", "misbehave.wasm", "--grace", "200ms", "--input", r#"{"do": "spin"}"#];
    let mut terminal = Terminal::start(folder.path(), &args);
    terminal.until_shows("misbehave  ");
    terminal.press("\x03");
    let (code, shown) = terminal.end();
    assert!(code == 3 && shown.contains("to stop within 200ms"), "{code}: {shown}");
}

#[test]
fn a_run_shows_progress_below_its_log_and_its_usage_at_the_end() {
    let folder = folder();
    let input = r#"{"min_ms": 2500, "max_ms": 2600, "fail_rate": 0}"#;
    let mut terminal = Terminal::start(folder.path(), &["run", "io-stub", "--input", input]);
    let shown = terminal.until("a bar", |shown| shown.contains("━") && shown.contains("s left"));
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("waiting 2") && lines[1].starts_with("io-stub  "), "{shown}");
    let (code, shown) = terminal.end();
    assert!(code == 0 && shown.contains("completed in 2.") && shown.contains("io work result = "), "{shown}");
    assert!(!shown.contains("s left"), "the live line is gone: {shown}");
}

#[test]
fn a_guest_cannot_drive_the_terminal() {
    let folder = folder();
    let escape = "\x1b]0;owned\x07\x1b[2Jgone";
    let input = json!({"do": "log", "out": escape, "err": escape}).to_string();
    let mut terminal = Terminal::start(folder.path(), &["run", "misbehave.wasm", "--input", &input]);
    let (code, shown) = terminal.end();
    assert!(code == 0 && shown.matches("gone").count() == 2, "{shown}");
    let input = json!({"do": "echo", "text": escape}).to_string();
    let mut echo = Terminal::start(folder.path(), &["run", "misbehave.wasm", "--input", &input]);
    assert_eq!(echo.end().0, 0);
    let input = json!({"do": "progress", "fraction": 0.5, "note": escape, "ms": 500}).to_string();
    let mut note = Terminal::start(folder.path(), &["run", "misbehave.wasm", "--input", &input]);
    assert_eq!(note.end().0, 0);
    for terminal in [terminal, echo, note] {
        let written = terminal.written();
        assert!(
            written.contains("gone") && !written.contains("\x1b]") && !written.contains("\x1b[2J"),
            "{written:?}"
        );
    }
}
