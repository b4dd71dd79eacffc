//! Retention: under load, with pending webhooks, and on an idle server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_tests::mock_server::{MockServer, Reply};
use wasmill_tests::{Client, Server, embedded_only};

const FAILED: &str = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
const WELL: &str = "HTTP/1.1 204 Well\r\n\r\n";

/// Settings for webhooks to this machine with short retries.
const SOON: [&str; 4] = ["--webhook-allow", "127.0.0.1", "--webhook-backoff", "5ms"];

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the sum over all series of a metric.
async fn metric(client: &Client, name: &str) -> f64 {
    let text = client.get("/metrics").await.text;
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn stored(client: &Client) -> u64 {
    let stats: Value = client.get("/stats").await.json;
    let of = |state: &str| stats["stored"][state].as_u64().unwrap_or_default();
    of("completed") + of("failed") + of("cancelled")
}

#[tokio::test]
async fn a_pending_webhook_keeps_its_task_beyond_the_retention_limit() {
    let server = Server::start(&[&SOON[..], &["--keep-max", "1"]].concat());
    let client = server.client();
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let receiver =
        MockServer::start(move |_| Reply::Bytes(if is_well.load(Ordering::SeqCst) { WELL } else { FAILED }));
    let hooked = client.submit(&json!({"plugin": "noop", "webhook": receiver.url()})).await;
    client.until(&hooked, "completed").await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(client.submit(&json!({"plugin": "noop"})).await);
    }
    // Retention keeps the newest task, and the one with a pending delivery.
    eventually("the others are forgotten", async || (stored(&client).await <= 2).then_some(())).await;
    assert_eq!(client.get(&format!("/task/{hooked}/webhook")).await.str("state"), "pending");
    well.store(true, Ordering::SeqCst);
    eventually("the task is pruned once it is delivered", async || {
        (stored(&client).await <= 1).then_some(())
    })
    .await;
    assert!(receiver.count() >= 2);
    assert_eq!(metric(&client, "wasmill_webhook_dropped_total").await, 0.0);
    assert_eq!(metric(&client, "wasmill_retention_excess_tasks").await, 0.0);
}

#[tokio::test]
async fn a_redelivery_gets_all_attempts_again() {
    let server = Server::start(&[&SOON[..], &["--webhook-attempts", "3"]].concat());
    let client = server.client();
    let received = AtomicUsize::new(0);
    let receiver = MockServer::start(move |_| {
        let nth = received.fetch_add(1, Ordering::SeqCst);
        Reply::Bytes(if nth < 8 { FAILED } else { WELL })
    });
    let id = client.submit(&json!({"plugin": "noop", "webhook": receiver.url()})).await;
    let path = format!("/task/{id}/webhook");
    let until = async |state: &str, tried: u64| {
        eventually(state, async || {
            let delivery = client.get(&path).await;
            (delivery.str("state") == state && delivery.json["attempt_count"] == tried).then_some(())
        })
        .await;
    };
    client.until(&id, "completed").await;
    until("given-up", 3).await;
    client.post(&format!("{path}/retry"), &json!({})).await;
    until("given-up", 6).await;
    client.post(&format!("{path}/retry"), &json!({})).await;
    until("delivered", 9).await;
    assert_eq!(receiver.count(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_keeps_up_under_load() {
    const KEEP: u64 = 5_000;
    let server = Server::start(&["--keep-max", "5000", "--keep-for", "forever"]);
    let client = server.client();
    let batch: Vec<_> = (0..500).map(|_| json!({"plugin": "noop"})).collect();
    let (batch, stop) = (Arc::new(json!(batch)), Arc::new(AtomicBool::new(false)));
    let submit = |client: Client| {
        let (batch, stop) = (Arc::clone(&batch), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let stored = client.post("/task/batch", &batch).await;
                // The next batch waits for this one: otherwise a slow machine queues more than it runs, and the end of
                // the test measures how long that queue takes.
                let last =
                    stored.json.as_array().and_then(|tasks| tasks.last()?["id"].as_str()).expect("stored");
                client.get(&format!("/task/{last}/result?wait=60s")).await;
            }
        })
    };
    let clients: Vec<_> = (0..4).map(|_| submit(server.client())).collect();
    let (mut most, mut ended) = (0, 0.0);
    // Enough to exceed the limit many times over.
    while ended < 8.0 * KEEP as f64 {
        most = most.max(stored(&client).await);
        ended = metric(&client, "wasmill_tasks_finished_total").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("no panic");
    }
    assert!(most <= KEEP + KEEP / 5 + 10_000, "{most} were stored");
    assert!(most > KEEP / 2, "it was under load");
    eventually("the rest is forgotten", async || (stored(&client).await <= KEEP).then_some(())).await;
}

#[tokio::test]
async fn an_idle_server_writes_nothing() {
    embedded_only!("it watches the log of the embedded database");
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&id, "completed").await;
    client.submit(&json!({"plugin": "noop", "delay": "1h"})).await;
    let wal = server.folder().join("data/wasmill.db-wal");
    let state =
        || std::fs::metadata(&wal).map(|wal| (wal.len(), wal.modified().expect("a time"))).expect("there");
    let commits = async || metric(&client, "wasmill_store_commit_seconds_count").await;
    // Writes that follow the end of the task may still happen.
    let quiet = eventually("it becomes quiet", async || {
        let (before, commits_before) = (state(), commits().await);
        eventually("it looks for tasks", async || (commits().await > commits_before).then_some(())).await;
        (state() == before).then_some(before)
    })
    .await;
    let commits_before = commits().await;
    eventually("it looks for tasks", async || (commits().await >= commits_before + 3.0).then_some(())).await;
    assert_eq!(state(), quiet);
}
