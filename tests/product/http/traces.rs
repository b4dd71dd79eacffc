//! A task belongs to the trace of its caller, from the request to its end and its outgoing requests; a dead
//! collector affects nothing.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::black_hole::BlackHole;
use wasmill_tests::collector::{Collector, ReceivedSpan};
use wasmill_tests::mock_server::{MockServer, Reply};
use wasmill_tests::{Answer, Client, PROGRAM, Server, ServerFolder, command};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Creates a folder whose plugin `program` may call this server.
fn folder_that_may_call(target: &MockServer) -> Arc<ServerFolder> {
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    fs::write(plugins.join("program.wasm"), PROGRAM).expect("written");
    fs::write(plugins.join("program.toml"), format!("allow.http = [\"{}\"]", target.url())).expect("written");
    folder
}

fn target() -> MockServer {
    MockServer::start(|_| Reply::Json(200, json!("here")))
}

fn get(target: &MockServer) -> Value {
    json!({"plugin": "program", "input": {"args": ["get", format!("{}/secret?token=1", target.url())]}})
}

/// POSTs a body with these headers.
async fn post(client: &Client, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let body = ("application/json", body.to_string().into_bytes());
    client.send_with(Method::POST, path, headers, Some(body)).await.expect("an answer")
}

/// Submits a task within the trace and returns its id.
async fn submit(client: &Client, task: &Value) -> String {
    let accepted = post(client, "/task", &[("traceparent", TRACEPARENT)], task).await;
    assert_eq!(accepted.status, StatusCode::CREATED, "{}", accepted.text);
    accepted.str("id").to_owned()
}

/// Returns the spans of a task with this name.
fn of<'a>(spans: &'a [ReceivedSpan], task: &str, name: &str) -> Vec<&'a ReceivedSpan> {
    spans.iter().filter(|span| span.name == name && span.attribute("wasmill.task") == task).collect()
}

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> &'a ReceivedSpan {
    let mut found = spans.iter().filter(|span| span.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "more than one {name} in {spans:#?}");
    first
}

/// Returns the value of a metric.
async fn metric_value(client: &Client, name: &str) -> u64 {
    let metrics = client.get("/metrics").await.text;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse::<f64>().expect("a number") as u64
}

