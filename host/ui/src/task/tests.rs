//! Tasks of strangers on their page.

use super::*;
use crate::Rights;
use crate::record::LogLine;
use crate::record::{
    Attempt, Failure, HostCall, HttpRequest, Instance, Progress, Reason, Receiver, Run, TcpSocket, Usage,
};

/// Ids are the server's own.
const ID: &str = "01a2074c-e503-703b-819d-4717c026346b";

const HOSTILE: &str = "\"'><script>alert(1)</script>\u{202e}\0\x1b[31m";

/// How a picture begins.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

fn as_view(view: View) -> Wanted {
    Wanted { view: Some(view), from: 0 }
}

/// An activity whose every text is a stranger's.
fn activity() -> Activity {
    let text = || HOSTILE.to_owned();
    let http = HttpRequest { method: text(), origin: text(), has_head: false, ms: u64::MAX };
    let tcp = TcpSocket { to: text(), state: text(), sent_bytes: u64::MAX, ..TcpSocket::default() };
    let run = Run {
        state: text(),
        activity: text(),
        call: Some(HostCall { name: text(), waited_ms: 5_114, until: Some(text()) }),
        instance: Some(Instance { http: vec![http; 40], tcp: vec![tcp; 40], ..Instance::default() }),
    };
    let read_at = "2026-11-23T07:27:00Z".to_owned();
    Activity { summary: text(), run: Some(run), functions: Some(vec![HOSTILE.repeat(100); 64]), read_at }
}

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
    let now = Now { why: Some(why), activity: Some(activity()) };
    page(&site(), task, &now, tab).whole(&site())
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
        Tab::Log(LogTail { lines: vec![line], found: 2, stored: 3, ..LogTail::default() }),
        Tab::Result(Some(text().into()), as_view(View::Page)),
        Tab::Result(Some(format!("<html>{HOSTILE}").into()), Wanted::default()),
        Tab::Input(json.clone().into(), Wanted::default()),
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
    let html = shown(&task(), &Tab::Input(json.to_owned().into(), Wanted::default()));
    for number in ["12345678901234567890", "1.10", "1e-400"] {
        assert!(html.contains(&format!(">{number}</span>")), "{number}");
    }
    assert_eq!(html.matches("<span class=\"key\">a</span>").count(), 2, "both members of one name");
    assert!(html.contains("a␀b\n"));
}

#[test]
fn deep_and_long_json_is_bounded() {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert!(
        shown(&task(), &Tab::Input(deep.into(), Wanted::default())).matches("<details open").count() <= 3 + 2
    );
    let long = format!("[{}1]", "1,".repeat(100_000));
    let html = shown(&task(), &Tab::Input(long.into(), Wanted::default()));
    assert!(html.contains("Only the first") && html.len() < 1 << 20);
    let text = "x".repeat(16 << 20);
    assert!(shown(&task(), &Tab::Result(Some(text.into()), Wanted::default())).len() < 1 << 20);
}

#[test]
fn html_is_never_shown_unasked_and_only_in_a_sandbox() {
    let result = || Some(Content::from("<!DOCTYPE html><h1>hi</h1>".to_owned()));
    let html = shown(&task(), &Tab::Result(result(), Wanted::default()));
    assert!(!html.contains("<iframe") && html.contains("Show as page"));
    let html = shown(&task(), &Tab::Result(result(), as_view(View::Page)));
    assert!(html.contains("sandbox=\"\"") && !html.contains("allow-"));
    // A text is no page because the reader asks for one.
    let html = shown(&task(), &Tab::Result(Some(Content::from("text".to_owned())), as_view(View::Page)));
    assert!(!html.contains("<iframe"));
}

#[test]
fn bytes_are_judged_by_how_they_begin_and_by_what_the_manifest_declares() {
    let of = |bytes: &[u8], media: Option<&str>| {
        kind_of(&Content { bytes: bytes.to_vec(), media: media.map(str::to_owned) })
    };
    assert_eq!(of(b" <SVG onload=x>", None), Kind::Svg);
    assert_eq!(of(b"<b>x", None), Kind::Text);
    assert_eq!(of(b"<b>x", Some("text/html")), Kind::Html);
    assert_eq!(of(b"<html>", Some("text/plain")), Kind::Text);
    assert_eq!(of(b"[1]", None), Kind::Json);
    assert_eq!(of(b"[1]", Some("text/csv")), Kind::Text);
    assert_eq!(of(b"a\0b", None), Kind::Bytes(None));
    assert_eq!(of(b"\xff\xfe", Some("text/html")), Kind::Bytes(None));
    assert_eq!(of(PNG, Some("application/octet-stream")).media(), Some("image/png"));
    assert_eq!(of(b"no picture", Some("image/png")), Kind::Text);
    assert_eq!(of(b"%PDF-1.7 \xff", Some("image/png")).media(), None);
    assert_eq!(of(b"%PDF-1.7 \xff", None).extension(), "pdf");
}

