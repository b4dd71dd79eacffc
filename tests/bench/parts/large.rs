//! Whether a long queue and a long history cost anything in the embedded database, whose tables it fills: throughput beside a million waiting or finished tasks
//! against an empty database, pages of a list, and pruning a million tasks. The goals are 90 % and 10 ms.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use hyper::header::LINK;
use rusqlite::Connection;
use serde_json::{Value, json};
use wasmill_tests::{Client, Server};

use crate::parts::computing::quiet;
use crate::parts::throughput::submit_for;
use crate::report::{Spread, middle, per_second, row, title};

pub(crate) const ROWS: u32 = 1_000_000;

/// Queue length in the short case: enough tasks for the time measured.
const FEW: u32 = 150_000;

/// How long tasks are submitted in each round, and by how many clients.
const LOAD: Duration = Duration::from_secs(3);
const CLIENTS: usize = 64;

/// How often each rate is measured, alternating: a shared machine changes from moment to moment.
const TURNS: usize = 3;

/// Tasks of a queue that are timed.
const DRAINED: u64 = 50_000;

const PAGES: usize = 200;

/// Settings that keep everything and let everything wait.
pub(crate) const ARGS: [&str; 6] = ["--keep-for", "forever", "--keep-max", "0", "--waiting-max", "3000000"];

/// What fills a database.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Tasks {
    None,
    /// One of fifty failed and the others completed; every thousandth has a tag.
    Ended,
    /// Of the measured plugin, scheduled in an hour.
    Later,
    /// Of another plugin, which is paused.
    Paused,
    /// This many available tasks of the measured plugin.
    Ready(u32),
}

pub(crate) async fn measure() -> Result<()> {
    beside_a_million().await?;
    long_line().await?;
    pages().await?;
    prune().await
}

/// Throughput of one plugin beside a million other tasks.
async fn beside_a_million() -> Result<()> {
    title(&format!("No-op tasks over HTTP, {CLIENTS} clients, beside {ROWS} tasks (goal: 90 % of empty)"));
    let mut beside = Vec::new();
    for (name, tasks) in [
        ("nothing else", Tasks::None),
        ("finished ones", Tasks::Ended),
        ("delayed ones", Tasks::Later),
        ("ones of a paused plugin", Tasks::Paused),
    ] {
        beside.push((name, filled(tasks, &ARGS)?, Vec::new()));
    }
    for _ in 0..TURNS {
        for (_, server, rates) in &mut beside {
            let client = server.client();
            if client.get("/stats").await.json["plugins"]["misbehave"].is_object() {
                client.post("/plugins/misbehave/pause", &json!({})).await;
            }
            quiet(server).await?;
            rates.push(completed(server).await?);
        }
    }
    let mut empty = None;
    for (name, _, mut rates) in beside {
        let rate = middle(&mut rates);
        let share = 100.0 * rate / *empty.get_or_insert(rate);
        row(&format!("completed beside {name}"), &format!("{}, {share:.0} %", per_second(rate, "tasks")));
    }
    Ok(())
}

/// How fast a queue of the same plugin drains, a short one and a long one.
async fn long_line() -> Result<()> {
    title("A queue of no-op tasks, until the first 50,000 have completed (goal: 90 % of the short one)");
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (tasks, rates) in [FEW, ROWS].into_iter().zip(&mut rates) {
            let server = filled(Tasks::Ready(tasks), &ARGS)?;
            let client = server.client();
            quiet(&server).await?;
            let before = completions(&client).await;
            let start = Instant::now();
            client.post("/resume", &json!({})).await;
            while completions(&client).await < before + DRAINED {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let done = completions(&client).await - before;
            rates.push(done as f64 / start.elapsed().as_secs_f64());
        }
    }
    let [short, long] = rates.map(|mut rates| middle(&mut rates));
    row(&format!("completed, {FEW} wait"), &per_second(short, "tasks"));
    let share = 100.0 * long / short;
    row(&format!("completed, {ROWS} wait"), &format!("{}, {share:.0} %", per_second(long, "tasks")));
    Ok(())
}