async fn until_metric(client: &Client, name: &str, is_so: impl Fn(u64) -> bool) -> u64 {
    for _ in 0..3_000 {
        let value = metric_value(client, name).await;
        if is_so(value) {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} is not as it should be: {}", metric_value(client, name).await);
}

const EXPORTED: &str = "wasmill_trace_spans_total{result=\"exported\"}";
const DROPPED: &str = "wasmill_trace_spans_total{result=\"dropped\"}";
const REFUSED: &str = "wasmill_trace_spans_total{result=\"refused\"}";

#[tokio::test]
async fn one_trace_covers_submit_wait_run_and_outgoing_request() {
    let (collector, target) = (Collector::start(), target());
    let args = ["--otlp-endpoint", &collector.url()];
    let server = Server::start_in(folder_that_may_call(&target), &args).expect("a server");
    let client = server.client();
    let headers = [("traceparent", TRACEPARENT), ("tracestate", "vendor=opaque")];
    let accepted = post(&client, "/task", &headers, &get(&target)).await;
    let id = accepted.str("id");
    let record = client.until_finished(id).await;
    assert_eq!((record.str("state"), record.str("trace_id")), ("completed", TRACE), "{}", record.text);
    let spans = collector.until_named("task program", 1).await;
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    assert_eq!(spans.len(), 5, "{spans:#?}");

    let [post, task, wait, run, get] =
        ["POST /task", "task program", "wait", "run program", "GET"].map(|name| named(&spans, name));
    let parents = [post, task, wait, run, get].map(|span| span.parent.as_str());
    assert_eq!(parents, [CALLER, &post.id, &task.id, &task.id, &run.id], "{spans:#?}");
    assert_eq!([post, task, wait, run, get].map(|span| span.kind), [2, 1, 1, 1, 3]);
    assert!([post, task, run, get].iter().all(|span| span.state.as_deref() == Some("vendor=opaque")));
    assert!(post.start <= task.start && task.start <= wait.start && wait.end == run.start, "{spans:#?}");
    assert!(run.start <= get.start && get.end <= run.end && run.end == task.end, "{spans:#?}");

    assert_eq!((post.attribute("http.route"), post.attribute("http.response.status_code")), ("/task", "201"));
    assert_eq!((task.attribute("wasmill.state"), task.attribute("wasmill.task")), ("completed", id));
    assert_eq!((run.attribute("wasmill.outcome"), run.attribute("wasmill.attempt")), ("completed", "1"));
    assert_eq!(
        (run.attribute("wasmill.http_requests"), run.attribute("wasmill.plugin.digest").len()),
        ("1", 64)
    );
    assert_eq!(
        (get.attribute("http.response.status_code"), get.attribute("server.address")),
        ("200", "127.0.0.1")
    );
    assert!(!format!("{get:?}").contains("token"), "requests of guests may be secret");
    assert_eq!((post.resource["service.name"].as_str(), &post.failure), ("wasmill", &None));

    let received = &target.requests()[0];
    assert!(received.has_header(&format!("traceparent: 00-{TRACE}-{}-01", get.id)), "{received:?}");
    assert!(received.has_header("tracestate: vendor=opaque"), "{received:?}");
}

#[tokio::test]
async fn each_attempt_is_a_run_of_the_same_trace() {
    let collector = Collector::start();
    let server = Server::start(&["--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let id = submit(
        &client,
        &json!({
            "plugin": "misbehave", "input": {"do": "count-then-fail", "succeed_on": 3}, "max_attempts": 3,
            "backoff": {"first": "1ms", "max": "1ms"},
        }),
    )
    .await;
    assert_eq!(client.until_finished(&id).await.str("state"), "completed");
    let spans = collector.until_named("task misbehave", 1).await;
    let (runs, waits) = (of(&spans, &id, "run misbehave"), of(&spans, &id, "wait"));
    let reported: Vec<_> =
        runs.iter().map(|run| (run.attribute("wasmill.attempt"), run.attribute("wasmill.outcome"))).collect();
    assert_eq!(reported, [("1", "io"), ("2", "io"), ("3", "completed")], "{spans:#?}");
    assert_eq!(runs[0].failure.as_deref(), Some("attempt 1 of 3"));
    assert_eq!((runs.len(), waits.len(), &runs[2].failure), (3, 3, &None));
    let task = named(&spans, "task misbehave");
    assert!(runs.iter().chain(&waits).all(|span| span.parent == task.id && span.trace == TRACE));
    assert!(runs.windows(2).all(|pair| pair[0].end <= pair[1].start), "{spans:#?}");
    let ids: HashSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), spans.len(), "no two spans are alike");
}

#[tokio::test]
async fn a_task_stays_in_its_trace_across_a_crash() {
    let collector = Collector::start();
    let server = Server::start(&["--slots", "1", "--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let runs =
        submit(&client, &json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}})).await;
    client.until(&runs, "running").await;
    let waits = submit(&client, &json!({"plugin": "noop"})).await;
    // Spans not sent before the crash are lost.
    let has_both = |spans: &[ReceivedSpan]| {
        let posts = spans.iter().filter(|span| span.name == "POST /task");
        posts.count() == 2 && of(spans, &runs, "wait").len() == 1
    };
    collector.until("both spans", has_both).await;
    let server = server.kill_and_restart();
    let client = server.client();
    client.until(&runs, "running").await;
    assert_eq!(client.post(&format!("/task/{runs}/cancel"), &json!({})).await.str("trace_id"), TRACE);
    assert_eq!(client.until_finished(&waits).await.str("trace_id"), TRACE);

    let spans = collector.until_named("task noop", 1).await;
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let posts: HashSet<_> =
        spans.iter().filter(|span| span.name == "POST /task").map(|span| span.id.clone()).collect();
    for (id, plugin, outcomes) in
        [(&runs, "misbehave", vec!["host-crash", "cancelled"]), (&waits, "noop", vec!["completed"])]
    {
        let whole = of(&spans, id, &format!("task {plugin}"));
        assert!(whole.len() == 1 && posts.contains(&whole[0].parent), "{spans:#?}");
        let of_task = of(&spans, id, &format!("run {plugin}"));
        let reported: Vec<_> = of_task.iter().map(|run| run.attribute("wasmill.outcome")).collect();
        assert_eq!(reported, outcomes, "{spans:#?}");
        assert!(of_task.iter().all(|run| run.parent == whole[0].id), "{spans:#?}");
    }
    let crashed = of(&spans, &runs, "run misbehave");
    assert!(crashed[0].failure.is_some() && crashed[0].end <= crashed[1].start, "{spans:#?}");
    let waited = of(&spans, &runs, "wait");
    assert_eq!(waited.len(), 2, "{spans:#?}");
    assert!(waited[1].start >= crashed[0].end, "it did not wait while it ran: {spans:#?}");
}

