//! `make soak`: a server under full load for a long time, with everything that happens beside tasks. Its memory and
//! other resources must not grow, and at the end nothing may be stuck.
//!
//! `SOAK_SECONDS` (600) sets how long the load lasts. The first minute, or a fifth if that is less, is for warming up;
//! then the medians of the first and the last minute are compared.

mod load;
mod resources;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::mock_server::{MockServer, Reply};
use wasmill_tests::{Client, Server, tiny};

use crate::load::Load;
use crate::resources::Samples;

/// How many finished tasks are kept: few enough to keep retention busy.
const KEEP: u64 = 20_000;

/// Time for everything to settle after the load.
const DEADLINE: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    wasmill_tests::document::ignore();
    let seconds = match std::env::var("SOAK_SECONDS") {
        Ok(text) => text.parse().with_context(|| format!("SOAK_SECONDS must be a number, not '{text}'"))?,
        Err(_) => 600,
    };
    ensure!(seconds >= 30, "SOAK_SECONDS must be at least 30, or there is nothing to compare");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(soak(Duration::from_secs(seconds)))
}

async fn soak(duration: Duration) -> Result<()> {
    println!("Soak for {} s; set SOAK_SECONDS to change that", duration.as_secs());
    let keep_max = KEEP.to_string();
    let args = [
        "--slots",
        "200",
        "--keep-max",
        &keep_max,
        "--webhook-allow",
        "127.0.0.1",
        "--webhook-backoff",
        "200ms",
    ];
    let folder = Server::folder_with_guests();
    std::fs::write(folder.path().join("plugins/swapped.wasm"), tiny::plugin("AAAA"))?;
    let mut server = Server::start_in(folder, &args)?;
    let asked = AtomicU64::new(1);
    // One of sixteen deliveries fails; its retry most likely succeeds.
    let receiver = MockServer::start(move |_| {
        let refuses = asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(16);
        Reply::Bytes(if refuses { REFUSED } else { TAKEN })
    });
    let mut load = Load::start(&server, &receiver.url()).await?;
    let (warm, mut resources) = (duration.min(Duration::from_secs(300)) / 5, Samples::default());
    let start = Instant::now();
    let mut next = start;
    while start.elapsed() < duration {
        next += Duration::from_secs(1);
        tokio::time::sleep_until(next.into()).await;
        load.check()?;
        let sample = resources::Sample::at(&server).await?;
        if start.elapsed() >= warm {
            resources.add(sample);
        }
    }
    let done = load.stop().await?;
    let client = server.client();
    at_rest(&client).await?;
    let log = server.log();
    ensure!(server.terminate().success(), "the server failed to stop cleanly: {}", server.log());

    println!();
    for (what, count) in done {
        println!("  {what:<28} {count:>12}");
    }
    let grown = resources.compare();
    for fault in &grown {
        println!("  FAULT: {fault}");
    }
    let logged_errors: Vec<_> =
        log.lines().filter(|line| line.contains("\"ERROR\"") || line.contains("panicked")).collect();
    ensure!(logged_errors.is_empty(), "the log has errors: {}", logged_errors.join("\n"));
    ensure!(grown.is_empty(), "a resource grows with the load");
    Ok(())
}

const TAKEN: &str = "HTTP/1.1 204 Taken\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 500 Refused\r\ncontent-length: 0\r\n\r\n";

/// Waits until no task is unfinished, no slot is used and no delivery is pending.
async fn at_rest(client: &Client) -> Result<()> {
    let until = Instant::now() + DEADLINE;
    loop {
        let stats = client.get("/stats").await.json;
        let open: u64 = ["waiting", "running"].iter().map(|state| stats[state].as_u64().unwrap_or(1)).sum();
        let used = stats["slots"]["used"].as_u64().unwrap_or(1);
        let kept: u64 = ["completed", "failed", "cancelled"]
            .iter()
            .filter_map(|state| stats["stored"][state].as_u64())
            .sum();
        let pending = resources::metric(&client.get("/metrics").await.text, "wasmill_webhook_pending");
        if open + used == 0 && pending == 0.0 && kept <= KEEP {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{DEADLINE:?} after the load: {pending} deliveries, {stats}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A scripted task of the plugin `misbehave`.
fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}
