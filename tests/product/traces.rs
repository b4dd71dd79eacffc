//! A task is in the trace of whoever asked for it, from the request to its end and to what it asks of others;
//! and a collector that does not listen hurts nobody.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill_tests::collector::{Collector, Seen};
use wasmill_tests::fake::{Fake, Reply};
use wasmill_tests::silence::Silence;
use wasmill_tests::{Answer, Client, PROGRAM, Server, command};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Makes a folder whose plugin `program` may call this server.
fn folder_that_may_call(target: &Fake) -> Arc<TempDir> {
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    fs::write(plugins.join("program.wasm"), PROGRAM).expect("written");
    fs::write(plugins.join("program.toml"), format!("allow.http = [\"{}\"]", target.url())).expect("written");
    folder
}

fn target() -> Fake {
    Fake::start(|_| Reply::Json(200, json!("here")))
}

fn get(target: &Fake) -> Value {
    json!({"plugin": "program", "input": {"args": ["get", format!("{}/secret?token=1", target.url())]}})
}

/// Posts a body with these headers.
async fn post(client: &Client, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let body = ("application/json", body.to_string().into_bytes());
    client.send_with(Method::POST, path, headers, Some(body)).await.expect("an answer")
}

/// Submits a task in the trace and returns its id.
async fn submit(client: &Client, task: &Value) -> String {
    let accepted = post(client, "/task", &[("traceparent", TRACEPARENT)], task).await;
    assert_eq!(accepted.status, StatusCode::CREATED, "{}", accepted.text);
    accepted.str("id").to_owned()
}

/// Returns the spans of this name that belong to a task.
fn of<'a>(spans: &'a [Seen], task: &str, name: &str) -> Vec<&'a Seen> {
    spans.iter().filter(|span| span.name == name && span.fact("wasmill.task") == task).collect()
}

fn named<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    let mut found = spans.iter().filter(|span| span.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "more than one {name} in {spans:#?}");
    first
}

/// Returns a figure of the metrics.
async fn figure(client: &Client, name: &str) -> u64 {
    let metrics = client.get("/metrics").await.text;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse::<f64>().expect("a number") as u64
}

async fn until_figure(client: &Client, name: &str, is_so: impl Fn(u64) -> bool) -> u64 {
    for _ in 0..3_000 {
        let value = figure(client, name).await;
        if is_so(value) {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} is not as it should be: {}", figure(client, name).await);
}

const EXPORTED: &str = "wasmill_trace_spans_total{result=\"exported\"}";
const DROPPED: &str = "wasmill_trace_spans_total{result=\"dropped\"}";
const REFUSED: &str = "wasmill_trace_spans_total{result=\"refused\"}";

#[tokio::test]
async fn one_trace_leads_from_the_submit_over_wait_and_run_to_the_outgoing_request() {
    let (collector, target) = (Collector::start(), target());
    let args = ["--otlp-endpoint", &collector.url()];
    let server = Server::start_in(folder_that_may_call(&target), &args).expect("a server");
    let client = server.client();
    let headers = [("traceparent", TRACEPARENT), ("tracestate", "vendor=opaque")];
    let accepted = post(&client, "/task", &headers, &get(&target)).await;
    let id = accepted.str("id");
    let record = client.until_ended(id).await;
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

    assert_eq!((post.fact("http.route"), post.fact("http.response.status_code")), ("/task", "201"));
    assert_eq!((task.fact("wasmill.state"), task.fact("wasmill.task")), ("completed", id));
    assert_eq!((run.fact("wasmill.outcome"), run.fact("wasmill.attempt")), ("completed", "1"));
    assert_eq!((run.fact("wasmill.http_requests"), run.fact("wasmill.plugin.digest").len()), ("1", 64));
    assert_eq!((get.fact("http.response.status_code"), get.fact("server.address")), ("200", "127.0.0.1"));
    assert!(!format!("{get:?}").contains("token"), "what a guest asks for may be secret");
    assert_eq!((post.resource["service.name"].as_str(), &post.failure), ("wasmill", &None));

    let asked = &target.asked()[0];
    assert!(asked.has_header(&format!("traceparent: 00-{TRACE}-{}-01", get.id)), "{asked:?}");
    assert!(asked.has_header("tracestate: vendor=opaque"), "{asked:?}");
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
            "backoff": {"first": "1ms", "most": "1ms"},
        }),
    )
    .await;
    assert_eq!(client.until_ended(&id).await.str("state"), "completed");
    let spans = collector.until_named("task misbehave", 1).await;
    let (runs, waits) = (of(&spans, &id, "run misbehave"), of(&spans, &id, "wait"));
    let told: Vec<_> =
        runs.iter().map(|run| (run.fact("wasmill.attempt"), run.fact("wasmill.outcome"))).collect();
    assert_eq!(told, [("1", "io"), ("2", "io"), ("3", "completed")], "{spans:#?}");
    assert_eq!(runs[0].failure.as_deref(), Some("attempt 1 of 3"));
    assert_eq!((runs.len(), waits.len(), &runs[2].failure), (3, 3, &None));
    let task = named(&spans, "task misbehave");
    assert!(runs.iter().chain(&waits).all(|span| span.parent == task.id && span.trace == TRACE));
    assert!(runs.windows(2).all(|pair| pair[0].end <= pair[1].start), "{spans:#?}");
    let ids: HashSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), spans.len(), "no two spans are alike");
}