#[test]
fn bytes_have_a_view_that_fits_them() {
    let html = |bytes: &[u8], wanted| {
        shown(
            &task(),
            &Tab::Result(Some(Content { bytes: bytes.to_vec(), media: Some("image/<b>".into()) }), wanted),
        )
    };
    let picture = html(PNG, Wanted::default());
    assert!(
        picture.contains("<img class=\"result\" src=\"../../../ui/raw/")
            && picture.contains("result-26346b.png")
    );
    assert!(picture.contains("image/&lt;b&gt;") && !picture.contains("data-copy-from"));
    assert!(html(PNG, as_view(View::Hex)).contains("00000000  89 50 4e 47"));
    let pdf = html(b"%PDF-1.7 \xff<script>", Wanted::default());
    assert!(pdf.contains("It begins like a PDF document.") && pdf.contains("00000000  25 50 44 46"));
    assert!(!pdf.contains("<script>") && !pdf.contains("Views of the result"));
    let many = vec![0xff; 100_000];
    let second = html(&many, Wanted { view: Some(View::Hex), from: 4_096 });
    assert!(second.contains("00001000  ff") && second.contains("Bytes 4,096 to 8,191 of 100,000"));
    // The whole of what was asked for, as far as a page may be long.
    let text = "x".repeat(200_000);
    assert!(html(text.as_bytes(), Wanted::default()).contains("Show up to 1 MiB"));
    assert!(html(text.as_bytes(), as_view(View::Text)).len() > 200_000);
}

#[test]
fn a_running_task_shows_what_it_does_and_for_how_long() {
    let running = Task { state: "running".to_owned(), ..task() };
    let html = shown(&running, &Tab::Log(LogTail::default()));
    assert!(html.contains("What it does now") && html.contains("datetime=\"2026-11-23T07:26:54.000Z\""));
    assert!(html.contains("70 more connections") && html.contains(" 64 times"));
    assert!(!shown(&task(), &Tab::Log(LogTail::default())).contains("What it does now"), "it has ended");
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
    let html = shown(&task(), &Tab::Log(LogTail::default()));
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
    numbers(&shown(&odd, &Tab::Log(LogTail::default())), "running");
    let equal = Task {
        attempts: vec![attempt(1, Some("io"), "2026-11-23T07:26:49Z", Some("2026-11-23T07:26:49Z")); 40],
        ..task()
    };
    let html = shown(&equal, &Tab::Log(LogTail::default()));
    assert!(html.contains("20 earlier attempts") && !html.contains("NaN"));
}

#[test]
fn a_reader_without_scopes_sees_no_button() {
    let site = Site { rights: Rights { watch: true, read: true, ..Rights::default() }, ..Site::default() };
    let html = page(&site, &task(), &Now::default(), &Tab::Log(LogTail::default())).whole(&site);
    assert!(
        !html.contains("Retry…")
            && !html.contains("Delete…")
            && !html.contains("Cancel…")
            && !html.contains("Submit similar")
    );
}

#[test]
fn a_log_shows_the_lines_that_were_chosen_and_marks_what_was_found() {
    let line = |seq, attempt, stream: &str, text: &str| LogLine {
        seq,
        time: "2026-11-23T07:26:49.603656725Z".to_owned(),
        attempt,
        stream: stream.to_owned(),
        text: text.to_owned(),
        cut: false,
    };
    let all = [
        line(1, 1, "stdout", "GET one"),
        line(2, 1, "stderr", "got \x1b[31m503"),
        line(3, 2, "stderr", "got 200 <b>"),
        line(4, 2, "stdout", "done"),
    ];
    let chosen = |filter: LogFilter| {
        let mut lines = all.to_vec();
        filter.apply(&mut lines);
        (lines.iter().map(|line| line.seq).collect::<Vec<_>>(), lines, filter)
    };
    let find = |text: &str| LogFilter { find: text.to_owned(), ..LogFilter::default() };
    assert_eq!(chosen(LogFilter::default()).0, [1, 2, 3, 4]);
    assert_eq!(chosen(LogFilter { stream: Some("stderr"), ..LogFilter::default() }).0, [2, 3]);
    assert_eq!(chosen(LogFilter { attempt: Some(2), ..LogFilter::default() }).0, [3, 4]);
    assert_eq!(chosen(LogFilter { attempt: Some(1), ..find("GET") }).0, [1]);
    assert_eq!(chosen(find("[31m")).0, [] as [u64; 0], "colours are no text");
    let (seqs, lines, filter) = chosen(find("GOT"));
    assert_eq!(seqs, [2, 3]);
    let html = shown(&task(), &Tab::Log(LogTail { lines, found: 2, stored: 4, last: 4, filter }));
    assert!(
        html.contains("2 of 4 lines") && html.contains("err  <mark>got</mark> 200 &lt;b&gt;\n"),
        "{html}"
    );
    assert!(
        html.contains("<mark>got</mark> <span class=\"c1\">503</span>") && html.contains("data-last=\"4\"")
    );
    let (_, lines, filter) = chosen(find(HOSTILE));
    let html = shown(&task(), &Tab::Log(LogTail { lines, stored: 4, filter, ..LogTail::default() }));
    assert!(html.contains("No line is like that.") && !html.contains("<script>alert"));
}
