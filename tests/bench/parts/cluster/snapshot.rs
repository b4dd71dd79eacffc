//! Tasks beside a session that holds a snapshot, as a long report or a forgotten transaction does: what they leave
//! behind cannot be cleaned up, and must not slow the claims that follow.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use wasmill_tests::Client;

use super::Sizes;
use super::database::Postgres;
use super::throughput::{completed, queue, until_completed};
use crate::parts::latency::between;
use crate::report::{Spread, per_second, row, title};

/// Tasks of a round.
const ROUND: usize = 10_000;

/// Tasks that start one after another behind each round.
const STARTS: usize = 50;

pub(super) async fn measure(postgres: &Postgres, sizes: Sizes) -> Result<()> {
    title(&format!(
        "{} tasks beside a held snapshot (goal: a claim takes as long as before)",
        sizes.beside_snapshot
    ));
    let database = postgres.create();
    let host = database.host(&[])?;
    let client = host.client();
    start_some(&client).await?;
    let holder = database.connect().await?;
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM wasmill.host").await?;
    row("submit to start, before", &start_some(&client).await?.to_string());
    for round in 1..=sizes.beside_snapshot / ROUND {
        let before = completed(&client).await;
        queue(&client, ROUND).await?;
        let start = Instant::now();
        client.post("/resume", &json!({})).await;
        until_completed(&client, before + ROUND as u64).await;
        let rate = ROUND as f64 / start.elapsed().as_secs_f64();
        row(&format!("drained after {}", (round - 1) * ROUND), &per_second(rate, "tasks"));
        row(&format!("submit to start, after {}", round * ROUND), &start_some(&client).await?.to_string());
    }
    holder.batch_execute("COMMIT").await?;
    Ok(())
}

async fn start_some(client: &Client) -> Result<Spread> {
    let mut started = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let id = client.submit(&json!({"plugin": "noop"})).await;
        let record = client.until(&id, "completed").await.json;
        started.push(between(&record["created_at"], &record["started_at"])?);
    }
    Ok(Spread::of(started))
}
