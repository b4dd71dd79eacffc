//! A client that asks one host, and a task that another one runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::{Client, Server, sleep};

use super::Sizes;
use super::bare::Floors;
use super::database::Postgres;
use crate::parts::latency::between;
use crate::parts::throughput::{drained, submit_for};
use crate::report::{Spread, row, title};

/// Clients that submit meanwhile, and for how long before they look whether it is over.
const BESIDE: usize = 8;
const BURST: Duration = Duration::from_millis(500);

pub(super) async fn measure(postgres: &Postgres, floors: &Floors, sizes: Sizes) -> Result<()> {
    let database = postgres.create();
    // The only slot of the first host is used for ever, so the second one runs whatever the first accepts.
    let asked = database.host(&["--slots", "1"])?;
    let client = asked.client();
    let blocker = client.submit(&sleep(3_600_000)).await;
    client.until(&blocker, "running").await;
    let runs = database.host(&[])?;

    let goal = 2e3 * floors.commit.median().as_secs_f64() + 3.0;
    title(&format!(
        "Asked at another host than runs it, idle (goal: start p50 {goal:.1} ms, DELETE p99 100 ms)"
    ));
    row("submit to start (created_at to started_at)", &starts(&client, sizes.samples).await?.to_string());
    deletes(&client, &runs, sizes, "").await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(submit_until(runs.address(), Arc::clone(&is_over)));
    deletes(&client, &runs, sizes, &format!(", {BESIDE} clients submit")).await?;
    is_over.store(true, Ordering::Relaxed);
    load.await??;
    client.delete(&format!("/task/{blocker}")).await;
    drained(&client).await;
    Ok(())
}

async fn submit_until(server: SocketAddr, is_over: Arc<AtomicBool>) -> Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        submit_for(server, BESIDE, BURST).await?;
    }
    Ok(())
}

async fn starts(client: &Client, samples: usize) -> Result<Spread> {
    let mut started = Vec::with_capacity(samples);
    for _ in 0..samples {
        let id = client.submit(&json!({"plugin": "noop"})).await;
        let record = client.until(&id, "completed").await.json;
        started.push(between(&record["created_at"], &record["started_at"])?);
    }
    Ok(Spread::of(started))
}

async fn deletes(client: &Client, runs: &Server, sizes: Sizes, beside: &str) -> Result<()> {
    for (name, input) in
        [("sleeping", json!({"do": "sleep", "ms": 3_600_000})), ("looping", json!({"do": "spin"}))]
    {
        let spread =
            delete(client, runs, &json!({"plugin": "misbehave", "input": input}), sizes.samples).await?;
        row(&format!("DELETE to 204, {name}{beside}"), &spread.to_string());
    }
    Ok(())
}

async fn delete(client: &Client, runs: &Server, task: &Value, samples: usize) -> Result<Spread> {
    let mut took = Vec::with_capacity(samples);
    for _ in 0..samples {
        let id = client.submit(task).await;
        // At the host that runs it, which knows at once.
        runs.client().until(&id, "running").await;
        let start = Instant::now();
        let answer = client.delete(&format!("/task/{id}")).await;
        took.push(start.elapsed());
        ensure!(answer.status == StatusCode::NO_CONTENT, "answered {}", answer.text);
    }
    Ok(Spread::of(took))
}
