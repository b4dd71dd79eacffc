//! What a task costs while others sleep in their slots.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use wasmill_tests::{Client, Server};

use super::{Cost, decades, ms, report, thousands};
use crate::parts::computing::quiet;

/// Slots for the no-ops, in addition to those of the sleepers.
const SPARE: u64 = 64;

/// Maximum tasks per request.
const BATCH: u64 = 10_000;

/// One point of the curves.
pub(super) struct Point {
    /// Number of sleeping tasks.
    pub(super) sleeping: u64,
    /// The cost of a no-op beside them.
    pub(super) cost: Cost,
    /// From the first request until the last of them runs.
    pub(super) start: Duration,
    /// From the one request that cancels them to its response; `None` after a minute.
    pub(super) cancel: Option<Duration>,
    /// Resident memory of each.
    pub(super) bytes: f64,
    /// The share of a core that they use while idle.
    pub(super) idle: f64,
}

impl Point {
    /// Formats the time of the cancel.
    pub(super) fn cancelled(&self) -> String {
        self.cancel.map_or_else(|| "more than 60 s".to_owned(), |cancel| format!("{:.0} ms", ms(cancel)))
    }
}

/// Measures each power of ten, and finally as many as the host affords.
pub(super) async fn measure(max: u64) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for sleeping in decades(1, max) {
        let point = measure_one(sleeping).await?;
        let details = format!(
            "{:.1} KiB each, all started in {:.0} ms, cancelled in {}, idle {:.1} % of a core",
            point.bytes / 1024.0,
            ms(point.start),
            point.cancelled(),
            100.0 * point.idle
        );
        report(&format!("{} asleep", thousands(point.sleeping)), point.cost, &details);
        let afforded = point.sleeping;
        points.push(point);
        if afforded < sleeping {
            println!("  the host affords no more: wasmill doctor suggests what to change");
            break;
        }
    }
    Ok(points)
}

async fn measure_one(wanted: u64) -> Result<Point> {
    let slots = (wanted + SPARE).to_string();
    let server = Server::start(&["--slots", &slots, "--memory", "2MiB", "--timeout", "1h"]);
    let client = server.client();
    // One warm-up run, so that lazily created resources exist.
    client.until_finished(&client.submit(&sleeper(0)).await).await;
    let total = client.get("/stats").await.json["slots"]["total"].as_u64().context("how many slots")?;
    let sleeping = wanted.min(total.saturating_sub(SPARE));
    let before = server.memory("VmRSS");
    let start = Instant::now();
    submit(&client, sleeping).await?;
    let until = Instant::now() + Duration::from_secs(120);
    while client.get("/stats").await.json["running"] != sleeping {
        ensure!(Instant::now() < until, "{sleeping} tasks are not all running after 120 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let start = start.elapsed();
    let idle = quiet(&server).await?;
    let bytes = server.memory("VmRSS").saturating_sub(before) as f64 / sleeping as f64;
    let cost = Cost::of_noops(&server).await?;
    let asked = Instant::now();
    // Earlier measurements remain valid if a busy machine takes too long here.
    let answer = client.send(Method::POST, "/task/cancel?all=true", None).await.ok();
    let cancel = answer.is_some().then(|| asked.elapsed());
    if let Some(answer) = answer {
        ensure!(answer.json["cancelled"] == sleeping, "{}", answer.text);
    }
    Ok(Point { sleeping, cost, start, cancel, bytes, idle })
}

fn sleeper(ms: u64) -> Value {
    json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": ms}})
}

async fn submit(client: &Client, tasks: u64) -> Result<()> {
    for from in (0..tasks).step_by(usize::try_from(BATCH)?) {
        let batch = vec![sleeper(3_600_000); usize::try_from(BATCH.min(tasks - from))?];
        let answer = client.post("/task/batch", &Value::Array(batch)).await;
        ensure!(answer.status.is_success(), "{}", answer.text);
    }
    Ok(())
}
