//! `make bench-growth`: what a task costs beside few and many others, running and stored.
//!
//! Writes docs/explanation/growth.md and its charts. `GROWTH_SLOTS` and `GROWTH_STORED` set the largest numbers.

mod chart;
mod fill;
mod page;
mod slots;
mod stored;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wasmill_tests::Server;

use crate::parts::computing::computed;
use crate::parts::throughput;
use crate::report::{Spread, per_second, row, thousands, title};

/// How many clients submit no-ops concurrently, and how long.
const CLIENTS: usize = 32;
const LOAD: Duration = Duration::from_secs(3);

/// Measures both, and writes the page and the charts.
pub(crate) fn measure() -> Result<()> {
    let max = |name: &str, default: u64| -> Result<u64> {
        std::env::var(name)
            .map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} is a number")))
    };
    let (slots_max, stored_max) = (max("GROWTH_SLOTS", 100_000)?, max("GROWTH_STORED", 10_000_000)?);
    let load = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (slots, stored) = load.block_on(async {
        title(&format!("Beside up to {slots_max} sleeping tasks"));
        let slots = slots::measure(slots_max).await?;
        title(&format!("Beside up to {stored_max} stored tasks"));
        anyhow::Ok((slots, stored::measure(stored_max).await?))
    })?;
    page::write(&slots, &stored)
}

/// The powers of ten from the first to the last.
fn decades(first: u64, last: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(first), |step| step.checked_mul(10)).take_while(move |step| *step <= last)
}

/// The cost of a no-op task on the server, and the throughput.
#[derive(Clone, Copy)]
struct Cost {
    cpu_us: f64,
    per_second: f64,
}

impl Cost {
    /// Runs no-ops for some time on a server that may be busy otherwise.
    async fn of_noops(server: &Server) -> Result<Self> {
        throughput::of_noops(server, CLIENTS, Duration::from_secs(1)).await?;
        let (before, start) = (computed(server)?, Instant::now());
        let per_second = throughput::of_noops(server, CLIENTS, LOAD).await?;
        let tasks = per_second * start.elapsed().as_secs_f64();
        ensure!(tasks >= 1.0, "no task completed");
        Ok(Self { cpu_us: 1e6 * (computed(server)? - before).as_secs_f64() / tasks, per_second })
    }
}

/// Returns how long a request takes, one after another.
async fn latency(server: &Server, paths: impl Iterator<Item = String>) -> Result<Duration> {
    let client = server.client();
    let mut samples = Vec::new();
    for path in paths {
        let start = Instant::now();
        let answer = client.get(&path).await;
        samples.push(start.elapsed());
        ensure!(answer.status.is_success(), "{path}: {}", answer.text);
    }
    Ok(Spread::of(samples).median())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn report(name: &str, cost: Cost, more: &str) {
    row(name, &format!("{:.1} us of CPU, {}, {more}", cost.cpu_us, per_second(cost.per_second, "tasks")));
}
