//! Resource usage of the process, under the standard names of Prometheus clients. Values that the system does
//! not provide are omitted.

use std::fs;

use rustix::time::{ClockId, clock_gettime};
use wasmill_model::Timestamp;

use super::exposition::Metric;

pub(super) fn metrics(started_at: Timestamp) -> Vec<Metric> {
    let mut metrics = vec![
        Metric::gauge("process_start_time_seconds", "Start time of the process, in seconds since 1970")
            .value(started_at.timestamp_micros() as f64 / 1e6),
    ];
    if let Some(used) = cpu_seconds() {
        metrics.push(Metric::counter("process_cpu_seconds", "CPU time of the process").value(used));
    }
    if let Some(bytes) = resident_bytes() {
        metrics.push(
            Metric::gauge("process_resident_memory_bytes", "Resident memory of the process").value(bytes),
        );
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        let files = files.count() as f64;
        metrics.push(Metric::gauge("process_open_fds", "Open file descriptors").value(files));
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
    fn cpu_time_and_resident_memory_are_read() {
        assert!(cpu_seconds().is_some_and(|seconds| seconds > 0.0));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000.0));
    }
}
