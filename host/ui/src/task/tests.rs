//! Tasks of strangers on their page.

use super::*;
use crate::Rights;
use crate::record::{Attempt, Failure, Progress, Reason, Receiver, Usage};

/// Ids are the server's own.
const ID: &str = "01a2074c-e503-703b-819d-4717c026346b";

const HOSTILE: &str = "\"'><script>alert(1)</script>\u{202e}\0\x1b[31m";

fn site() -> Site {
    Site { rights: Rights::ALL, ..Site::default() }
}

fn task() -> Task {
    Task {
        id: ID.to_owned(),
        state: "completed".to_owned(),
        plugin: "fetch".to_owned(),
        created_at: "2026-11-23T07:26:49.000Z".to_owned(),
        attempt: 2,
        max_attempts: 3,
        attempts: vec![
            attempt(1, Some("io"), "2026-11-23T07:26:51.000Z", Some("2026-11-23T07:27:00.000Z")),
            attempt(2, Some("completed"), "2026-11-23T07:27:03.000Z", Some("2026-11-23T07:27:04.000Z")),
        ],
        ..Task::default()
    }
}

fn attempt(attempt: u32, outcome: Option<&str>, started_at: &str, finished_at: Option<&str>) -> Attempt {
    Attempt {
        attempt,
        outcome: outcome.map(str::to_owned),
        started_at: Some(started_at.to_owned()),
        finished_at: finished_at.map(str::to_owned),
        ..Attempt::default()
    }
}

fn shown(task: &Task, tab: &Tab) -> String {
    let reason = Reason {
        detail: HOSTILE.to_owned(),
        on: HOSTILE.to_owned(),
        tasks: vec![ID.to_owned()],
        ..Reason::default()
    };
    let why = Why { summary: HOSTILE.to_owned(), reasons: vec![reason], ahead: Some(213) };
    page(&site(), task, Some(&why), tab).whole(&site())
}

#[test]
fn text_of_strangers_is_text_in_every_field() {
    let text = || HOSTILE.to_owned();
    let task = Task {
        plugin: text(),
        tags: vec![text(); 3],
        unique_key: Some(text()),
        group: Some(text()),
        schedule: Some(text()),
        submitted_by: Some(text()),
        trace_id: Some(text()),
        plugin_digest: Some(text()),
        queue_state: Some(text()),
        state: "running".to_owned(),
        progress: Some(Progress { fraction: f64::NAN, note: HOSTILE.repeat(1_000) }),
        error: Some(Failure { cause: text(), message: HOSTILE.repeat(10_000) }),
        usage: Some(Usage { cpu_ms: u64::MAX, peak_memory_bytes: u64::MAX, ..Usage::default() }),
        attempts: vec![Attempt {
            attempt: 1,
            outcome: Some(text()),
            message: Some(text()),
            started_at: Some(text()),
            ..Attempt::default()
        }],
        webhook: Some(Receiver { url: text(), on: vec![text()], state: text() }),
        created_at: text(),
        ..task()
    };
    let line =
        LogLine { seq: 1, time: text(), stream: text(), text: HOSTILE.repeat(100), ..LogLine::default() };
    let delivery = Delivery { url: text(), on: vec![text()], state: text(), ..Delivery::default() };
    let json = serde_json::to_string(&[HOSTILE]).expect("JSON");
    for tab in [
        Tab::Log(vec![line], true),
        Tab::Result(Some(text()), true),
        Tab::Result(Some(format!("<html>{HOSTILE}")), false),
        Tab::Input(json.clone()),
        Tab::Depends(
            vec![Task { id: ID.to_owned(), state: text(), ..Task::default() }],
            vec![Task { id: ID.to_owned(), plugin: text(), ..Task::default() }],
        ),
        Tab::Webhook(Some(delivery)),
        Tab::Record(json),
    ] {
        let html = shown(&task, &tab);
        assert!(!html.contains("<script>alert"), "{}", tab.name());
        assert!(!html.contains(['\0', '\u{202e}', '\x1b']), "{}", tab.name());
    }
}

