//! Completed tasks per second on one host and on several, beside what bare batches reach, and what a task costs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::StatusCode;
use serde_json::json;
use wasmill_tests::{Client, Server};

use super::Sizes;
use super::bare::Floors;
use super::database::Postgres;
use crate::parts::computing::computed;
use crate::parts::throughput::submit_for;
use crate::report::{middle, per_second, row, title};

/// How many clients submit one by one, at all hosts together.
pub(super) const CLIENTS: usize = 64;

/// The least that a client submits before anything is timed.
const WARM_UP: Duration = Duration::from_millis(500);

/// What tasks cost, each in microseconds of CPU or in bytes.
#[derive(Clone, Copy)]
struct Cost {
    rate: f64,
    database_us: f64,
    hosts_us: f64,
    written: f64,
}

pub(super) async fn measure(postgres: &Postgres, floors: &Floors, sizes: Sizes) -> Result<()> {
    title(&format!("No-op tasks over HTTP, one by one from {CLIENTS} clients (goal: 70 % of bare batches)"));
    let mut of_one = None;
    for count in sizes.hosts {
        let cost = one_by_one(postgres, *count, sizes).await?;
        let Cost { rate, database_us, hosts_us, written } = cost;
        let of_bare = 100.0 * rate / floors.rate(CLIENTS);
        let of_one = *of_one.get_or_insert(rate);
        let beside = if *count == 1 {
            format!("{of_bare:.0} % of bare batches of {CLIENTS}")
        } else {
            format!("{:.0} % of one host (goal: 85 %)", 100.0 * rate / of_one)
        };
        row(&format!("completed, hosts: {count}"), &format!("{}, {beside}", per_second(rate, "tasks")));
        let cost = format!(
            "{database_us:.0} us in PostgreSQL, {hosts_us:.0} us in hosts, {written:.0} bytes of WAL"
        );
        row("  each task takes", &cost);
    }
    let mut rates = Vec::new();
    for _ in 0..sizes.turns {
        rates.push(drain(postgres, sizes.drained).await?);
    }
    let rate = middle(&mut rates);
    let of_bare = 100.0 * rate / floors.rate(1_000);
    let name = format!("completed from a queue of {}, one host", sizes.drained);
    row(&name, &format!("{}, {of_bare:.0} % of bare batches of 1000", per_second(rate, "tasks")));
    Ok(())
}

/// Returns the median of some rounds.
async fn one_by_one(postgres: &Postgres, count: usize, sizes: Sizes) -> Result<Cost> {
    let mut costs = Vec::new();
    for _ in 0..sizes.turns {
        let database = postgres.create();
        let hosts = database.hosts(count, &[])?;
        submit(&hosts, WARM_UP.min(sizes.load)).await?;
        let (before, written) = (postgres.computed()?, postgres.written()?);
        let of_hosts = hosts.iter().map(computed).sum::<Result<Duration>>()?;
        let (tasks, rate) = submit(&hosts, sizes.load).await?;
        let each_us = |time: Duration| 1e6 * time.as_secs_f64() / tasks;
        costs.push(Cost {
            rate,
            database_us: each_us(postgres.computed()? - before),
            hosts_us: each_us(hosts.iter().map(computed).sum::<Result<Duration>>()? - of_hosts),
            written: (postgres.written()? - written) as f64 / tasks,
        });
    }
    costs.sort_by(|a, b| f64::total_cmp(&a.rate, &b.rate));
    Ok(costs[costs.len() / 2])
}

/// Submits at all hosts for a while and waits until all tasks have completed; returns how many there were, and how many
/// per second.
async fn submit(hosts: &[Server], time: Duration) -> Result<(f64, f64)> {
    let client = hosts[0].client();
    let before = completed(&client).await;
    let start = Instant::now();
    let clients = CLIENTS.div_ceil(hosts.len());
    let submits: Vec<_> =
        hosts.iter().map(|host| tokio::spawn(submit_for(host.address(), clients, time))).collect();
    let mut submitted = 0;
    for submit in submits {
        submitted += submit.await??;
    }
    until_completed(&client, before + submitted).await;
    Ok((submitted as f64, submitted as f64 / start.elapsed().as_secs_f64()))
}

/// Returns how many waiting tasks complete per second once the queue is resumed.
async fn drain(postgres: &Postgres, tasks: usize) -> Result<f64> {
    let database = postgres.create();
    let host = database.host(&[])?;
    let client = host.client();
    queue(&client, tasks).await?;
    let start = Instant::now();
    client.post("/resume", &json!({})).await;
    until_completed(&client, tasks as u64).await;
    Ok(tasks as f64 / start.elapsed().as_secs_f64())
}

/// Pauses everything, and queues this many tasks.
pub(super) async fn queue(client: &Client, tasks: usize) -> Result<()> {
    client.post("/pause", &json!({})).await;
    for from in (0..tasks).step_by(10_000) {
        let batch = vec![json!({"plugin": "noop"}); 10_000.min(tasks - from)];
        let answer = client.post("/task/batch", &json!(batch)).await;
        ensure!(answer.status == StatusCode::CREATED, "{}", answer.text);
    }
    Ok(())
}

/// Waits until this many tasks have completed in all.
pub(super) async fn until_completed(client: &Client, tasks: u64) {
    while completed(client).await < tasks {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(super) async fn completed(client: &Client) -> u64 {
    client.get("/stats").await.json["finished"]["completed"].as_u64().unwrap_or_default()
}
