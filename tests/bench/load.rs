//! The client of Wasmill and of `wasmtime serve` in `make bench-peers`, which starts the benchmark with `load`.
//!
//! It answers each line of JSON on stdin with one on stdout, like the clients of the peers in their own languages (see
//! tests/bench/peers), and ends with stdin. It measures what a client sees and starts no server.

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

/// Runs commands until stdin ends: `tasks ADDRESS` or `served ADDRESS`; or writes the guests: `guests FOLDER`.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args {
        ["guests", folder] => write_guests(Path::new(folder)),
        ["tasks", address] => {
            runtime.block_on(run_commands(Target::Tasks(Box::new(Tasks::at(address.parse()?)))))
        }
        ["served", address] => runtime.block_on(run_commands(Target::Served(address.parse()?))),
        _ => bail!("load guests FOLDER, load tasks ADDRESS, or load served ADDRESS"),
    }
}

/// The target of the requests.
enum Target {
    Tasks(Box<Tasks>),
    Served(SocketAddr),
}

fn write_guests(folder: &Path) -> Result<()> {
    std::fs::write(folder.join("noop.wasm"), wasmill_tests::NOOP)?;
    std::fs::write(folder.join("program.wasm"), wasmill_tests::PROGRAM)?;
    Ok(())
}

async fn run_commands(mut target: Target) -> Result<()> {
    println!("{}", json!({"ready": true}));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command: Value = serde_json::from_str(&line)?;
        let name = command["op"].as_str().context("an order has an op")?;
        let answer = match &mut target {
            Target::Tasks(tasks) => tasks.run_command(name, &command).await,
            Target::Served(address) => served::run_command(*address, name, &command).await,
        };
        println!("{}", answer.unwrap_or_else(|error| json!({"error": format!("{error:#}")})));
    }
    Ok(())
}

fn number(command: &Value, key: &str) -> Result<u64> {
    command[key].as_u64().with_context(|| format!("no number '{key}' in {command}"))
}

fn seconds(command: &Value) -> Result<Duration> {
    Ok(Duration::from_secs_f64(command["seconds"].as_f64().context("for how many seconds")?))
}

/// The time of day in seconds, as in the ledgers of the peers.
fn time() -> f64 {
    SystemClock.now().timestamp_micros() as f64 / 1e6
}
