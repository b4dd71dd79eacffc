//! How soon a killed host runs its tasks again, with a long queue and a long history in its database.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::Connection;
use wasmill_tests::{Client, Server};

use crate::report::{Spread, row, title};

const WAITING: u32 = 100_000;
const ENDED: u32 = 1_000_000;
const SAMPLES: usize = 5;

/// Stands in for tasks of several days: submitting as many would take minutes.
const FILL: &str = "
    BEGIN;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 + ?2)
    INSERT INTO task (seq, id, plugin, state, created_at, ready_at, sort_key, started_at, finished_at, attempt,
        attempts_max, claim_token, timeout_ms, input_bytes, result, plugin_digest)
    SELECT i, randomblob(16), 'misbehave', iif(i > ?1, 'available', iif(i % 50 = 0, 'failed', 'completed')),
        ?3 + i, ?3 + i, ?3 + i, iif(i > ?1, NULL, ?3 + i), iif(i > ?1, NULL, ?3 + i), i <= ?1, 1, i <= ?1, 600000,
        iif(i > ?1, 26, NULL), iif(i > ?1, NULL, 'io work result = 1'), iif(i > ?1, NULL, hex(randomblob(32)))
    FROM n;
    INSERT INTO input (seq, body) SELECT seq, '{\"do\":\"sleep\",\"ms\":600000}' FROM task WHERE state = 'available';
    COMMIT;";

/// Fills a database, then kills the host repeatedly.
pub(crate) async fn measure() -> Result<()> {
    title(&format!("Restart after kill -9, {WAITING} tasks waiting, {ENDED} ended"));
    let mut server = Server::start(&["--keep-for", "forever", "--keep-max", "0"]);
    server.terminate();
    fill(&server)?;
    server = server.start_beside()?;
    first_running(&server.client()).await;
    let (mut serving, mut running) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let start = Instant::now();
        server = server.kill_and_restart();
        serving.push(start.elapsed());
        first_running(&server.client()).await;
        running.push(start.elapsed());
    }
    row("kill to serving", &Spread::of(serving).to_string());
    row("kill to first task running again", &Spread::of(running).to_string());
    Ok(())
}

fn fill(server: &Server) -> Result<()> {
    let connection = Connection::open(server.folder().join("data/wasmill.db"))?;
    connection.execute_batch("PRAGMA synchronous = OFF")?;
    // An hour ago, so that the history is older than the queue.
    let now = wasmill_model::Clock::now(&wasmill_model::SystemClock);
    let past = (now - Duration::from_secs(3600)).timestamp_nanos_opt().context("a date near ours")?;
    let fill = FILL.replace("?1", &ENDED.to_string()).replace("?2", &WAITING.to_string());
    connection.execute_batch(&fill.replace("?3", &past.to_string()))?;
    Ok(())
}

async fn first_running(client: &Client) {
    while client.get("/stats").await.json["running"].as_u64().is_none_or(|running| running == 0) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
