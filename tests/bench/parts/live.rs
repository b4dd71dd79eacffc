//! The cost of being watched: progress, logs, events and their subscribers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::{Client, Server, Stream};

use crate::parts::throughput;
use crate::report::{per_second, row, title};

const FOLLOWERS: usize = 1_000;
const CALLS: u32 = 2_000_000;
const FLOOD_BYTES: u64 = 1 << 30;
const LOAD: Duration = Duration::from_secs(4);

/// Measures one guest that reports progress and logs as fast as it can, then throughput beside such guests and
/// subscribers.
pub(crate) async fn measure(clients: usize) -> Result<()> {
    title("Progress, logs and subscribers");
    let server = Server::start(&["--timeout", "1h"]);
    let client = server.client();
    let calls = run(&client, &json!({"do": "progress-often", "calls": CALLS})).await?;
    let micros: f64 = calls["result"].as_str().context("an answer")?.parse()?;
    row("progress, one guest", &per_second(f64::from(CALLS) * 1e6 / micros, "calls"));
    let flood = run(&client, &json!({"do": "flood", "bytes": FLOOD_BYTES})).await?;
    let seconds = flood["duration_ms"].as_f64().context("a time")? / 1e3;
    row("log, one guest, lines of 4 KiB", &format!("{:.0} MiB/s", (FLOOD_BYTES >> 20) as f64 / seconds));
    let lines = run(&client, &json!({"do": "lines", "count": 500_000, "ms": 0})).await?;
    let seconds = lines["duration_ms"].as_f64().context("a time")? / 1e3;
    row("log, one guest, lines of 10 bytes", &per_second(500_000.0 / seconds, "lines"));

    let alone = throughput::of_noops(&server, clients, LOAD).await?;
    row("no-op tasks, no subscribers", &per_second(alone, "tasks"));
    let beside = |what: &str, rate: f64| {
        row(what, &format!("{}, {:.0} %", per_second(rate, "tasks"), 100.0 * rate / alone));
    };
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(read_on(client.follow("/events", None).await));
    }
    beside("the same, 4 follow all events", throughput::of_noops(&server, clients, LOAD).await?);
    for reader in all.drain(..) {
        reader.abort();
    }
    let id = client.submit(&misbehave(&json!({"do": "lines", "count": 1_000_000, "ms": 100}))).await;
    client.until(&id, "running").await;
    for number in 0..FOLLOWERS {
        let what = if number % 2 == 0 { "logs" } else { "events" };
        all.push(read_on(client.follow(&format!("/task/{id}/{what}"), None).await));
    }
    let what = format!("the same, {FOLLOWERS} follow a task of 10 lines/s");
    beside(&what, throughput::of_noops(&server, clients, LOAD).await?);
    for reader in all {
        reader.abort();
    }
    client.delete(&format!("/task/{id}")).await;
    Ok(())
}

fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}

async fn run(client: &Client, input: &Value) -> Result<Value> {
    let id = client.submit(&misbehave(input)).await;
    let until = Instant::now() + Duration::from_secs(300);
    loop {
        let record = client.get(&format!("/task/{id}/result?wait=60s")).await;
        let task = client.get(&format!("/task/{id}")).await;
        if task.json["state"] == "completed" {
            return Ok(task.json);
        }
        ensure!(Instant::now() < until && record.status.as_u16() == 202, "{}", record.text);
    }
}

fn read_on(mut stream: Stream) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { stream.drain().await })
}
