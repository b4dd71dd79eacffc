//! The CPU time of a server, as Linux counts it for all its threads, or for all its processes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wasmill_tests::Server;

/// Where `/proc/PID/stat` has its figures, counted from the name of the process on.
const PARENT: usize = 1;
const OWN_TIMES: [usize; 2] = [11, 12];
const TIMES_OF_ENDED_CHILDREN: [usize; 2] = [13, 14];

/// Returns the CPU time used so far.
pub(crate) fn computed(server: &Server) -> Result<Duration> {
    time(&stat(server.pid())?, &OWN_TIMES)
}

/// Returns the CPU time that a process and its children have used so far, those that have ended included.
pub(crate) fn computed_with_children(pid: u32) -> Result<Duration> {
    let own = stat(pid)?;
    let mut total = time(&own, &OWN_TIMES)? + time(&own, &TIMES_OF_ENDED_CHILDREN)?;
    for process in std::fs::read_dir("/proc")?.flatten() {
        let other = process.file_name().to_str().and_then(|name| name.parse().ok());
        // One that ends meanwhile is counted with those that have.
        let Some(fields) = other.and_then(|other| stat(other).ok()) else { continue };
        if fields.get(PARENT) == Some(&pid.to_string()) {
            total += time(&fields, &OWN_TIMES)?;
        }
    }
    Ok(total)
}

fn stat(pid: u32) -> Result<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The process name stands in parentheses before it and may contain anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.map(str::to_owned).collect())
}

fn time(fields: &[String], places: &[usize]) -> Result<Duration> {
    let mut ticks = 0;
    for place in places {
        ticks += fields.get(*place).context("a time")?.parse::<u64>()?;
    }
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
