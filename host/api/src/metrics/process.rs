//! What the process itself uses, under the names that all exporters share. What the system does not tell is
//! left out.

use std::fs;

use rustix::time::{ClockId, clock_gettime};
use wasmill_model::Timestamp;

use super::exposition::Metric;

pub(super) fn metrics(started_at: Timestamp) -> Vec<Metric> {
    let mut metrics = vec![
        Metric::gauge("process_start_time_seconds", "When the process started, since 1970")
            .of(started_at.timestamp_micros() as f64 / 1e6),
    ];
    if let Some(used) = cpu_seconds() {
        metrics
            .push(Metric::counter("process_cpu_seconds", "Time that the process spent computing").of(used));
    }
    if let Some(bytes) = resident_bytes() {
        metrics
            .push(Metric::gauge("process_resident_memory_bytes", "Memory that the process holds").of(bytes));
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        let files = files.count() as f64;
        metrics.push(Metric::gauge("process_open_fds", "Files and connections that are open").of(files));
    }
    metrics
}

fn cpu_seconds() -> Option<f64> {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::try_from(used).ok().map(|used| used.as_secs_f64())
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_computes_and_holds_memory() {
        assert!(cpu_seconds().is_some_and(|seconds| seconds > 0.0));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000.0));
    }
}
