//! The CPU time of a server, as Linux counts it for all its threads.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wasmill_tests::Server;

/// Returns the CPU time used so far.
pub(crate) fn computed(server: &Server) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid()))?;
    // The process name stands in parentheses before it and may contain anything.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 =
        fields.get(11).context("utime")?.parse::<u64>()? + fields.get(12).context("stime")?.parse::<u64>()?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Waits until the server is nearly idle, such as after the background check of a large database; returns how much of
/// a core it then uses.
pub(crate) async fn quiet(server: &Server) -> Result<f64> {
    let until = Instant::now() + Duration::from_secs(180);
    loop {
        let before = computed(server)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let share = (computed(server)? - before).as_secs_f64();
        if share < 0.05 || Instant::now() > until {
            return Ok(share);
        }
    }
}
