//! The commands that talk to a server, against a real one.

use std::process::Stdio;

use serde_json::{Value, json};
use wasmill_tests::{Said, Server, command, wasmill};

/// Runs a command against this server.
fn ask(server: &Server, args: &[&str]) -> Said {
    let url = format!("http://{}", server.address());
    let mut command = command(server.folder(), args);
    let output = command.env("WASMILL_SERVER", url).stdin(Stdio::null()).output().expect("a run");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn submit(server: &Server, args: &[&str]) -> String {
    let said = ask(server, &[&["submit"], args].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    said.out.trim_end().to_owned()
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
    assert!(result.code == 6 && result.err.contains("has not ended"), "{result:?}");
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
    assert!(gone.code == 5 && gone.err.contains(&format!("there is no task {id}")), "{gone:?}");
}

#[tokio::test]
async fn whoever_waits_gets_the_result_and_an_exit_code_for_the_outcome() {
    let server = Server::start(&[]);
    let echo = r#"{"do": "echo", "text": "grüße"}"#;
    let said = ask(&server, &["submit", "misbehave", "--wait", "--quiet", "--input", echo]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "grüße\n", ""));
    let fail = r#"{"do": "fail", "kind": "io", "message": "the disk is gone"}"#;
    let said = ask(&server, &["submit", "misbehave", "--wait", "--quiet", "--input", fail]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert_eq!(said.err, "wasmill: failed by io bound: the disk is gone\n");
    let said = ask(&server, &["submit", "misbehave", "--wait", "--json", "--quiet", "--input", fail]);
    let record: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.code, &record["error"]["cause"]), (1, &json!("io")));
    let id = submit(&server, &["misbehave", "--input", echo]);
    let said = ask(&server, &["result", "--wait", &id]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "grüße\n", ""));
    let said = ask(&server, &["result", "--json", &id]);
    let record: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.code, &record["result"]), (0, &json!("grüße")));
    let failed = submit(&server, &["misbehave", "--input", fail]);
    server.client().until(&failed, "failed").await;
    let said = ask(&server, &["result", &failed]);
    assert!(said.code == 1 && said.err.contains("the disk is gone"), "{said:?}");
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
async fn a_task_is_submitted_behind_others_and_handed_their_results() {
    let server = Server::start(&[]);
    let sleep = r#"{"do": "sleep", "ms": 60000}"#;
    let first = submit(&server, &["misbehave", "--input", r#"{"do": "echo", "text": "one"}"#]);
    let other = submit(&server, &["misbehave", "--input", sleep]);
    let last = submit(
        &server,
        &["misbehave", "--after", &first, "--after", &other, "--on-failure", "run", "--with-results"],
    );
    server.client().until(&first, "completed").await;
    let said = ask(&server, &["status", &last]);
    assert!(said.out.contains("waits for 1 other task\n"), "{said:?}");
    let doomed = submit(&server, &["misbehave", "--after", &other]);
    assert_eq!(ask(&server, &["cancel", &other]).code, 0);
    let said = ask(&server, &["result", &last, "--wait"]);
    assert!(said.code == 0 && said.out.contains(r#""result":"one""#), "{said:?}");
    let said = ask(&server, &["result", &doomed, "--wait"]);
    assert!(said.code == 3 && said.err.contains(&other), "{said:?}");
    let said = ask(&server, &["submit", "--on-failure", "run"]);
    assert!(said.code == 2 && said.err.contains("--after"), "{said:?}");
}

#[tokio::test]
async fn what_a_server_refuses_is_told_line_by_line_and_changes_nothing() {
    let server = Server::start(&[]);
    let said = ask(&server, &["submit", "no-such-plugin", "--timeout", "soon", "--max-attempts", "0"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    for line in ["  /plugin: there is no plugin 'no-such-plugin'", "  /timeout: ", "  /max_attempts: "] {
        assert!(said.err.contains(line), "{line} is missing in {}", said.err);
    }
    let said = ask(&server, &["submit", "--backoff", "1s"]);
    assert!(said.code == 2 && said.err.contains("--backoff is no JSON"), "{said:?}");
    let said = ask(&server, &["list", "--state", "done"]);
    assert!(said.code == 2 && said.err.contains("waiting, running"), "{said:?}");
    let said = ask(&server, &["status", "7"]);
    assert!(
        said.code == 2 && said.err.contains("an id, or the beginning or the end of one, is 4 to 32"),
        "{said:?}"
    );
    assert_eq!(server.client().get("/task").await.text, "[]");
}

#[test]
fn a_server_that_is_not_there_is_told_from_one_that_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let id = "01a2074c-e503-703b-819d-4717c026346b";
    for args in
        [&["list"][..], &["status", id], &["submit"], &["cancel", id], &["stats"], &["plugin", "list"]]
    {
        let said = wasmill(folder.path(), &[args, &["--server", "http://127.0.0.1:1"]].concat());
        assert_eq!((said.code, said.out.as_str()), (4, ""), "{args:?}: {said:?}");
        assert!(said.err.contains("http://127.0.0.1:1") && said.err.contains("wasmill serve"), "{said:?}");
    }
    let said = wasmill(folder.path(), &["list", "--server", "ftp://127.0.0.1"]);
    assert!(said.code == 2 && said.err.contains("names no server"), "{said:?}");
}

#[tokio::test]
async fn a_list_is_a_table_ids_or_json() {
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
    assert!(two.err.contains("there are more"), "{two:?}");
    let none = ask(&server, &["list", "--state", "failed,cancelled"]);
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (0, "", "there are no such tasks\n"));
    assert_eq!(ask(&server, &["list", "--state", "failed", "--json"]).out, "[]\n");
    assert_eq!(ask(&server, &["list", "--plugin", "misbehave", "--quiet"]).out.lines().count(), 3);
}

#[tokio::test]
async fn a_list_of_many_goes_on_over_pages_and_ends_quietly_when_nobody_reads_on() {
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
async fn many_tasks_are_cancelled_by_what_they_are() {
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
    // What can be done is done, and the exit code is that of what could not.
    let missing = "01a2074c-e503-703b-819d-4717c026346b";
    let said = ask(&server, &["delete", missing, &ids[0]]);
    assert_eq!((said.code, said.out), (5, format!("{} deleted\n", ids[0])));
}

#[tokio::test]
async fn stats_and_plugins_are_for_people_or_for_scripts() {
    let server = Server::start(&["--slots", "7"]);
    let stats = ask(&server, &["stats"]);
    assert!(stats.code == 0 && stats.out.contains("0 of 7 used"), "{stats:?}");
    let stats: Value = serde_json::from_str(&ask(&server, &["stats", "--json"]).out).expect("JSON");
    assert_eq!(stats["slots"]["total"], 7);
    let plugins = ask(&server, &["plugin", "list"]);
    assert!(plugins.out.contains("io-stub") && plugins.out.contains("misbehave"), "{plugins:?}");
}

#[tokio::test]
async fn a_plugin_is_put_and_deleted_where_the_server_allows_it() {
    let server = Server::start(&["--allow-upload"]);
    let file = server.folder().join("new.wasm");
    std::fs::write(&file, wasmill_tests::tiny::plugin("new!")).expect("written");
    assert_eq!(ask(&server, &["plugin", "put", "new.wasm"]).out, "new added\n");
    assert_eq!(ask(&server, &["plugin", "put", "new.wasm", "--name", "new"]).out, "new replaced\n");
    assert_eq!(ask(&server, &["submit", "new", "--wait", "--quiet"]).out, "new!\n");
    assert_eq!(ask(&server, &["plugin", "delete", "new"]).out, "new deleted\n");
    assert_eq!(ask(&server, &["plugin", "delete", "new"]).code, 5);
    std::fs::write(&file, "not wasm at all").expect("written");
    let said = ask(&server, &["plugin", "put", "new.wasm"]);
    assert!(said.code == 2 && said.out.is_empty(), "{said:?}");
    assert_eq!(ask(&server, &["plugin", "put", "missing.wasm"]).code, 5);
    let server = Server::start(&[]);
    let said = ask(&server, &["plugin", "delete", "noop"]);
    assert!(said.code == 2 && said.err.contains("--allow-upload"), "{said:?}");
}

#[tokio::test]
async fn colours_are_for_terminals_unless_told_otherwise() {
    let server = Server::start(&[]);
    let id = submit(&server, &["misbehave", "--input", r#"{"do": "noop"}"#]);
    server.client().until(&id, "completed").await;
    assert!(!ask(&server, &["list"]).out.contains('\x1b'));
    assert!(ask(&server, &["list", "--color", "always"]).out.contains("\x1b[32mcompleted"));
    assert!(!ask(&server, &["--color", "never", "list"]).out.contains('\x1b'));
}

#[test]
fn help_tells_examples_and_exit_codes_and_completions_know_the_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = wasmill(folder.path(), &["--help"]);
    for word in ["wasmill run hello.wasm", "Exit codes:", "130 ", "watch", "WASMILL_SERVER"] {
        assert!(help.out.contains(word), "{word} is missing in {}", help.out);
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = wasmill(folder.path(), &["completions", shell]);
        assert!(script.code == 0 && script.out.contains("submit"), "{shell}");
    }
    let said = wasmill(folder.path(), &["completions", "no-shell"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
}

#[tokio::test]
async fn a_task_to_wait_for_is_named_by_a_part_of_its_id() {
    let server = Server::start(&[]);
    let first = submit(&server, &["noop"]);
    server.client().until(&first, "completed").await;
    for part in [&first[..30], &first[30..]] {
        let said = ask(&server, &["submit", "noop", "--after", part]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let said = ask(&server, &["submit", "noop", "--after", "00000000"]);
    assert!(said.code == 5 && said.err.contains("begins or ends with 00000000"), "{said:?}");
    let listed = ask(&server, &["list", "--quiet", "--id-end", &first[30..]]);
    assert_eq!((listed.code, listed.out.trim_end()), (0, first.as_str()), "{listed:?}");
    let said = ask(&server, &["submit", "noop", "--idempotency-key", "a b"]);
    assert!(said.code == 2 && said.err.contains("visible ASCII characters"), "{said:?}");
}

#[tokio::test]
async fn whoever_waits_is_told_of_each_attempt_that_failed() {
    let server = Server::start(&[]);
    let input = r#"{"do": "count-then-fail", "succeed_on": 2}"#;
    let backoff = r#"{"first": "1500ms", "jitter": 0}"#;
    let args =
        ["submit", "misbehave", "--wait", "--max-attempts", "2", "--backoff", backoff, "--input", input];
    let said = ask(&server, &args);
    assert_eq!((said.code, said.out.as_str()), (0, "succeeded on attempt 2\n"), "{said:?}");
    assert!(said.err.contains("attempt 1 of 2 failed by io: attempt 1 of 2; the next is in"), "{said:?}");
}

#[tokio::test]
async fn a_schedule_is_shown_in_lines_or_as_json() {
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
async fn an_attempt_that_a_crash_of_the_host_ended_is_counted_on_top() {
    let server = Server::start(&[]);
    let id = submit(&server, &["misbehave", "--input", r#"{"do": "sleep", "ms": 3600000}"#]);
    server.client().until(&id, "running").await;
    let server = server.kill_and_restart();
    server.client().until(&id, "running").await;
    let status = ask(&server, &["status", &id]);
    assert!(status.out.contains("attempt   2 of 2, 1 ended by a crash of the host\n"), "{status:?}");
}