#[tokio::test]
async fn a_task_stays_in_its_trace_though_the_host_is_killed() {
    let collector = Collector::start();
    let server = Server::start(&["--slots", "1", "--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let runs =
        submit(&client, &json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}})).await;
    client.until(&runs, "running").await;
    let waits = submit(&client, &json!({"plugin": "noop"})).await;
    // What the host has not sent when it is killed, it cannot send.
    let is_told = |spans: &[Seen]| {
        let posts = spans.iter().filter(|span| span.name == "POST /task");
        posts.count() == 2 && of(spans, &runs, "wait").len() == 1
    };
    collector.until("told of both", is_told).await;
    let server = server.kill_and_restart();
    let client = server.client();
    client.until(&runs, "running").await;
    assert_eq!(client.post(&format!("/task/{runs}/cancel"), &json!({})).await.str("trace_id"), TRACE);
    assert_eq!(client.until_ended(&waits).await.str("trace_id"), TRACE);

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
        let told: Vec<_> = of_task.iter().map(|run| run.fact("wasmill.outcome")).collect();
        assert_eq!(told, outcomes, "{spans:#?}");
        assert!(of_task.iter().all(|run| run.parent == whole[0].id), "{spans:#?}");
    }
    let crashed = of(&spans, &runs, "run misbehave");
    assert!(crashed[0].failure.is_some() && crashed[0].end <= crashed[1].start, "{spans:#?}");
    let waited = of(&spans, &runs, "wait");
    assert_eq!(waited.len(), 2, "{spans:#?}");
    assert!(waited[1].start >= crashed[0].end, "it did not wait while it ran: {spans:#?}");
}

#[tokio::test]
async fn a_trace_is_handed_on_though_nothing_is_exported() {
    let target = target();
    let server = Server::start_in(folder_that_may_call(&target), &[]).expect("a server");
    let client = server.client();
    let not_sampled = TRACEPARENT.replace("-01", "-00");
    for given in [TRACEPARENT, &not_sampled] {
        let headers = [("traceparent", given), ("tracestate", "a=1"), ("tracestate", "b=2")];
        let accepted = post(&client, "/task", &headers, &get(&target)).await;
        let record = client.until_ended(accepted.str("id")).await;
        assert_eq!((record.str("state"), record.str("trace_id")), ("completed", TRACE), "{}", record.text);
        let asked = target.asked().pop().expect("a request");
        assert!(asked.has_header(&format!("traceparent: {given}")), "{asked:?}");
        assert!(asked.has_header("tracestate: a=1,b=2"), "{asked:?}");
    }
    let id = client.submit(&get(&target)).await;
    assert_eq!(client.until_ended(&id).await.json["trace_id"], Value::Null);
    let asked = target.asked().pop().expect("a request");
    assert!(!asked.headers.iter().any(|header| header.starts_with("trace")), "{asked:?}");
    assert_eq!(figure(&client, EXPORTED).await, 0);
}

