//! A million suspended tasks: what they take, how late they resume, and how a killed host continues with them. Each is
//! submitted, runs its first step and is suspended; all resume within 1,000 seconds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use wasmill_model::{Clock, SystemClock};
use wasmill_tests::Server;

use crate::parts::computing::{computed, quiet};
use crate::report::{Spread, per_second, row, title};

const SUSPENDED: &[u8] = include_bytes!(env!("GUEST_IO_STUB_SUSPENDED"));

const TASKS: u32 = 1_000_000;
const BATCH: u32 = 10_000;

/// No task resumes sooner than this, so that all are suspended by then.
const FIRST: Duration = Duration::from_secs(60);
const SPREAD: Duration = Duration::from_secs(1_000);

/// How long resumed tasks are observed.
const WINDOW: Duration = Duration::from_secs(30);

/// Keeps finished tasks, so that they can be counted.
const ARGS: [&str; 6] = ["--keep-for", "forever", "--keep-max", "0", "--waiting-max", "3000000"];

pub(crate) async fn measure() -> Result<()> {
    title(&format!(
        "{TASKS} suspended tasks, which resume within {} s (goal: p99 of 50 ms late)",
        SPREAD.as_secs()
    ));
    let folder = Server::folder_with_guests();
    std::fs::write(folder.path().join("plugins/io-stub-suspended.wasm"), SUSPENDED)?;
    let mut server = Server::start_in(folder, &ARGS)?;
    let empty = server.memory("VmRSS");
    let start = Instant::now();
    submit(&server).await?;
    let database = open(&server)?;
    // They start in this order.
    while count(&database, "parks IS NULL AND seq = (SELECT max(seq) FROM task)")? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rate = f64::from(TASKS) / start.elapsed().as_secs_f64();
    row("submitted, first step done and suspended", &per_second(rate, "tasks"));
    // From then on as many wake as will.
    tokio::time::sleep(FIRST).await;

    let before = computed(&server)?;
    let late = late(&database).await?;
    let share = (computed(&server)? - before).as_secs_f64() / WINDOW.as_secs_f64();
    row("woken", &per_second(late.len() as f64 / WINDOW.as_secs_f64(), "tasks"));
    row("their time to the stored result", &Spread::of(late).to_string());
    row("computing of the server meanwhile", &format!("{:.0} % of a core", 100.0 * share));
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (now, file) =
        (server.memory("VmRSS"), std::fs::metadata(server.folder().join("data/wasmill.db"))?.len());
    row(
        "resident memory, empty and now; database",
        &format!("{:.0} and {:.0} MiB; {:.0} MiB", mib(empty), mib(now), mib(file)),
    );

    server.kill();
    let start = Instant::now();
    let server = server.start_beside()?;
    row("kill -9 to serving again", &format!("{:.0} ms", 1e3 * start.elapsed().as_secs_f64()));
    row("their time to the stored result after that", &Spread::of(self::late(&database).await?).to_string());
    server.client().post("/pause", &json!({})).await;
    quiet(&server).await?;
    let [waiting, completed] =
        [count(&database, "finished_at IS NULL")?, count(&database, "state = 'completed'")?];
    ensure!(waiting + completed == i64::from(TASKS), "{waiting} wait, {completed} are completed");
    row("of them wait on, completed, lost", &format!("{waiting}, {completed}, 0"));
    Ok(())
}

async fn submit(server: &Server) -> Result<()> {
    let client = server.client();
    let input = json!({"min_ms": FIRST.as_millis(), "max_ms": (FIRST + SPREAD).as_millis(), "fail_rate": 0});
    let task = json!({"plugin": "io-stub-suspended", "input": input});
    let body = serde_json::to_vec(&vec![task; BATCH as usize])?;
    for _ in 0..TASKS / BATCH {
        let body = Some(("application/json", body.clone()));
        let answer = client.send(Method::POST, "/task/batch", body).await?;
        ensure!(answer.status == StatusCode::CREATED, "{}", answer.text);
    }
    Ok(())
}

/// Returns the lateness of tasks that resume in the next while: from their due time until they have completed, so with
/// their last step and its commit.
async fn late(database: &Connection) -> Result<Vec<Duration>> {
    let from = SystemClock.now() + Duration::from_secs(1);
    let nanos = |time: wasmill_model::Timestamp| time.timestamp_nanos_opt().context("a date near ours");
    let (from, to) = (nanos(from)?, nanos(from + WINDOW)?);
    let due = "SELECT seq, ready_at FROM task WHERE state = 'suspended' AND ready_at BETWEEN ?1 AND ?2";
    let mut due = database.prepare(due)?;
    let due: HashMap<i64, i64> =
        due.query_map([from, to], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    tokio::time::sleep(WINDOW + Duration::from_secs(3)).await;
    let ended = "SELECT seq, finished_at FROM task WHERE state = 'completed' AND finished_at >= ?1";
    let mut ended = database.prepare(ended)?;
    let ended: HashMap<i64, i64> =
        ended.query_map([from], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let took = |(seq, due): (&i64, &i64)| {
        let ended = ended.get(seq).with_context(|| format!("task {seq} is more than 3 s late"))?;
        Ok(Duration::from_nanos(ended.saturating_sub(*due).try_into().context("it woke too soon")?))
    };
    due.iter().map(took).collect()
}

/// Opens the database beside the server: the API does not show when a task resumes.
fn open(server: &Server) -> Result<Connection> {
    let path = server.folder().join("data/wasmill.db");
    Ok(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

fn count(database: &Connection, which: &str) -> Result<i64> {
    Ok(database.query_row(&format!("SELECT count(*) FROM task WHERE {which}"), [], |row| row.get(0))?)
}