#[tokio::test]
async fn a_trace_is_propagated_without_an_exporter() {
    let target = target();
    let server = Server::start_in(folder_that_may_call(&target), &[]).expect("a server");
    let client = server.client();
    let not_sampled = TRACEPARENT.replace("-01", "-00");
    for given in [TRACEPARENT, &not_sampled] {
        let headers = [("traceparent", given), ("tracestate", "a=1"), ("tracestate", "b=2")];
        let accepted = post(&client, "/task", &headers, &get(&target)).await;
        let record = client.until_finished(accepted.str("id")).await;
        assert_eq!((record.str("state"), record.str("trace_id")), ("completed", TRACE), "{}", record.text);
        let received = target.requests().pop().expect("a request");
        assert!(received.has_header(&format!("traceparent: {given}")), "{received:?}");
        assert!(received.has_header("tracestate: a=1,b=2"), "{received:?}");
    }
    let id = client.submit(&get(&target)).await;
    assert_eq!(client.until_finished(&id).await.json["trace_id"], Value::Null);
    let received = target.requests().pop().expect("a request");
    assert!(!received.headers.iter().any(|header| header.starts_with("trace")), "{received:?}");
    assert_eq!(metric_value(&client, EXPORTED).await, 0);
}

#[tokio::test]
async fn an_invalid_traceparent_is_ignored_and_starts_a_new_trace() {
    let collector = Collector::start();
    for args in [vec![], vec!["--otlp-endpoint", &*collector.url()]] {
        let is_on = !args.is_empty();
        let server = Server::start(&args);
        let client = server.client();
        let upper_case = TRACEPARENT.to_uppercase();
        for bad in ["nonsense", &upper_case, "00-00000000000000000000000000000000-b7ad6b7169203331-01", ""] {
            let headers = [("traceparent", bad), ("tracestate", "a=1")];
            let accepted = post(&client, "/task", &headers, &json!({"plugin": "noop"})).await;
            assert_eq!(accepted.status, StatusCode::CREATED, "{bad}: {}", accepted.text);
            let record = client.until_finished(accepted.str("id")).await;
            assert_eq!(record.json["trace_id"].is_string(), is_on, "{bad}: {}", record.text);
            assert_ne!(record.json["trace_id"], TRACE);
        }
        if is_on {
            collector.until_named("task noop", 4).await;
        }
    }
    let spans = collector.spans();
    let begun: Vec<_> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    assert!(begun.len() == 4 && begun.iter().all(|span| span.name == "POST /task"), "{spans:#?}");
    assert!(spans.iter().all(|span| span.state.is_none()), "{spans:#?}");
    let traces: HashSet<_> = spans.iter().map(|span| &span.trace).collect();
    assert_eq!(traces.len(), 4, "each is a trace of its own");
}