async fn pages() -> Result<()> {
    title(&format!("Pages of 100 of a list of {ROWS} finished tasks (goal: p99 of 10 ms)"));
    let server = filled(Tasks::Ended, &ARGS)?;
    let client = server.client();
    let deep = format!("cursor={:x}", ROWS / 2);
    for (name, query) in [
        ("the newest", ""),
        ("from the middle", deep.as_str()),
        ("state=failed", "state=failed"),
        ("plugin, state=completed", "plugin=noop&state=completed"),
        ("tag", "tag=t"),
        ("tag, state=failed, from the middle", &format!("tag=t&state=failed&{deep}")),
        ("q of 8 digits", "q=0007a120"),
        ("q of 4 digits, state=failed", "q=0007&state=failed"),
    ] {
        let mut samples = Vec::new();
        for _ in 0..PAGES {
            let start = Instant::now();
            let answer = client.send(Method::GET, &format!("/task?limit=100&{query}"), None).await?;
            samples.push(start.elapsed());
            // A page may be empty and have a cursor to continue.
            let found = answer.json.as_array().context("a list")?;
            ensure!(!found.is_empty() || answer.headers.contains_key(LINK), "nothing fits {query}");
        }
        row(name, &Spread::of(samples).to_string());
    }
    Ok(())
}

async fn prune() -> Result<()> {
    title(&format!("Pruning {ROWS} finished tasks"));
    let server = filled(Tasks::Ended, &["--keep-max", "1000", "--keep-for", "forever"])?;
    let client = server.client();
    let stored = async || client.get("/stats").await.json["stored"]["completed"].as_u64().unwrap_or_default();
    // Retention starts its first scan after a while.
    while stored().await >= u64::from(ROWS) * 49 / 50 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (start, mut samples) = (Instant::now(), Vec::new());
    while stored().await > 1_000 {
        let sent = Instant::now();
        client.submit(&json!({"plugin": "noop", "delay": "1h"})).await;
        samples.push(sent.elapsed());
    }
    row("pruned", &per_second(f64::from(ROWS) / start.elapsed().as_secs_f64(), "tasks"));
    row("POST to 201 meanwhile", &Spread::of(samples).to_string());
    Ok(())
}

/// Returns how many no-op tasks per second complete, from their submission on.
async fn completed(server: &Server) -> Result<f64> {
    let client = server.client();
    let before = completions(&client).await;
    let start = Instant::now();
    let submitted = submit_for(server.address(), CLIENTS, LOAD).await?;
    while completions(&client).await < before + submitted {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(submitted as f64 / start.elapsed().as_secs_f64())
}

async fn completions(client: &Client) -> u64 {
    let stats: Value = client.get("/stats").await.json;
    stats["finished"]["completed"].as_u64().unwrap_or_default()
}

/// Starts a server on a database of such tasks; if they are available, everything is paused.
pub(crate) fn filled(tasks: Tasks, args: &[&str]) -> Result<Server> {
    let mut server = Server::start(args);
    server.terminate();
    let connection = Connection::open(server.folder().join("data/wasmill.db"))?;
    let now = wasmill_model::Clock::now(&wasmill_model::SystemClock);
    let now = now.timestamp_nanos_opt().context("a date near ours")?;
    let past = now - 3_600_000_000_000;
    let plugin = if tasks == Tasks::Paused { "misbehave" } else { "noop" };
    let (rows, ready_at) = match tasks {
        Tasks::None => (0, past),
        Tasks::Later => (ROWS, now + 3_600_000_000_000),
        Tasks::Ended | Tasks::Paused => (ROWS, past),
        Tasks::Ready(rows) => (rows, past),
    };
    let ended = i64::from(tasks == Tasks::Ended);
    let waiting = if tasks == Tasks::Later { "scheduled" } else { "available" };
    connection.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
        BEGIN;
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO task (seq, id, plugin, state, created_at, ready_at, sort_key, started_at, finished_at, attempt,
            attempts_max, claim_token, timeout_ms, result, tags)
        SELECT i, unhex(printf('%08x%024x', i, i)), '{plugin}',
            iif({ended}, iif(i % 50 = 0, 'failed', 'completed'), '{waiting}'),
            {past} + i, {ready_at} + i, {ready_at} + i, iif({ended}, {past} + i, NULL), iif({ended}, {past} + i, NULL), {ended},
            1, {ended}, 600000, iif({ended}, 'io work result = 1', NULL),
            iif({ended} AND i % 1000 = 0, '[\"t\"]', NULL)
        FROM n WHERE {rows} > 0;
        INSERT INTO tag (name, seq) SELECT 't', seq FROM task WHERE tags IS NOT NULL;
        INSERT INTO finished_count (plugin, state, tasks)
        SELECT plugin, state, count(*) FROM task WHERE finished_at IS NOT NULL GROUP BY plugin, state;
        INSERT OR IGNORE INTO pause (plugin) SELECT '' WHERE {};
        COMMIT;",
        i64::from(matches!(tasks, Tasks::Ready(_)))
    ))?;
    drop(connection);
    server.start_beside()
}
