//! `GET /metrics`: the counts are right, Prometheus can parse them, and everything that the dashboard and the
//! alert rules use exists.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Authority, Client, PROGRAM, PostgresServer, Server, TlsClient, skip, wasmill};

/// Fetches the metrics.
struct Page(String);

impl Page {
    async fn of(client: &Client) -> Self {
        let answer = client.get("/metrics").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        Self(answer.text)
    }

    /// Returns the value of a sample, named as in the exposition; 0 if it does not exist yet.
    fn value(&self, sample: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Returns the names of all samples.
    fn names(&self) -> BTreeSet<&str> {
        let samples = self.0.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| line.split(['{', ' ']).next()).collect()
    }
}

/// Polls until these samples have grown by at least this much: some are counted after the response.
async fn until_grown(client: &Client, before: &Page, samples: &[(&str, f64)]) -> Page {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let page = Page::of(client).await;
        let lags = |(sample, by): &&(&str, f64)| page.value(sample) - before.value(sample) < *by;
        let Some((sample, by)) = samples.iter().find(lags) else { return page };
        assert!(Instant::now() < deadline, "{sample} did not grow by {by}:\n{}", page.0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}

/// Does a little of everything that is counted.
async fn do_a_little_of_everything(client: &Client) {
    for input in [
        json!({"do": "noop"}),
        json!({"do": "trap"}),
        json!({"do": "exit", "code": 3}),
        json!({"do": "save", "state": "half"}),
        json!({"do": "log", "out": "line", "err": ""}),
    ] {
        client.until_finished(&client.submit(&misbehave(&input)).await).await;
    }
    for how in ["cancel", "delete"] {
        let id = client.submit(&misbehave(&json!({"do": "spin"}))).await;
        client.until_task(&id, "computing", |record| record["usage"]["cpu_ms"].as_u64() > Some(20)).await;
        match how {
            "cancel" => client.post(&format!("/task/{id}/cancel"), &json!({})).await,
            _ => client.delete(&format!("/task/{id}")).await,
        };
    }
}

#[tokio::test]
async fn task_outcomes_are_counted_by_plugin() {
    let server = Server::start(&["--slots", "2"]);
    let client = server.client();
    let before = Page::of(&client).await;
    do_a_little_of_everything(&client).await;
    let after = until_grown(
        &client,
        &before,
        &[
            (r#"wasmill_tasks_finished_total{plugin="misbehave",state="completed"}"#, 3.0),
            (r#"wasmill_tasks_finished_total{plugin="misbehave",state="failed"}"#, 2.0),
            (r#"wasmill_tasks_finished_total{plugin="misbehave",state="cancelled"}"#, 1.0),
            (r#"wasmill_task_attempts_total{plugin="misbehave",outcome="completed"}"#, 3.0),
            (r#"wasmill_task_attempts_total{plugin="misbehave",outcome="trap"}"#, 1.0),
            (r#"wasmill_task_attempts_total{plugin="misbehave",outcome="exit"}"#, 1.0),
            (r#"wasmill_task_attempts_total{plugin="misbehave",outcome="stopped"}"#, 2.0),
            (r#"wasmill_task_run_seconds_count{plugin="misbehave"}"#, 7.0),
            (r#"wasmill_task_run_seconds_bucket{le="+Inf",plugin="misbehave"}"#, 7.0),
            (r#"wasmill_task_cpu_seconds_total{plugin="misbehave"}"#, 0.04),
            (r#"wasmill_task_checkpoints_total{plugin="misbehave"}"#, 1.0),
            (r#"wasmill_task_log_bytes_total{plugin="misbehave"}"#, 5.0),
            (r#"wasmill_task_instantiate_seconds_total{plugin="misbehave"}"#, 0.000_001),
            (r#"wasmill_task_peak_memory_bytes{plugin="misbehave"}"#, 65_536.0),
            ("wasmill_task_start_seconds_count", 7.0),
            ("wasmill_task_cancel_seconds_count", 2.0),
            // Concurrent writes share a commit, but each POST is sent after the previous response.
            (r#"wasmill_store_commit_seconds_count{synced="true"}"#, 7.0),
            ("wasmill_store_commit_commands_count", 7.0),
            ("wasmill_store_commit_commands_sum", 21.0),
            ("process_cpu_seconds_total", 0.04),
        ],
    )
    .await;
    assert_eq!(after.value(r#"wasmill_tasks{plugin="misbehave",state="running"}"#), 0.0);
}

#[tokio::test]
async fn slots_memory_and_the_queue_are_current() {
    let server = Server::start(&["--slots", "2", "--memory-total", "256MiB"]);
    let client = server.client();
    let idle = Page::of(&client).await;
    assert_eq!(idle.value(r#"wasmill_slots{state="free"}"#), 2.0);
    assert!(!idle.0.contains("wasmill_oldest_waiting_task_age_seconds{"), "{}", idle.0);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.submit(&misbehave(&json!({"do": "sleep", "ms": 600_000}))).await);
    }
    for id in &ids[..2] {
        client.until(id, "running").await;
    }
    let full = Page::of(&client).await;
    for (sample, value) in [
        (r#"wasmill_slots{state="used"}"#, 2.0),
        (r#"wasmill_slots{state="free"}"#, 0.0),
        (r#"wasmill_tasks{plugin="misbehave",state="running"}"#, 2.0),
        (r#"wasmill_tasks{plugin="misbehave",state="available"}"#, 1.0),
        ("wasmill_pool_instances", 2.0),
        ("wasmill_draining", 0.0),
        ("wasmill_memory_blocks_queue", 0.0),
    ] {
        assert_eq!(full.value(sample), value, "{sample}");
    }
    assert!(full.value("wasmill_pool_memories") >= 2.0, "{}", full.0);
    assert!(full.value("wasmill_memory_used_bytes") > 0.0, "{}", full.0);
    let budget = full.value("wasmill_memory_budget_bytes");
    assert!(budget > 100e6 && budget <= 268_435_456.0, "{budget}");
    let age = r#"wasmill_oldest_waiting_task_age_seconds{plugin="misbehave"}"#;
    let older = Page::of(&client).await.value(age);
    assert!(full.value(age) > 0.0 && older > full.value(age), "{older}");

    let drain = client.send(Method::POST, "/drain", None).await.expect("an answer");
    assert_eq!(drain.status, StatusCode::ACCEPTED);
    assert_eq!(Page::of(&client).await.value("wasmill_draining"), 1.0);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&id, "completed").await;
    client.get("/task/no-id/status").await;
    client.get("/nowhere/at/all").await;
    client.send(Method::from_bytes(b"BREW").expect("a method"), "/task", None).await.expect("an answer");
    let page = Page::of(&client).await;
    for (sample, least) in [
        (r#"wasmill_http_requests_total{method="POST",route="/task",code="201"}"#, 1.0),
        (r#"wasmill_http_requests_total{method="GET",route="/task/{id}",code="200"}"#, 1.0),
        (r#"wasmill_http_requests_total{method="GET",route="/task/{id}/status",code="400"}"#, 1.0),
        (r#"wasmill_http_requests_total{method="GET",route="unmatched",code="404"}"#, 1.0),
        (r#"wasmill_http_requests_total{method="other",route="/task",code="405"}"#, 1.0),
        (r#"wasmill_http_request_seconds_count{method="POST",route="/task"}"#, 1.0),
    ] {
        assert!(page.value(sample) >= least, "{sample}:\n{}", page.0);
    }
    for path in [id.as_str(), "no-id", "nowhere", "BREW"] {
        assert!(!page.0.contains(path), "{path}:\n{}", page.0);
    }
}

#[tokio::test]
async fn plugin_loads_and_log_events_are_counted() {
    let server = Server::start_cold().expect("a server");
    server.wait_for_plugins();
    let client = server.client();
    let before = Page::of(&client).await;
    assert!(before.value(r#"wasmill_plugins{state="ready"}"#) >= 3.0, "{}", before.0);
    assert!(before.value("wasmill_plugin_compile_seconds_count") >= 3.0, "{}", before.0);
    fs::write(server.folder().join("plugins/broken.wasm"), b"no wasm").expect("written");
    let until = Instant::now() + Duration::from_secs(60);
    while client.get("/plugins/broken").await.json["state"] != "rejected" {
        assert!(Instant::now() < until, "the file is not scanned: {}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let grew = [
        (r#"wasmill_plugin_loads_total{result="rejected"}"#, 1.0),
        (r#"wasmill_plugins{state="rejected"}"#, 1.0),
        (r#"wasmill_log_events_total{level="warn"}"#, 1.0),
    ];
    until_grown(&client, &before, &grew).await;
    let server = server.stop_and_restart();
    let again = Page::of(&server.client()).await;
    assert!(again.value("wasmill_plugin_cache_hits_total") >= 3.0, "{}", again.0);
    assert_eq!(again.value("wasmill_plugin_compile_seconds_count"), 0.0, "{}", again.0);
}

#[tokio::test]
async fn finished_tasks_stay_counted_after_a_crash_and_after_retention() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    for _ in 0..3 {
        let id = client.submit(&json!({"plugin": "noop"})).await;
        client.until(&id, "completed").await;
        client.delete(&format!("/task/{id}")).await;
    }
    let running = client.submit(&misbehave(&json!({"do": "sleep", "ms": 600_000}))).await;
    client.until(&running, "running").await;
    let waiting = client.submit(&json!({"plugin": "noop"})).await;
    let server = server.kill_and_restart();
    let client = server.client();
    client.until(&running, "running").await;
    let page = Page::of(&client).await;
    for (sample, value) in [
        (r#"wasmill_tasks_finished_total{plugin="noop",state="completed"}"#, 3.0),
        (r#"wasmill_tasks{plugin="noop",state="available"}"#, 1.0),
        (r#"wasmill_tasks{plugin="misbehave",state="running"}"#, 1.0),
    ] {
        assert_eq!(page.value(sample), value, "{sample}");
    }
    let plugin = client.get("/plugins/noop").await;
    let counted = json!({"waiting": 1, "waiting_is_at_least": false, "running": 0, "completed": 3, "failed": 0,
        "cancelled": 0});
    assert_eq!(plugin.json["tasks"], counted);
    client.delete(&format!("/task/{running}")).await;
    client.until(&waiting, "completed").await;
}

#[tokio::test]
async fn http_calls_of_guests_are_counted_by_plugin() {
    let server = Server::start(&[]);
    let own = Server::start(&[]);
    let plugins = server.folder().join("plugins");
    fs::write(plugins.join("program.wasm"), PROGRAM).expect("written");
    let manifest = format!("allow.http = [\"http://{}\"]", own.address());
    fs::write(plugins.join("program.toml"), manifest).expect("written");
    let server = server.stop_and_restart();
    let client = server.client();
    let input = json!({"args": ["get", format!("http://{}/healthz", own.address())]});
    let task =
        client.until_finished(&client.submit(&json!({"plugin": "program", "input": input})).await).await;
    assert!(task.str("result").starts_with("200 "), "{}", task.text);
    let page = Page::of(&client).await;
    for name in ["requests", "sent_bytes", "received_bytes"] {
        let sample = format!("wasmill_task_http_{name}_total{{plugin=\"program\"}}");
        let usage = task.json["usage"][format!("http_{name}")].as_f64();
        assert_eq!(Some(page.value(&sample)), usage, "{sample}:\n{}", page.0);
    }
}

/// Returns a file of the book.
fn docs(file: &str) -> PathBuf {
    wasmill_tests::repository().join("docs").join(file)
}

/// Finds all metric names in a text.
fn metrics_named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("wasmill_") || word.starts_with("process_")).collect()
}

/// Starts a server that has a sample of every metric, and returns its metrics.
pub(crate) async fn busy_server() -> (Server, String) {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    do_a_little_of_everything(&client).await;
    let running = client.submit(&misbehave(&json!({"do": "sleep", "ms": 600_000}))).await;
    client.until(&running, "running").await;
    client.submit(&json!({"plugin": "noop"})).await;
    let page = Page::of(&client).await.0;
    (server, page)
}

/// Returns the metrics of a server with a certificate.
async fn metrics_with_certificate() -> String {
    let authority = Authority::new();
    let folder = Server::folder_with_guests();
    authority.issue().write(folder.path());
    let flags = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let server = Server::start_in(folder, &flags).expect("a server");
    let mut client = TlsClient::connect(server.address(), &authority).await.expect("it serves");
    let (status, page) = client.get("/metrics").await.expect("metrics");
    assert_eq!(status, StatusCode::OK, "{page}");
    page
}

/// Returns the metrics of a server with a key that ends and has a rate; on PostgreSQL, if that is installed.
async fn metrics_with_key() -> (String, bool) {
    let url = PostgresServer::shared().map(|postgres| postgres.create("monitored"));
    let database = url.as_deref().map(|url| ["--database", url, "--database-migrate"]);
    let server = Server::start(database.as_ref().map_or(&[], |args| args.as_slice()));
    let key = ["key", "create", "scraper", "--scope", "metrics", "--expires", "30d", "--rate", "10/s"];
    let made = wasmill(server.folder(), &key);
    assert_eq!(made.code, 0, "{}", made.err);
    let client = server.client().with_key(made.out.trim());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let page = client.get("/metrics").await;
        if page.text.contains("wasmill_key_expires_seconds{") {
            return (page.text, url.is_some());
        }
        assert!(Instant::now() < deadline, "the key is not known: {}", page.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the metrics that a text selects by labels, such as `a{b="c"}`, each with one label and value or several.
fn selected(text: &str) -> Vec<(&str, &str, Vec<&str>)> {
    let mut selected = Vec::new();
    for (start, _) in text.match_indices("wasmill_") {
        let rest = &text[start..];
        let Some((metric, labels)) = rest.split_once('{') else { continue };
        let is_name = metric.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let Some((labels, _)) = labels.split_once('}').filter(|_| is_name) else { continue };
        for label in labels.split(',') {
            let Some((name, values)) = label.split_once('=') else { continue };
            let values = values.trim_start_matches('~').trim_matches('"').split('|').collect();
            selected.push((metric, name, values));
        }
    }
    selected
}

#[tokio::test]
async fn every_metric_of_dashboard_and_alerts_exists() {
    let (_server, page) = busy_server().await;
    let (with_key, has_lease) = metrics_with_key().await;
    let pages = Page([page, metrics_with_certificate().await, with_key].concat());
    let names = pages.names();
    let dashboard: Value = read(&docs("monitoring/grafana-dashboard.json")).parse().expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() > 10, "a dashboard shows something");
    for file in ["monitoring/grafana-dashboard.json", "monitoring/alerts.yaml"] {
        let text = read(&docs(file));
        let named = metrics_named(&text);
        assert!(named.len() > 5, "{file} names metrics");
        for metric in named.iter().filter(|metric| has_lease || !metric.contains("_lease_remaining_")) {
            assert!(names.contains(metric), "{file} names {metric}, which is not exported:\n{}", pages.0);
        }
        for (metric, label, values) in selected(&text.replace("\\\"", "\"")) {
            // What a reader chooses, what a request or a run decides, and negations, which need no such sample.
            let is_free = ["instance", "plugin", "job", "code", "route", "outcome"].contains(&label);
            if is_free || label.ends_with('!') {
                continue;
            }
            for value in values {
                let is_so = |line: &str| {
                    line.starts_with(&format!("{metric}{{")) && line.contains(&format!("{label}=\"{value}\""))
                };
                assert!(pages.0.lines().any(is_so), "{file} selects {metric}, {label}={value}:\n{}", pages.0);
            }
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Finds a Python with the Prometheus parser: that of `.ci/plugin-tools`, or the system's.
fn python_with_parser() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let own = cache.map(|cache| cache.join("wasmill/plugin-tools/python/bin/python3"));
    own.into_iter().chain([PathBuf::from("python3")]).find(|python| {
        let import =
            Command::new(python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    })
}

/// Parses the exposition with the reference parser, and fails on metrics without a conventional unit.
const READ: &str = r#"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
for family in families:
    assert family.documentation, family.name
    assert family.type in ("gauge", "counter", "histogram", "info"), family
    assert family.samples or family.name.startswith("wasmill_"), family
print(sum(len(family.samples) for family in families))
"#;

#[tokio::test]
async fn the_prometheus_parser_reads_every_sample() {
    let Some(python) = python_with_parser() else {
        skip("no Python has prometheus-client: .ci/plugin-tools installs it");
        return;
    };
    let server = Server::start(&[]);
    let client = server.client();
    do_a_little_of_everything(&client).await;
    let page = client.get("/metrics").await;
    let content_type = page.headers["content-type"].to_str().expect("text");
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let mut parser = Command::new(python)
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    parser.stdin.take().expect("stdin").write_all(page.text.as_bytes()).expect("it reads");
    let parsed = parser.wait_with_output().expect("it finishes");
    let printed = String::from_utf8_lossy(&parsed.stderr);
    assert!(parsed.status.success(), "{printed}\n{}", page.text);
    let samples = page.text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(String::from_utf8_lossy(&parsed.stdout).trim(), samples.to_string(), "{}", page.text);
}
