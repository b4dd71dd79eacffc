//! How commands handle responses that a real server rarely gives: cut streams, restarts, older versions.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use wasmill_tests::mock_server::{MockServer, ReceivedRequest, Reply};
use wasmill_tests::wasmill;

const ID: &str = "01a2074c-e503-703b-819d-4717c026346b";
const NEW: &str = "01a2074c-e512-73a0-a30c-081a660b0534";

fn line(seq: u64, text: &str) -> Value {
    let stream = if seq.is_multiple_of(2) { "stdout" } else { "stderr" };
    json!({"seq": seq, "time": "2026-11-23T07:26:49Z", "attempt": 1, "stream": stream, "text": text})
}

fn event(seq: u64, text: &str) -> String {
    format!("event: log\nid: {seq}\ndata: {}\n\n", line(seq, text))
}

const END: &str = "event: end\ndata: {\"state\": \"completed\", \"status\": \"completed\"}\n\n";

fn wants_events(received: &ReceivedRequest) -> bool {
    received.has_header("accept: text/event-stream")
}

#[test]
fn a_followed_log_resumes_after_a_disconnect_without_gap_or_repetition() {
    let round = AtomicU32::new(0);
    let mock_server = MockServer::start(move |received| {
        assert!(wants_events(received), "{received:?}");
        match round.fetch_add(1, Ordering::SeqCst) {
            // The last event is truncated, so it is ignored.
            0 => Reply::events(&[
                event(1, "one"),
                ": still here\n\n".to_owned(),
                event(2, "two"),
                event(3, "x")[..9].to_owned(),
            ]),
            1 => Reply::Json(
                503,
                json!({"code": "store-unavailable", "detail": "the database is unavailable"}),
            ),
            // An event is repeated.
            2 => Reply::events(&[event(2, "two"), event(3, "three")]),
            _ => Reply::events(&[event(4, "four"), END.to_owned()]),
        }
    });
    let output = mock_server.wasmill(&["logs", "--follow", ID]);
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (0, "one\ntwo\nthree\nfour\n", ""));
    let paths: Vec<_> =
        mock_server.requests().into_iter().filter(wants_events).map(|received| received.path).collect();
    let at = |query: &str| format!("/task/{ID}/logs{query}");
    assert_eq!(paths, [at(""), at("?after=2"), at("?after=2"), at("?after=3")]);
}

#[test]
fn split_lines_are_joined_and_gaps_are_reported() {
    let mock_server = MockServer::start(|_| {
        let part = |seq: u64, text: &str| {
            let line = json!({"seq": seq, "time": "2026-11-23T07:26:49Z", "attempt": 1, "stream": "stdout", "text": text, "cut": true});
            format!("event: log\ndata: {line}\n\n")
        };
        let gap = "event: gap\ndata: {\"missed\": 7}\n\n".to_owned();
        Reply::events(&[
            gap,
            part(8, "a long "),
            event(10, "line"),
            part(12, "half"),
            event(13, "err"),
            END.to_owned(),
        ])
    });
    let output = mock_server.wasmill(&["logs", "-f", ID]);
    assert_eq!((output.code, output.out.as_str()), (0, "a long line\nhalf\nerr\n"));
    assert_eq!(output.err, "-- 7 lines are no longer stored --\n");
}

#[test]
fn a_log_is_read_in_pages() {
    let mock_server = MockServer::start(|received| {
        let after = received.path.split("after=").nth(1).map_or(0, |after| after.parse().expect("a number"));
        Reply::Json(
            200,
            (after + 1..=(after + 2).min(5)).map(|seq| line(seq, &format!("line {seq}"))).collect(),
        )
    });
    let output = mock_server.wasmill(&["logs", ID]);
    assert_eq!((output.code, output.out.as_str()), (0, "line 1\nline 2\nline 3\nline 4\nline 5\n"));
    let output = mock_server.wasmill(&["logs", ID, "--after", "4", "--timestamps"]);
    assert_eq!(output.out, "2026-11-23T07:26:49Z line 5\n");
    let output = mock_server.wasmill(&["logs", ID, "--after", "3", "--json"]);
    let lines: Vec<Value> =
        output.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines, [line(4, "line 4"), line(5, "line 5")]);
}

#[test]
fn a_server_without_logs_is_named_in_the_error() {
    let mock_server = MockServer::start(|_| Reply::unknown_route());
    for args in [&["logs", ID][..], &["logs", "--follow", ID]] {
        let output = mock_server.wasmill(args);
        assert_eq!((output.code, output.out.as_str()), (5, ""));
        assert!(output.err.contains("does not support this request"), "{output:?}");
    }
}

#[test]
fn a_log_that_cannot_be_followed_reports_why() {
    let mock_server = MockServer::start(|received| match wants_events(received) {
        true => Reply::Json(406, json!({"code": "http", "detail": "not acceptable"})),
        false => Reply::Json(404, json!({"code": "unknown-task", "detail": "task 7 does not exist"})),
    });
    let output = mock_server.wasmill(&["logs", "-f", ID]);
    assert_eq!((output.code, output.err.as_str()), (5, "wasmill: task 7 does not exist\n"));
}

