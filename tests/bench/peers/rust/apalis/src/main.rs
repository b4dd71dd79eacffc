//! apalis on SQLite: `peer-apalis worker CONCURRENCY` or `peer-apalis load`, on the database at APALIS_DB.
//!
//! `APALIS_SYNC` is `FULL`, so that each commit is synced, or `setup` for the settings that its own `setup`
//! makes. The driver talks to it by a line of JSON for each order and each answer.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use apalis::prelude::*;
use apalis_sqlite::{Config, SqliteStorage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const QUEUE: &str = "tasks";

/// How often an idle worker looks for tasks.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Job {
    kind: String,
    id: u64,
    ms: u64,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (pool, storage) = open().await?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker", concurrency] => work(storage, concurrency.parse()?).await,
        ["load"] => load(&pool, &storage).await,
        _ => Err("peer-apalis worker CONCURRENCY, or peer-apalis load".into()),
    }
}

async fn open() -> Outcome<(SqlitePool, SqliteStorage<Job>)> {
    let path = std::env::var("APALIS_DB")?;
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{path}"))?
        .create_if_missing(true)
        .busy_timeout(Duration::from_secs(30));
    let pool = if std::env::var("APALIS_SYNC")? == "FULL" {
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await?;
        SqliteStorage::migrations().run(&pool).await?;
        pool
    } else {
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await?;
        SqliteStorage::setup(&pool).await?;
        pool
    };
    let config = Config { batch_size: 500, ..Config::default().queue(QUEUE) };
    let storage = SqliteStorage::new(&pool).with_config(config);
    Ok((pool, storage))
}

async fn work(storage: SqliteStorage<Job>, concurrency: usize) -> Outcome<()> {
    println!("{}", json!({"ready": true}));
    // A worker that was killed holds its name until it is taken for dead.
    let worker = WorkerBuilder::new(format!("worker-{}", std::process::id()))
        // Unless it is configured how to look for tasks, it looks when it has done some and with each heartbeat.
        .backend(storage.poll_with_interval(LOOK))
        .concurrency(concurrency)
        .parallelize(tokio::spawn)
        .build(run);
    worker.run().await?;
    Ok(())
}

async fn run(job: Job) -> Result<(), BoxDynError> {
    if job.kind == "noop" {
        return Ok(());
    }
    note("b", job.id)?;
    if job.kind == "spin" {
        loop {
            std::hint::spin_loop();
        }
    }
    tokio::time::sleep(Duration::from_millis(job.ms)).await;
    note("e", job.id)?;
    Ok(())
}

/// Appends a line by one write, so that it is there though the process is killed the moment after.
fn note(what: &str, id: u64) -> std::io::Result<()> {
    static LEDGER: Mutex<Option<std::fs::File>> = Mutex::new(None);
    let mut ledger = LEDGER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if ledger.is_none() {
        let path = std::env::var("LEDGER").map_err(std::io::Error::other)?;
        *ledger = Some(OpenOptions::new().append(true).create(true).open(path)?);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let line = format!("{what} {id} {now:.3} {}\n", std::process::id());
    ledger.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()))
}

async fn load(pool: &SqlitePool, storage: &SqliteStorage<Job>) -> Outcome<()> {
    println!("{}", json!({"ready": true}));
    for line in std::io::stdin().lock().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        let answer = obey(pool, storage, &order).await;
        println!("{}", answer.unwrap_or_else(|error| json!({"error": error.to_string()})));
    }
    Ok(())
}

async fn obey(pool: &SqlitePool, storage: &SqliteStorage<Job>, order: &Value) -> Outcome<Value> {
    let number = |key: &str| order[key].as_u64().unwrap_or_default();
    match order["op"].as_str().unwrap_or_default() {
        "until" => until(pool, number("below")).await,
        "submit" => {
            let kind = order["kind"].as_str().unwrap_or_default();
            submit(storage, kind, number("count"), number("ms"), number("first")).await?;
            Ok(json!({}))
        }
        "singles" => {
            singles(pool, storage, number("callers"), order["seconds"].as_f64().unwrap_or(1.0)).await
        }
        "batches" => {
            let start = Instant::now();
            submit(storage, "noop", number("count"), 0, 0).await?;
            let submit_s = start.elapsed().as_secs_f64();
            until(pool, 1).await?;
            Ok(
                json!({"count": number("count"), "submit_s": submit_s, "done_s": start.elapsed().as_secs_f64()}),
            )
        }
        "reset" => {
            sqlx::query("DELETE FROM Jobs").execute(pool).await?;
            Ok(json!({}))
        }
        other => Err(format!("there is no operation '{other}'").into()),
    }
}

async fn until(pool: &SqlitePool, below: u64) -> Outcome<Value> {
    let most = below.max(1);
    let open = "status IN ('Pending', 'Queued', 'Running')";
    let count = format!("SELECT count(*) FROM (SELECT 1 FROM Jobs WHERE {open} LIMIT {most})");
    loop {
        let left: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count.clone())).fetch_one(pool).await?;
        if left.unsigned_abs() < below {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
            return Ok(json!({"left": left, "time": now}));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn submit(storage: &SqliteStorage<Job>, kind: &str, count: u64, ms: u64, first: u64) -> Outcome<()> {
    let mut storage = storage.clone();
    for from in (0..count).step_by(1_000) {
        let jobs =
            (from..count.min(from + 1_000)).map(|id| Job { kind: kind.to_owned(), id: first + id, ms });
        storage.push_bulk(jobs.collect()).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn singles(
    pool: &SqlitePool,
    storage: &SqliteStorage<Job>,
    callers: u64,
    seconds: f64,
) -> Outcome<Value> {
    let start = Instant::now();
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (mut storage, count) = (storage.clone(), count.clone());
            tokio::spawn(async move {
                while start.elapsed().as_secs_f64() < seconds {
                    let job = Job { kind: "noop".to_owned(), id: 0, ms: 0 };
                    storage.push(job).await.map_err(|error| error.to_string())?;
                    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                Ok::<_, String>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let submit_s = start.elapsed().as_secs_f64();
    until(pool, 1).await?;
    let count = count.load(std::sync::atomic::Ordering::Relaxed);
    Ok(json!({"count": count, "submit_s": submit_s, "done_s": start.elapsed().as_secs_f64()}))
}
