//! What commands make of the answers of a server that a real one gives rarely: cut streams, restarts, older
//! versions.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use wasmill_tests::fake::{Asked, Fake, Reply};
use wasmill_tests::{Said, wasmill};

const ID: &str = "01a2074c-e503-703b-819d-4717c026346b";
const NEW: &str = "01a2074c-e512-73a0-a30c-081a660b0534";

fn ask(fake: &Fake, args: &[&str]) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    let url = fake.url();
    wasmill(folder.path(), &[args, &["--server", &url]].concat())
}

fn line(seq: u64, text: &str) -> Value {
    let stream = if seq.is_multiple_of(2) { "stdout" } else { "stderr" };
    json!({"seq": seq, "time": "2026-11-23T07:26:49Z", "attempt": 1, "stream": stream, "text": text})
}

fn event(seq: u64, text: &str) -> String {
    format!("event: log\nid: {seq}\ndata: {}\n\n", line(seq, text))
}

const END: &str = "event: end\ndata: {\"state\": \"completed\", \"status\": \"completed\"}\n\n";

fn wants_events(asked: &Asked) -> bool {
    asked.has_header("accept: text/event-stream")
}

#[test]
fn a_log_that_is_followed_goes_on_after_a_cut_with_no_gap_and_no_repeat() {
    let round = AtomicU32::new(0);
    let fake = Fake::start(move |asked| {
        assert!(wants_events(asked), "{asked:?}");
        match round.fetch_add(1, Ordering::SeqCst) {
            // The last event is cut in the middle: it counts for nothing.
            0 => Reply::events(&[
                event(1, "one"),
                ": still here\n\n".to_owned(),
                event(2, "two"),
                event(3, "x")[..9].to_owned(),
            ]),
            1 => Reply::Json(
                503,
                json!({"code": "store-unavailable", "detail": "the server cannot reach its database"}),
            ),
            // Something is sent twice.
            2 => Reply::events(&[event(2, "two"), event(3, "three")]),
            _ => Reply::events(&[event(4, "four"), END.to_owned()]),
        }
    });
    let said = ask(&fake, &["logs", "--follow", ID]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "one\ntwo\nthree\nfour\n", ""));
    let paths: Vec<_> = fake.asked().into_iter().filter(wants_events).map(|asked| asked.path).collect();
    let at = |query: &str| format!("/task/{ID}/logs{query}");
    assert_eq!(paths, [at(""), at("?after=2"), at("?after=2"), at("?after=3")]);
}

#[test]
fn a_line_that_was_cut_is_put_together_and_a_gap_is_told() {
    let fake = Fake::start(|_| {
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
    let said = ask(&fake, &["logs", "-f", ID]);
    assert_eq!((said.code, said.out.as_str()), (0, "a long line\nhalf\nerr\n"));
    assert_eq!(said.err, "-- 7 lines are not kept any more --\n");
}

#[test]
fn a_log_is_read_page_by_page() {
    let fake = Fake::start(|asked| {
        let after = asked.path.split("after=").nth(1).map_or(0, |after| after.parse().expect("a number"));
        Reply::Json(
            200,
            (after + 1..=(after + 2).min(5)).map(|seq| line(seq, &format!("line {seq}"))).collect(),
        )
    });
    let said = ask(&fake, &["logs", ID]);
    assert_eq!((said.code, said.out.as_str()), (0, "line 1\nline 2\nline 3\nline 4\nline 5\n"));
    let said = ask(&fake, &["logs", ID, "--after", "4", "--timestamps"]);
    assert_eq!(said.out, "2026-11-23T07:26:49Z line 5\n");
    let said = ask(&fake, &["logs", ID, "--after", "3", "--json"]);
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines, [line(4, "line 4"), line(5, "line 5")]);
}

#[test]
fn a_server_without_lines_of_log_gives_what_it_keeps() {
    let fake = Fake::start(|asked| match asked.path.contains("/logs") {
        true => Reply::unknown_route(),
        false => Reply::Json(200, json!({"id": ID, "state": "completed", "log": "the end\nof it\n"})),
    });
    let said = ask(&fake, &["logs", ID]);
    assert_eq!((said.code, said.out.as_str()), (0, "the end\nof it\n"));
    assert!(said.err.contains("keeps no lines of log"), "{said:?}");
    let said = ask(&fake, &["logs", "--follow", ID]);
    assert_eq!((said.code, said.out.as_str()), (5, ""));
    assert!(said.err.contains("does not stream logs") && said.err.contains("wasmill logs"), "{said:?}");
}

#[test]
fn a_log_that_cannot_be_followed_says_why() {
    let fake = Fake::start(|asked| match wants_events(asked) {
        true => Reply::Json(406, json!({"code": "http", "detail": "not acceptable"})),
        false => Reply::Json(404, json!({"code": "unknown-task", "detail": "there is no task 7"})),
    });
    let said = ask(&fake, &["logs", "-f", ID]);
    assert_eq!((said.code, said.err.as_str()), (5, "wasmill: there is no task 7\n"));
}

/// Answers for a task that completes when its result is asked for the third time.
fn task_that_takes_a_while(logs: bool) -> impl Fn(&Asked) -> Reply {
    let asked_for_result = AtomicU32::new(0);
    move |asked| {
        let record = json!({"id": NEW, "state": "completed", "status": "completed", "plugin": "hello", "result": "hi"});
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", _) => {
                Reply::Json(201, json!({"id": NEW, "created_at": "2026-11-23T07:26:49Z", "duration": 0}))
            }
            (_, path) if path.contains("/logs") && logs => Reply::events(&[event(1, "said"), END.to_owned()]),
            (_, path) if path.contains("/logs") => Reply::unknown_route(),
            (_, path) if path.contains("/result") => match asked_for_result.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::Json(202, json!({"problem": "task running or failed, no result, check status"})),
                // As in a restart.
                1 => Reply::Json(503, json!({"code": "store-unavailable", "detail": "away"})),
                _ => Reply::Json(200, json!({"result": "hi"})),
            },
            _ => Reply::Json(200, record),
        }
    }
}