/// Responds for a task that completes when its result is requested the third time.
fn task_that_takes_a_while(logs: bool) -> impl Fn(&ReceivedRequest) -> Reply {
    let asked_for_result = AtomicU32::new(0);
    move |received| {
        let record = json!({"id": NEW, "state": "completed", "status": "completed", "plugin": "hello", "result": "hi"});
        match (received.method.as_str(), received.path.as_str()) {
            ("POST", _) => {
                Reply::Json(201, json!({"id": NEW, "created_at": "2026-11-23T07:26:49Z", "duration": 0}))
            }
            (_, path) if path.contains("/logs") && logs => Reply::events(&[event(1, "said"), END.to_owned()]),
            (_, path) if path.contains("/logs") => Reply::unknown_route(),
            (_, path) if path.contains("/result") => match asked_for_result.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::Json(202, json!({"problem": "task running or failed, no result, check status"})),
                // As during a restart.
                1 => Reply::Json(503, json!({"code": "store-unavailable", "detail": "away"})),
                _ => Reply::Json(200, json!({"result": "hi"})),
            },
            _ => Reply::Json(200, record),
        }
    }
}

#[test]
fn a_waiting_submit_shows_the_log_and_survives_a_server_restart() {
    let mock_server = MockServer::start(task_that_takes_a_while(true));
    let output = mock_server.wasmill(&["submit", "hello", "--wait"]);
    assert_eq!((output.code, output.out.as_str()), (0, "hi\n"));
    assert!(
        output.err.starts_with(&format!("task {NEW}\n")) && output.err.contains("\nsaid\n"),
        "{output:?}"
    );
    assert!(output.err.contains("\nwasmill: away; keeps trying for 60s\n"), "{output:?}");
    let waits = |received: &ReceivedRequest| received.path == format!("/task/{NEW}/result?wait=30s");
    assert_eq!(mock_server.requests().iter().filter(|received| waits(received)).count(), 3);
}

#[test]
fn a_waiting_submit_works_without_a_log() {
    let mock_server = MockServer::start(task_that_takes_a_while(false));
    let output = mock_server.wasmill(&["submit", "hello", "--wait"]);
    assert_eq!(
        (output.code, output.out.as_str(), output.err),
        (0, "hi\n", format!("task {NEW}\nwasmill: away; keeps trying for 60s\n"))
    );
}

#[test]
fn a_retry_names_the_new_task_or_waits_for_it() {
    let mock_server = MockServer::start(task_that_takes_a_while(true));
    let output = mock_server.wasmill(&["retry", ID]);
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (0, format!("{NEW}\n").as_str(), ""));
    let output = mock_server.wasmill(&["retry", ID, "--wait", "--quiet"]);
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (0, "hi\n", ""));
    let received = mock_server.requests();
    assert!(
        received
            .iter()
            .filter(|received| received.method == "POST")
            .all(|received| received.path == format!("/task/{ID}/retry"))
    );
}

#[test]
fn every_task_option_is_sent_under_its_api_name() {
    let mock_server = MockServer::start(|_| Reply::Json(201, json!({"id": NEW})));
    let options = [
        "submit",
        "hello",
        "--input",
        "[1.10]",
        "--timeout",
        "5m",
        "--max-attempts",
        "3",
        "--backoff",
        r#"{"first": "2s"}"#,
        "--priority",
        "-5",
        "--delay",
        "30s",
        "--tag",
        "a",
        "--tag",
        "b",
        "--unique-key",
        "k",
        "--on-conflict",
        "return",
        "--idempotency-key",
        "once",
    ];
    assert_eq!(mock_server.wasmill(&options).code, 0);
    assert_eq!(mock_server.wasmill(&["submit"]).code, 0);
    let received = mock_server.requests();
    assert_eq!(
        received[0].body,
        r#"{"backoff":{"first": "2s"},"delay":"30s","input":[1.10],"max_attempts":3,"on_conflict":"return","plugin":"hello","priority":-5,"tags":["a","b"],"timeout":"5m","unique_key":"k"}"#
    );
    assert!(
        received[0].has_header("idempotency-key: once")
            && received[0].has_header("content-type: application/json")
    );
    assert_eq!((received[1].body.as_str(), received[1].path.as_str()), ("{}", "/task"));
}

#[test]
fn a_server_below_a_path_is_reached() {
    let seen = Mutex::new(Vec::new());
    let mock_server = MockServer::start(move |received| {
        seen.lock().expect("no panic").push(received.path.clone());
        Reply::Json(200, json!([]))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("{}/wasmill/", mock_server.url());
    let output = wasmill(folder.path(), &["list", "--json", "--plugin", "a b&c", "--server", &url]);
    assert_eq!((output.code, output.out.as_str()), (0, "[]\n"));
    assert_eq!(mock_server.requests()[0].path, "/wasmill/task?limit=50&plugin=a+b%26c");
}

#[test]
fn a_foreign_response_is_reported_in_one_line() {
    let mock_server = MockServer::start(|_| Reply::Json(200, json!({"hello": "from elsewhere"})));
    let output = mock_server.wasmill(&["list"]);
    assert!(output.code == 1 && output.err.contains("unexpected response from"), "{output:?}");
    let mock_server = MockServer::start(|_| Reply::unknown_route());
    let output = mock_server.wasmill(&["stats"]);
    assert!(output.code == 5 && output.err.contains("does not support this request"), "{output:?}");
}
