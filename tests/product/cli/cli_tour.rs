//! The client commands, against a real server.

use std::process::Stdio;

use serde_json::{Value, json};
use wasmill_tests::{CommandOutput, Server, command, wasmill};

/// Runs a command against this server.
fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let url = format!("http://{}", server.address());
    let mut command = command(server.folder(), args);
    let output = command.env("WASMILL_SERVER", url).stdin(Stdio::null()).output().expect("a run");
    CommandOutput {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn submit(server: &Server, args: &[&str]) -> String {
    let printed = ask(server, &[&["submit"], args].concat());
    assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{printed:?}");
    printed.out.trim_end().to_owned()
}

#[tokio::test]
async fn a_task_is_submitted_followed_and_cancelled() {
    let server = Server::start(&[]);
    let id = submit(
        &server,
        &[
            "misbehave",
            "--input",
            r#"{"do": "progress", "fraction": 0.25, "note": "a quarter", "ms": 60000}"#,
        ],
    );
    server.client().until_progress(&id).await;
    let status = ask(&server, &["status", &id]);
    assert!(status.code == 0 && status.out.contains("in process"), "{status:?}");
    assert!(status.out.contains("25 %  a quarter") && !status.out.contains('\x1b'), "{status:?}");
    let listed = ask(&server, &["list"]);
    assert!(listed.out.contains(&id) && listed.out.contains("25 %  a quarter"), "{listed:?}");
    let result = ask(&server, &["result", &id]);
    assert!(result.code == 6 && result.err.contains("has not finished"), "{result:?}");
    let cancelled = ask(&server, &["cancel", &id]);
    assert_eq!((cancelled.code, cancelled.out), (0, format!("{id} cancelled\n")));
    assert_eq!(server.client().slots_used().await, 0);
    let result = ask(&server, &["result", &id]);
    assert!(result.code == 3 && result.out.is_empty(), "{result:?}");
    let again = ask(&server, &["cancel", &id]);
    assert!(again.code == 6 && again.err.contains("already cancelled"), "{again:?}");
    let deleted = ask(&server, &["delete", &id]);
    assert_eq!((deleted.code, deleted.out), (0, format!("{id} deleted\n")));
    let gone = ask(&server, &["status", &id]);
    assert!(gone.code == 5 && gone.err.contains(&format!("task {id} does not exist")), "{gone:?}");
}

#[tokio::test]
async fn list_and_status_show_what_a_waiting_task_waits_for() {
    let server = Server::start(&["--slots", "1"]);
    let running = submit(&server, &["io-stub"]);
    server.client().until(&running, "running").await;
    let available = submit(&server, &["io-stub"]);
    let scheduled = submit(&server, &["io-stub", "--delay", "1h"]);
    let blocked = submit(&server, &["io-stub", "--after", &scheduled]);
    let cancelled = submit(&server, &["io-stub", "--delay", "1h"]);
    ask(&server, &["cancel", &cancelled]);
    let list = ask(&server, &["list"]).out;
    for (id, state) in [
        (running, "running"),
        (available, "available"),
        (scheduled, "scheduled"),
        (blocked, "blocked"),
        (cancelled, "cancelled"),
    ] {
        let line = list.lines().find(|line| line.starts_with(&id)).expect("a line");
        assert_eq!(line.split_whitespace().nth(1), Some(state), "{list}");
        let status = ask(&server, &["status", &id]).out;
        assert!(status.contains(&format!("\nstate     {state}\n")), "{status}");
    }
}

#[tokio::test]
async fn a_waiting_submit_prints_the_result_and_exits_by_outcome() {
    let server = Server::start(&[]);
    let echo = r#"{"do": "echo", "text": "grüße"}"#;
    let printed = ask(&server, &["submit", "misbehave", "--wait", "--quiet", "--input", echo]);
    assert_eq!((printed.code, printed.out.as_str(), printed.err.as_str()), (0, "grüße\n", ""));
    let fail = r#"{"do": "fail", "kind": "io", "message": "the disk is gone"}"#;
    let printed = ask(&server, &["submit", "misbehave", "--wait", "--quiet", "--input", fail]);
    assert_eq!((printed.code, printed.out.as_str()), (1, ""));
    assert_eq!(printed.err, "wasmill: failed by io bound: the disk is gone\n");
    let printed = ask(&server, &["submit", "misbehave", "--wait", "--json", "--quiet", "--input", fail]);
    let record: Value = serde_json::from_str(&printed.out).expect("JSON");
    assert_eq!((printed.code, &record["error"]["cause"]), (1, &json!("io")));
    let id = submit(&server, &["misbehave", "--input", echo]);
    let printed = ask(&server, &["result", "--wait", &id]);
    assert_eq!((printed.code, printed.out.as_str(), printed.err.as_str()), (0, "grüße\n", ""));
    let printed = ask(&server, &["result", "--json", &id]);
    let record: Value = serde_json::from_str(&printed.out).expect("JSON");
    assert_eq!((printed.code, &record["result"]), (0, &json!("grüße")));
    let failed = submit(&server, &["misbehave", "--input", fail]);
    server.client().until(&failed, "failed").await;
    let printed = ask(&server, &["result", &failed]);
    assert!(printed.code == 1 && printed.err.contains("the disk is gone"), "{printed:?}");
}

#[tokio::test]
async fn the_options_of_a_task_reach_the_server() {
    let server = Server::start(&[]);
    let id = submit(
        &server,
        &["misbehave", "--input", r#"{"do": "noop"}"#, "--timeout", "42s", "--max-attempts", "7"],
    );
    let task = server.client().until(&id, "completed").await;
    assert_eq!((&task.json["timeout_ms"], &task.json["max_attempts"]), (&json!(42_000), &json!(7)));
}

#[tokio::test]
async fn a_task_depends_on_others_and_gets_their_results() {
    let server = Server::start(&[]);
    let sleep = r#"{"do": "sleep", "ms": 60000}"#;
    let first = submit(&server, &["misbehave", "--input", r#"{"do": "echo", "text": "one"}"#]);
    let other = submit(&server, &["misbehave", "--input", sleep]);
    let asks = ["misbehave", "--input", r#"{"do": "dependencies"}"#, "--with-results", "--on-failure", "run"];
    let last = submit(&server, &[&asks[..], &["--after", &first, "--after", &other]].concat());
    server.client().until(&first, "completed").await;
    let printed = ask(&server, &["status", &last]);
    assert!(printed.out.contains("waits for 1 other task\n"), "{printed:?}");
    let doomed = submit(&server, &["misbehave", "--after", &other]);
    assert_eq!(ask(&server, &["cancel", &other]).code, 0);
    let printed = ask(&server, &["result", &last, "--wait"]);
    assert!(printed.code == 0 && printed.out.contains(r#""result":"one""#), "{printed:?}");
    let printed = ask(&server, &["result", &doomed, "--wait"]);
    assert!(printed.code == 3 && printed.err.contains(&other), "{printed:?}");
    let printed = ask(&server, &["submit", "--on-failure", "run"]);
    assert!(printed.code == 2 && printed.err.contains("--after"), "{printed:?}");
}

#[tokio::test]
async fn refused_requests_list_each_error_and_change_nothing() {
    let server = Server::start(&[]);
    let printed = ask(&server, &["submit", "no-such-plugin", "--timeout", "soon", "--max-attempts", "0"]);
    assert_eq!((printed.code, printed.out.as_str()), (2, ""));
    for line in ["  /plugin: there is no plugin 'no-such-plugin'", "  /timeout: ", "  /max_attempts: "] {
        assert!(printed.err.contains(line), "{line} is missing in {}", printed.err);
    }
    let printed = ask(&server, &["submit", "--backoff", "1s"]);
    assert!(printed.code == 2 && printed.err.contains("invalid value for --backoff"), "{printed:?}");
    let printed = ask(&server, &["list", "--state", "done"]);
    assert!(printed.code == 2 && printed.err.contains("one or more of waiting, blocked"), "{printed:?}");
    let printed = ask(&server, &["status", "7"]);
    assert!(
        printed.code == 2 && printed.err.contains("an id, or the beginning or the end of one, is 4 to 32"),
        "{printed:?}"
    );
    assert_eq!(server.client().get("/task").await.text, "[]");
}

#[test]
fn an_unreachable_server_is_distinguished_from_a_refusal() {
    let folder = tempfile::tempdir().expect("a folder");
    let id = "01a2074c-e503-703b-819d-4717c026346b";
    for args in
        [&["list"][..], &["status", id], &["submit"], &["cancel", id], &["stats"], &["plugin", "list"]]
    {
        let printed = wasmill(folder.path(), &[args, &["--server", "http://127.0.0.1:1"]].concat());
        assert_eq!((printed.code, printed.out.as_str()), (4, ""), "{args:?}: {printed:?}");
        assert!(
            printed.err.contains("http://127.0.0.1:1") && printed.err.contains("wasmill serve"),
            "{printed:?}"
        );
    }
    let printed = wasmill(folder.path(), &["list", "--server", "ftp://127.0.0.1"]);
    assert!(printed.code == 2 && printed.err.contains("is not a server address"), "{printed:?}");
}

#[tokio::test]
async fn a_list_prints_a_table_ids_or_json() {
    let server = Server::start(&["--slots", "1"]);
    let noop = ["misbehave", "--input", r#"{"do": "noop"}"#];
    let ids: Vec<_> = (0..3).map(|_| submit(&server, &noop)).collect();
    for id in &ids {
        server.client().until(id, "completed").await;
    }
    let newest: Vec<_> = ids.iter().rev().cloned().collect();
    let quiet = ask(&server, &["list", "--quiet"]);
    assert_eq!(quiet.out.lines().collect::<Vec<_>>(), newest);
    let json: Vec<Value> = serde_json::from_str(&ask(&server, &["list", "--json"]).out).expect("JSON");
    assert_eq!(json.iter().map(|task| task["id"].as_str().expect("an id")).collect::<Vec<_>>(), newest);
    let two = ask(&server, &["list", "--limit", "2"]);
    assert_eq!((two.code, two.out.lines().count()), (0, 3), "{two:?}");
    assert!(two.err.contains("--limit 0 shows all"), "{two:?}");
    let none = ask(&server, &["list", "--state", "failed,cancelled"]);
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (0, "", "no matching tasks\n"));
    assert_eq!(ask(&server, &["list", "--state", "failed", "--json"]).out, "[]\n");
    assert_eq!(ask(&server, &["list", "--plugin", "misbehave", "--quiet"]).out.lines().count(), 3);
}

#[tokio::test]
async fn a_long_list_follows_pages_and_stops_on_a_closed_pipe() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let blocker =
        client.submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}})).await;
    client.until(&blocker, "running").await;
    for _ in 0..2_100 {
        client.submit(&json!({"plugin": "noop"})).await;
    }
    let all = ask(&server, &["list", "--quiet", "--limit", "0"]);
    assert_eq!((all.code, all.out.lines().count()), (0, 2_101));
    let binary = wasmill_tests::binary().expect("a binary");
    let line =
        format!("'{}' list --limit 0 --server http://{} | head -n 1", binary.display(), server.address());
    let piped = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&piped.stdout).lines().count(), 1);
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "");
}