#[tokio::test]
async fn what_is_no_traceparent_is_passed_over_and_a_trace_begins_anew() {
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
            let record = client.until_ended(accepted.str("id")).await;
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
async fn batches_and_retries_are_in_the_trace_of_their_request_and_others_in_none() {
    let collector = Collector::start();
    let server = Server::start(&["--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let headers = [("traceparent", TRACEPARENT)];
    let many =
        json!([{"plugin": "noop"}, {"plugin": "noop"}, {"plugin": "misbehave", "input": {"do": "trap"}}]);
    let answer = post(&client, "/task/batch", &headers, &many).await;
    let ids: Vec<_> = answer.json.as_array().expect("records").iter().map(|one| one["id"].clone()).collect();
    for id in &ids {
        assert_eq!(client.until_ended(id.as_str().expect("an id")).await.str("trace_id"), TRACE);
    }
    let again = TRACEPARENT.replace(TRACE, "11111111111111111111111111111111");
    let path = format!("/task/{}/retry", ids[0].as_str().expect("an id"));
    let retried = post(&client, &path, &[("traceparent", &again)], &json!({})).await;
    let retried = client.until_ended(retried.str("id")).await;
    assert_eq!(retried.str("trace_id"), "1".repeat(32));
    let answer = post(&client, "/task/retry?state=failed", &[("traceparent", &again)], &json!({})).await;
    assert_eq!(answer.json["retried"], 1, "{}", answer.text);
    // Whoever does not want the trace recorded is heeded, and nothing else is traced.
    let not_sampled = TRACEPARENT.replace("-01", "-00").replace(TRACE, &"2".repeat(32));
    let quiet = post(&client, "/task", &[("traceparent", &not_sampled)], &json!({"plugin": "noop"})).await;
    assert_eq!(client.until_ended(quiet.str("id")).await.str("trace_id"), "2".repeat(32));
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
async fn the_end_of_the_process_sends_what_is_left() {
    let collector = Collector::start();
    let mut server = Server::start(&["--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let sleeps =
        submit(&client, &json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}})).await;
    client.until(&sleeps, "running").await;
    let done = submit(&client, &json!({"plugin": "noop"})).await;
    client.until_ended(&done).await;
    server.signal();
    // A second signal cuts the drain short, not what is sent after it.
    client.until_record(&sleeps, "stopping", |_| server.log().contains("stopping")).await;
    server.signal();
    assert!(server.wait().success(), "{}", server.log());
    let spans = collector.spans();
    assert_eq!(of(&spans, &done, "task noop").len(), 1, "{spans:#?}");
    let put_back = of(&spans, &sleeps, "run misbehave");
    assert_eq!(put_back[0].fact("wasmill.outcome"), "put-back", "{spans:#?}");
}

/// Runs more tasks than there is room for their spans, and stops the server.
async fn run_beside(collector: &str) {
    const TASKS: usize = 8_000;
    let mut server = Server::start(&["--otlp-endpoint", collector]);
    let client = server.client();
    let tasks: Vec<_> = (0..TASKS).map(|_| json!({"plugin": "noop"})).collect();
    let answer = client.post("/task/batch", &json!(tasks)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    until_figure(&client, "wasmill_tasks_ended_total{plugin=\"noop\",state=\"completed\"}", |ended| {
        ended == TASKS as u64
    })
    .await;
    let dropped = until_figure(&client, DROPPED, |dropped| dropped > 0).await;
    let kept = figure(&client, "wasmill_trace_spans_kept").await;
    assert!(kept <= 16_384 && dropped < 3 * TASKS as u64, "{kept} kept, {dropped} dropped");
    assert_eq!(figure(&client, EXPORTED).await, 0);
    assert!(server.terminate().success(), "{}", server.log());
    assert_eq!(server.log().matches("traces are not taken").count(), 1, "{}", server.log());
}

#[tokio::test]
async fn a_collector_that_is_away_hurts_nobody() {
    // Nobody listens there.
    run_beside("http://127.0.0.1:1").await;
}

#[tokio::test]
async fn a_collector_that_stalls_hurts_nobody_and_does_not_hold_up_the_stop() {
    let silence = Silence::listen();
    let collector = format!("http://{}", silence.address());
    let mut server = Server::start(&["--otlp-endpoint", &collector]);
    let client = server.client();
    for _ in 0..20 {
        let id = submit(&client, &json!({"plugin": "noop"})).await;
        assert_eq!(client.until_ended(&id).await.str("state"), "completed");
    }
    until_figure(&client, "wasmill_trace_spans_kept", |_| silence.calls() > 0).await;
    assert!(server.terminate().success(), "{}", server.log());
    assert!(server.log().contains("the last spans were not sent"), "{}", server.log());
}

#[tokio::test]
async fn a_collector_that_is_busy_gets_everything_in_the_end() {
    let collector = Collector::start_with(|request| match request {
        0 => (503, json!({})),
        1 => (429, json!({})),
        _ => (200, json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too long a name"}})),
    });
    let server = Server::start(&["--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let id = submit(&client, &json!({"plugin": "noop"})).await;
    client.until_ended(&id).await;
    until_figure(&client, REFUSED, |refused| refused > 0).await;
    let requests = collector.requests();
    assert!(requests >= 3, "{requests}");
    assert_eq!(figure(&client, DROPPED).await, 0);
    assert!(server.log().contains("traces are not taken"), "{}", server.log());
    let spans = collector.until_named("task noop", 1).await;
    assert!(!of(&spans, &id, "task noop").is_empty(), "{spans:#?}");
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted_and_not_sent_again() {
    let collector = Collector::start_with(|_| (400, json!({"message": "not here"})));
    let server = Server::start(&["--otlp-endpoint", &collector.url()]);
    let client = server.client();
    let id = submit(&client, &json!({"plugin": "noop"})).await;
    client.until_ended(&id).await;
    until_figure(&client, REFUSED, |refused| refused == 4).await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 4, "each came once: {spans:#?}");
    assert!(server.log().contains("not here"), "{}", server.log());
}

#[tokio::test]
async fn the_command_line_hands_on_the_trace_that_it_was_called_in() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address());
    let said = |args: &[&str]| {
        let mut command = command(server.folder(), &[args, &["--server", &url]].concat());
        let output = command.env("TRACEPARENT", TRACEPARENT).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let first = said(&["submit", "noop"]);
    let client = server.client();
    assert_eq!(client.until_ended(&first).await.str("trace_id"), TRACE);
    let again = said(&["retry", &first]);
    assert_eq!(client.until_ended(&again).await.str("trace_id"), TRACE);
    assert!(said(&["status", &again]).contains(&format!("trace     {TRACE}")));
}

#[test]
fn what_can_be_no_collector_is_refused_at_the_start() {
    let folder = Server::folder_with_guests();
    let error = Server::start_in(folder, &["--otlp-endpoint", "ftp://collector"]).err().expect("refused");
    assert!(error.to_string().contains("otlp_endpoint"), "{error}");
}
