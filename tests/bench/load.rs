//! The client of Wasmill and of `wasmtime serve` in `make bench-peers`, which starts the benchmark with `load`.
//!
//! It obeys a line of JSON on stdin with one on stdout, as the clients of the peers do in their own languages
//! (see tests/bench/peers), and ends with stdin. It measures what a client sees, and starts nothing.

mod requests;
mod served;
mod tasks;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use wasmill_model::{Clock, SystemClock};

use self::tasks::Tasks;

/// Obeys until stdin ends: `tasks ADDRESS` or `served ADDRESS`; or writes the guests: `guests FOLDER`.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match words {
        ["guests", folder] => write_guests(Path::new(folder)),
        ["tasks", address] => {
            runtime.block_on(obey_all(Target::Tasks(Box::new(Tasks::at(address.parse()?)))))
        }
        ["served", address] => runtime.block_on(obey_all(Target::Served(address.parse()?))),
        _ => bail!("load guests FOLDER, load tasks ADDRESS, or load served ADDRESS"),
    }
}

/// What the requests go to.
enum Target {
    Tasks(Box<Tasks>),
    Served(SocketAddr),
}

fn write_guests(folder: &Path) -> Result<()> {
    std::fs::write(folder.join("noop.wasm"), wasmill_tests::NOOP)?;
    std::fs::write(folder.join("program.wasm"), wasmill_tests::PROGRAM)?;
    Ok(())
}

async fn obey_all(mut target: Target) -> Result<()> {
    println!("{}", json!({"ready": true}));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let order: Value = serde_json::from_str(&line)?;
        let name = order["op"].as_str().context("an order has an op")?;
        let answer = match &mut target {
            Target::Tasks(tasks) => tasks.obey(name, &order).await,
            Target::Served(address) => served::obey(*address, name, &order).await,
        };
        println!("{}", answer.unwrap_or_else(|error| json!({"error": format!("{error:#}")})));
    }
    Ok(())
}

fn number(order: &Value, key: &str) -> Result<u64> {
    order[key].as_u64().with_context(|| format!("no number '{key}' in {order}"))
}

fn seconds(order: &Value) -> Result<Duration> {
    Ok(Duration::from_secs_f64(order["seconds"].as_f64().context("for how many seconds")?))
}

/// The time of day in seconds, as the ledgers of the peers have it.
fn time() -> f64 {
    SystemClock.now().timestamp_micros() as f64 / 1e6
}