#[tokio::test]
async fn batches_and_retries_belong_to_the_trace_of_their_request() {
    let collector = Collector::start();
    let server = Server::start(&["--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let headers = [("traceparent", TRACEPARENT)];
    let many =
        json!([{"plugin": "noop"}, {"plugin": "noop"}, {"plugin": "misbehave", "input": {"do": "trap"}}]);
    let answer = post(&client, "/task/batch", &headers, &many).await;
    let ids: Vec<_> = answer.json.as_array().expect("records").iter().map(|one| one["id"].clone()).collect();
    for id in &ids {
        assert_eq!(client.until_finished(id.as_str().expect("an id")).await.str("trace_id"), TRACE);
    }
    let again = TRACEPARENT.replace(TRACE, "11111111111111111111111111111111");
    let path = format!("/task/{}/retry", ids[0].as_str().expect("an id"));
    let retried = post(&client, &path, &[("traceparent", &again)], &json!({})).await;
    let retried = client.until_finished(retried.str("id")).await;
    assert_eq!(retried.str("trace_id"), "1".repeat(32));
    let answer = post(&client, "/task/retry?state=failed", &[("traceparent", &again)], &json!({})).await;
    assert_eq!(answer.json["retried"], 1, "{}", answer.text);
    // The caller's sampling decision is respected, and no other request is traced.
    let not_sampled = TRACEPARENT.replace("-01", "-00").replace(TRACE, &"2".repeat(32));
    let quiet = post(&client, "/task", &[("traceparent", &not_sampled)], &json!({"plugin": "noop"})).await;
    assert_eq!(client.until_finished(quiet.str("id")).await.str("trace_id"), "2".repeat(32));
    client.send_with(Method::GET, "/task", &headers, None).await.expect("an answer");

    let spans = collector.until_named("task misbehave", 2).await;
    for (name, trace, tasks) in [
        ("POST /task/batch", TRACE, 3),
        ("POST /task/{id}/retry", &*"1".repeat(32), 1),
        ("POST /task/retry", &"1".repeat(32), 1),
    ] {
        let post = named(&spans, name);
        assert_eq!((post.trace.as_str(), post.parent.as_str()), (trace, CALLER));
        let below = spans.iter().filter(|span| span.parent == post.id);
        assert_eq!(below.count(), tasks, "{name}: {spans:#?}");
    }
    let trapped = spans.iter().filter(|span| span.name == "task misbehave" && span.failure.is_some());
    assert_eq!(trapped.count(), 2);
    assert!(!spans.iter().any(|span| span.trace == "2".repeat(32) || span.name.starts_with("GET")));
}

#[tokio::test]
async fn the_remaining_spans_are_sent_at_shutdown() {
    let collector = Collector::start();
    let mut server = Server::start(&["--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let sleeps =
        submit(&client, &json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}})).await;
    client.until(&sleeps, "running").await;
    let done = submit(&client, &json!({"plugin": "noop"})).await;
    client.until_finished(&done).await;
    server.signal();
    // A second signal ends the drain, but not the export after it.
    client.until_task(&sleeps, "stopping", |_| server.log().contains("stopping")).await;
    server.signal();
    assert!(server.wait().success(), "{}", server.log());
    let spans = collector.spans();
    assert_eq!(of(&spans, &done, "task noop").len(), 1, "{spans:#?}");
    let put_back = of(&spans, &sleeps, "run misbehave");
    assert_eq!(put_back[0].attribute("wasmill.outcome"), "requeued", "{spans:#?}");
}

/// Runs more tasks than the span buffer holds, and stops the server.
async fn run_beside(collector: &str) {
    const TASKS: usize = 8_000;
    let mut server = Server::start(&["--otlp-endpoint", collector]);
    let client = server.client();
    let tasks: Vec<_> = (0..TASKS).map(|_| json!({"plugin": "noop"})).collect();
    let answer = client.post("/task/batch", &json!(tasks)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    until_metric(&client, "wasmill_tasks_finished_total{plugin=\"noop\",state=\"completed\"}", |ended| {
        ended == TASKS as u64
    })
    .await;
    let dropped = until_metric(&client, DROPPED, |dropped| dropped > 0).await;
    let kept = metric_value(&client, "wasmill_trace_spans_kept").await;
    assert!(kept <= 16_384 && dropped < 3 * TASKS as u64, "{kept} kept, {dropped} dropped");
    assert_eq!(metric_value(&client, EXPORTED).await, 0);
    assert!(server.terminate().success(), "{}", server.log());
    assert_eq!(server.log().matches("failed to export traces;").count(), 1, "{}", server.log());
}

#[tokio::test]
async fn an_unreachable_collector_affects_no_task() {
    // Nothing listens there.
    run_beside("http://127.0.0.1:1").await;
}

#[tokio::test]
async fn a_stalled_collector_affects_no_task_and_does_not_delay_the_stop() {
    let black_hole = BlackHole::listen();
    let collector = format!("http://{}", black_hole.address());
    let mut server = Server::start(&["--otlp-endpoint", &collector]);
    let client = server.client();
    for _ in 0..20 {
        let id = submit(&client, &json!({"plugin": "noop"})).await;
        assert_eq!(client.until_finished(&id).await.str("state"), "completed");
    }
    until_metric(&client, "wasmill_trace_spans_kept", |_| black_hole.calls() > 0).await;
    assert!(server.terminate().success(), "{}", server.log());
    assert!(server.log().contains("dropped the last spans"), "{}", server.log());
}

#[tokio::test]
async fn a_busy_collector_gets_every_span_eventually() {
    let collector = Collector::start_with(|request| match request {
        0 => (503, json!({})),
        1 => (429, json!({})),
        _ => (200, json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too long a name"}})),
    });
    let server = Server::start(&["--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let id = submit(&client, &json!({"plugin": "noop"})).await;
    client.until_finished(&id).await;
    until_metric(&client, REFUSED, |refused| refused > 0).await;
    let requests = collector.requests();
    assert!(requests >= 3, "{requests}");
    assert_eq!(metric_value(&client, DROPPED).await, 0);
    assert!(server.log().contains("failed to export traces;"), "{}", server.log());
    let spans = collector.until_named("task noop", 1).await;
    assert!(!of(&spans, &id, "task noop").is_empty(), "{spans:#?}");
}

#[tokio::test]
async fn refused_spans_are_counted_and_not_resent() {
    let collector = Collector::start_with(|_| (400, json!({"message": "not here"})));
    let server = Server::start(&["--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let id = submit(&client, &json!({"plugin": "noop"})).await;
    client.until_finished(&id).await;
    until_metric(&client, REFUSED, |refused| refused == 4).await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 4, "each came once: {spans:#?}");
    assert!(server.log().contains("not here"), "{}", server.log());
}

#[tokio::test]
async fn only_the_statuses_of_the_standard_are_retried() {
    for status in [400, 408, 413, 500] {
        let head = format!("HTTP/1.1 {status} No\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n");
        let head: &'static str = head.leak();
        let collector = MockServer::start(move |_| Reply::Bytes(head));
        let server = Server::start(&["--otlp-endpoint", &collector.url()]);
        let client = server.client();
        client.until_finished(&client.submit(&json!({"plugin": "noop"})).await).await;
        until_metric(&client, REFUSED, |refused| refused == 4).await;
        let spans = collector.requests();
        let spans: usize = spans.iter().map(|request| request.body.matches("\"spanId\"").count()).sum();
        assert_eq!(spans, 4, "{status}: each was sent once");
    }
}

#[test]
fn headers_that_frame_a_message_are_refused_at_start() {
    let folder = Server::folder_with_guests();
    let args = ["serve", "--listen", "127.0.0.1:0", "--otlp-endpoint", "http://127.0.0.1:9"];
    for name in ["content-length", "Transfer-Encoding", "host", "Content-Type", "keep-alive"] {
        let mut command = command(folder.path(), &args);
        let output =
            command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("{name}=7")).output().expect("it ends");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.contains(&format!("'{}'", name.to_lowercase())), "{printed}");
        assert!(printed.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{printed}");
    }
}

#[tokio::test]
async fn the_cli_propagates_the_callers_trace() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address());
    let printed = |args: &[&str]| {
        let mut command = command(server.folder(), &[args, &["--server", &url]].concat());
        let output = command.env("TRACEPARENT", TRACEPARENT).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let first = printed(&["submit", "noop"]);
    let client = server.client();
    assert_eq!(client.until_finished(&first).await.str("trace_id"), TRACE);
    let again = printed(&["retry", &first]);
    assert_eq!(client.until_finished(&again).await.str("trace_id"), TRACE);
    assert!(printed(&["status", &again]).contains(&format!("trace     {TRACE}")));
}

#[test]
fn an_invalid_collector_url_is_refused_at_start() {
    let folder = Server::folder_with_guests();
    let error = Server::start_in(folder, &["--otlp-endpoint", "ftp://collector"]).err().expect("refused");
    assert!(error.to_string().contains("otlp_endpoint"), "{error}");
}