#[tokio::test]
async fn many_tasks_are_cancelled_by_filter() {
    let server = Server::start(&["--slots", "1"]);
    let sleep = ["misbehave", "--input", r#"{"do": "sleep", "ms": 600000}"#];
    let ids: Vec<_> = (0..3).map(|_| submit(&server, &sleep)).collect();
    let none = ask(&server, &["cancel"]);
    assert!(none.code == 2 && none.err.contains("--all"), "{none:?}");
    let both = ask(&server, &["cancel", &ids[0], "--all"]);
    assert_eq!(both.code, 2, "{both:?}");
    let dry = ask(&server, &["cancel", "--plugin", "misbehave", "--dry-run"]);
    assert_eq!(dry.out, "3 tasks would be cancelled\n", "{dry:?}");
    let one = ask(&server, &["cancel", "--state", "running", "--grace", "100ms"]);
    assert_eq!(one.out, "1 task cancelled\n", "{one:?}");
    let rest = ask(&server, &["cancel", "--all", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&rest.out).expect("JSON")["dry_run"], false);
    let states = ask(&server, &["list", "--json"]);
    let states: Vec<Value> = serde_json::from_str(&states.out).expect("JSON");
    assert!(states.iter().all(|task| task["state"] == "cancelled"), "{states:?}");
    // Everything possible is done, and the exit code reports what failed.
    let missing = "01a2074c-e503-703b-819d-4717c026346b";
    let printed = ask(&server, &["delete", missing, &ids[0]]);
    assert_eq!((printed.code, printed.out), (5, format!("{} deleted\n", ids[0])));
}

#[tokio::test]
async fn stats_and_plugins_print_text_or_json() {
    let server = Server::start(&["--slots", "7"]);
    let stats = ask(&server, &["stats"]);
    assert!(stats.code == 0 && stats.out.contains("0 of 7 used"), "{stats:?}");
    let stats: Value = serde_json::from_str(&ask(&server, &["stats", "--json"]).out).expect("JSON");
    assert_eq!(stats["slots"]["total"], 7);
    let plugins = ask(&server, &["plugin", "list"]);
    assert!(plugins.out.contains("io-stub") && plugins.out.contains("misbehave"), "{plugins:?}");
}

#[tokio::test]
async fn a_plugin_is_uploaded_and_deleted_if_uploads_are_enabled() {
    let server = Server::start(&["--allow-upload"]);
    let file = server.folder().join("new.wasm");
    std::fs::write(&file, wasmill_tests::tiny::plugin("new!")).expect("written");
    assert_eq!(ask(&server, &["plugin", "put", "new.wasm"]).out, "new added\n");
    assert_eq!(ask(&server, &["plugin", "put", "new.wasm", "--name", "new"]).out, "new replaced\n");
    assert_eq!(ask(&server, &["submit", "new", "--wait", "--quiet"]).out, "new!\n");
    assert_eq!(ask(&server, &["plugin", "delete", "new"]).out, "new deleted\n");
    assert_eq!(ask(&server, &["plugin", "delete", "new"]).code, 5);
    std::fs::write(&file, "not wasm at all").expect("written");
    let printed = ask(&server, &["plugin", "put", "new.wasm"]);
    assert!(printed.code == 2 && printed.out.is_empty(), "{printed:?}");
    assert_eq!(ask(&server, &["plugin", "put", "missing.wasm"]).code, 5);
    let server = Server::start(&[]);
    let printed = ask(&server, &["plugin", "delete", "noop"]);
    assert!(printed.code == 2 && printed.err.contains("--allow-upload"), "{printed:?}");
}

#[tokio::test]
async fn colours_are_used_only_in_terminals_by_default() {
    let server = Server::start(&[]);
    let id = submit(&server, &["misbehave", "--input", r#"{"do": "noop"}"#]);
    server.client().until(&id, "completed").await;
    assert!(!ask(&server, &["list"]).out.contains('\x1b'));
    assert!(ask(&server, &["list", "--color", "always"]).out.contains("\x1b[32mcompleted"));
    assert!(!ask(&server, &["--color", "never", "list"]).out.contains('\x1b'));
}

#[test]
fn help_has_examples_and_exit_codes_and_completions_have_the_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = wasmill(folder.path(), &["--help"]);
    for word in ["wasmill run hello.wasm", "Exit codes:", "130 ", "watch", "WASMILL_SERVER"] {
        assert!(help.out.contains(word), "{word} is missing in {}", help.out);
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = wasmill(folder.path(), &["completions", shell]);
        assert!(script.code == 0 && script.out.contains("submit"), "{shell}");
    }
    let printed = wasmill(folder.path(), &["completions", "no-shell"]);
    assert_eq!((printed.code, printed.out.as_str()), (2, ""));
}

#[tokio::test]
async fn a_dependency_may_be_named_by_part_of_its_id() {
    let server = Server::start(&[]);
    let first = submit(&server, &["noop"]);
    server.client().until(&first, "completed").await;
    for part in [&first[..30], &first[30..]] {
        let printed = ask(&server, &["submit", "noop", "--after", part]);
        assert_eq!(printed.code, 0, "{printed:?}");
    }
    let printed = ask(&server, &["submit", "noop", "--after", "00000000"]);
    assert!(printed.code == 5 && printed.err.contains("starts or ends with 00000000"), "{printed:?}");
    let listed = ask(&server, &["list", "--quiet", "--id-end", &first[30..]]);
    assert_eq!((listed.code, listed.out.trim_end()), (0, first.as_str()), "{listed:?}");
    let printed = ask(&server, &["submit", "noop", "--idempotency-key", "a b"]);
    assert!(printed.code == 2 && printed.err.contains("visible ASCII characters"), "{printed:?}");
}

#[tokio::test]
async fn a_waiting_submit_reports_each_failed_attempt() {
    let server = Server::start(&[]);
    let input = r#"{"do": "count-then-fail", "succeed_on": 2}"#;
    let backoff = r#"{"first": "1500ms", "jitter": 0}"#;
    let args =
        ["submit", "misbehave", "--wait", "--max-attempts", "2", "--backoff", backoff, "--input", input];
    let printed = ask(&server, &args);
    assert_eq!((printed.code, printed.out.as_str()), (0, "succeeded on attempt 2\n"), "{printed:?}");
    assert!(
        printed.err.contains("attempt 1 of 2 failed by io: attempt 1 of 2; the next is in"),
        "{printed:?}"
    );
}

#[tokio::test]
async fn a_schedule_is_shown_as_text_or_json() {
    let server = Server::start(&[]);
    let made = ask(&server, &["schedule", "set", "nightly", "30 2 * * *", "noop", "--no-overlap"]);
    assert_eq!(made.code, 0, "{made:?}");
    let shown = ask(&server, &["schedule", "show", "nightly"]);
    assert!(shown.code == 0 && shown.out.contains("cron      30 2 * * * (UTC)"), "{shown:?}");
    assert!(
        shown.out.contains("overlap   no") && shown.out.contains(r#"task      {"plugin":"noop"}"#),
        "{shown:?}"
    );
    let json = ask(&server, &["schedule", "show", "nightly", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&json.out).expect("JSON")["name"], "nightly");
    let none = ask(&server, &["schedule", "show", "nope"]);
    assert!(none.code == 5 && none.err.contains("`wasmill schedule list` shows"), "{none:?}");
}

#[tokio::test]
async fn the_status_reports_attempts_ended_by_host_crashes() {
    let server = Server::start(&[]);
    let id = submit(&server, &["misbehave", "--input", r#"{"do": "sleep", "ms": 3600000}"#]);
    server.client().until(&id, "running").await;
    let server = server.kill_and_restart();
    server.client().until(&id, "running").await;
    let status = ask(&server, &["status", &id]);
    assert!(status.out.contains("attempt   2 of 2, 1 ended by a crash of the host\n"), "{status:?}");
}