#[test]
fn numbers_are_shown_as_they_were_written() {
    let json = r#"{"big": 12345678901234567890, "price": 1.10, "tiny": 1e-400, "a": 1, "a": 2, "text": "a\u0000b\n"}"#;
    let html = shown(&task(), &Tab::Input(json.to_owned()));
    for number in ["12345678901234567890", "1.10", "1e-400"] {
        assert!(html.contains(&format!(">{number}</span>")), "{number}");
    }
    assert_eq!(html.matches("<span class=\"key\">a</span>").count(), 2, "both members of one name");
    assert!(html.contains("a␀b\n"));
}

#[test]
fn deep_and_long_json_is_bounded() {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert!(shown(&task(), &Tab::Input(deep)).matches("<details open").count() <= 3 + 2);
    let long = format!("[{}1]", "1,".repeat(100_000));
    let html = shown(&task(), &Tab::Input(long));
    assert!(html.contains("Only the first") && html.len() < 1 << 20);
    let text = "x".repeat(16 << 20);
    assert!(shown(&task(), &Tab::Result(Some(text), false)).len() < 1 << 20);
}

#[test]
fn html_is_never_shown_unasked_and_only_in_a_sandbox() {
    let result = "<!DOCTYPE html><h1>hi</h1>".to_owned();
    let html = shown(&task(), &Tab::Result(Some(result.clone()), false));
    assert!(!html.contains("<iframe") && html.contains("Show as page"));
    let html = shown(&task(), &Tab::Result(Some(result), true));
    assert!(html.contains("sandbox=\"\"") && !html.contains("allow-"));
    assert_eq!(kind_of(" <SVG onload=x>"), Kind::Svg);
    assert_eq!(kind_of("<b>x"), Kind::Text);
    assert_eq!(kind_of("[1]"), Kind::Json);
}

#[test]
fn attempts_are_drawn_within_their_box() {
    let numbers = |html: &str, name: &str| -> Vec<f64> {
        let marker = format!("<rect class=\"{name}\" x=\"");
        html.split(&marker)
            .skip(1)
            .map(|rest| {
                let x: f64 = rest.split('"').next().expect("x").parse().expect("a number");
                let width: f64 = rest
                    .split("width=\"")
                    .nth(1)
                    .expect("width")
                    .split('"')
                    .next()
                    .expect("w")
                    .parse()
                    .expect("a number");
                assert!(x >= 0.0 && x + width <= 600.1, "{x} {width}");
                width
            })
            .collect()
    };
    let html = shown(&task(), &Tab::Log(Vec::new(), false));
    assert_eq!(numbers(&html, "failed"), [360.0], "nine of fifteen seconds");
    assert_eq!(numbers(&html, "wait"), [80.0, 120.0], "two and three seconds");
    assert!(html.contains("waited 2 s") && html.contains("ran 9 s"));
    let odd = Task {
        attempts: vec![
            attempt(1, None, "2026-11-23T07:00:00Z", None),
            attempt(2, Some("io"), "nonsense", None),
            attempt(3, Some("io"), "2026-11-23T08:00:00Z", Some("2026-11-23T07:00:00Z")),
        ],
        ..task()
    };
    numbers(&shown(&odd, &Tab::Log(Vec::new(), false)), "running");
    let equal = Task {
        attempts: vec![attempt(1, Some("io"), "2026-11-23T07:26:49Z", Some("2026-11-23T07:26:49Z")); 40],
        ..task()
    };
    let html = shown(&equal, &Tab::Log(Vec::new(), false));
    assert!(html.contains("20 earlier attempts") && !html.contains("NaN"));
}

#[test]
fn a_reader_without_scopes_sees_no_button() {
    let site = Site { rights: Rights { watch: true, read: true, ..Rights::default() }, ..Site::default() };
    let html = page(&site, &task(), None, &Tab::Log(Vec::new(), false)).whole(&site);
    assert!(
        !html.contains("Retry…")
            && !html.contains("Delete…")
            && !html.contains("Cancel…")
            && !html.contains("Submit similar")
    );
}