#[test]
fn whoever_waits_sees_the_log_and_outlasts_a_restart_of_the_server() {
    let fake = Fake::start(task_that_takes_a_while(true));
    let said = ask(&fake, &["submit", "hello", "--wait"]);
    assert_eq!((said.code, said.out.as_str()), (0, "hi\n"));
    assert!(said.err.starts_with(&format!("task {NEW}\n")) && said.err.contains("\nsaid\n"), "{said:?}");
    assert!(said.err.contains("\nwasmill: away; keeps trying for 60s\n"), "{said:?}");
    let waits = |asked: &Asked| asked.path == format!("/task/{NEW}/result?wait=30s");
    assert_eq!(fake.asked().iter().filter(|asked| waits(asked)).count(), 3);
}

#[test]
fn whoever_waits_needs_no_log() {
    let fake = Fake::start(task_that_takes_a_while(false));
    let said = ask(&fake, &["submit", "hello", "--wait"]);
    assert_eq!(
        (said.code, said.out.as_str(), said.err),
        (0, "hi\n", format!("task {NEW}\nwasmill: away; keeps trying for 60s\n"))
    );
}

#[test]
fn a_retry_names_the_new_task_or_waits_for_it() {
    let fake = Fake::start(task_that_takes_a_while(true));
    let said = ask(&fake, &["retry", ID]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, format!("{NEW}\n").as_str(), ""));
    let said = ask(&fake, &["retry", ID, "--wait", "--quiet"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "hi\n", ""));
    let asked = fake.asked();
    assert!(
        asked
            .iter()
            .filter(|asked| asked.method == "POST")
            .all(|asked| asked.path == format!("/task/{ID}/retry"))
    );
}

#[test]
fn every_option_of_a_task_is_sent_in_the_words_of_the_api() {
    let fake = Fake::start(|_| Reply::Json(201, json!({"id": NEW})));
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
    assert_eq!(ask(&fake, &options).code, 0);
    assert_eq!(ask(&fake, &["submit"]).code, 0);
    let asked = fake.asked();
    assert_eq!(
        asked[0].body,
        r#"{"plugin":"hello","input":[1.10],"timeout":"5m","max_attempts":3,"backoff":{"first": "2s"},"priority":-5,"delay":"30s","tags":["a","b"],"unique_key":"k","on_conflict":"return"}"#
    );
    assert!(
        asked[0].has_header("idempotency-key: once") && asked[0].has_header("content-type: application/json")
    );
    assert_eq!((asked[1].body.as_str(), asked[1].path.as_str()), ("{}", "/task"));
}

#[test]
fn a_server_behind_a_path_is_asked_there() {
    let seen = Mutex::new(Vec::new());
    let fake = Fake::start(move |asked| {
        seen.lock().expect("no panic").push(asked.path.clone());
        Reply::Json(200, json!([]))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("{}/wasmill/", fake.url());
    let said = wasmill(folder.path(), &["list", "--json", "--plugin", "a b&c", "--server", &url]);
    assert_eq!((said.code, said.out.as_str()), (0, "[]\n"));
    assert_eq!(fake.asked()[0].path, "/wasmill/task?limit=50&plugin=a+b%26c");
}

#[test]
fn an_answer_that_is_none_of_ours_is_told_in_a_line() {
    let fake = Fake::start(|_| Reply::Json(200, json!({"hello": "from elsewhere"})));
    let said = ask(&fake, &["list"]);
    assert!(said.code == 1 && said.err.contains("is not what wasmill servers answer"), "{said:?}");
    let fake = Fake::start(|_| Reply::unknown_route());
    let said = ask(&fake, &["stats"]);
    assert!(said.code == 5 && said.err.contains("does not know this request"), "{said:?}");
}
