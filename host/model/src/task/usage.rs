//! Resource usage of an attempt, and the meter that counts it.
//!
//! The runtime and the host side of the guest write to the meter; anyone may read it at any time. It decides
//! nothing.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicU64};
use std::time::Duration;

/// Resource usage of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, without waiting for a core.
    pub cpu: Duration,
    /// Wall-clock time from start to end.
    pub wall: Duration,
    /// How long the task had been available when the attempt started.
    pub queue: Duration,
    /// Time to instantiate the plugin.
    pub instantiate: Duration,
    /// Peak bytes of all memories and tables together.
    pub memory_bytes: u64,
    /// Bytes written to stdout and stderr as log, kept or not.
    pub log_bytes: u64,
    /// HTTP requests sent; denied ones are not counted.
    pub http_requests: u64,
    /// Bytes sent over the connections of those requests, including headers and TLS.
    pub http_sent_bytes: u64,
    /// Bytes received over those connections.
    pub http_received_bytes: u64,
    /// Checkpoints stored.
    pub checkpoints: u64,
    /// Bytes written to the plugin's folders, including those by which files grew.
    pub disk_written_bytes: u64,
    /// Files, folders and links created there.
    pub files_created: u64,
    /// The exit code of a program; 0 for every other plugin, and until the program ends.
    pub exit_code: i32,
    /// TCP connections of `wasi:sockets` that were established.
    pub tcp_connections: u64,
    /// Bytes sent over them.
    pub tcp_sent_bytes: u64,
    /// Bytes received over them.
    pub tcp_received_bytes: u64,
}

impl Usage {
    /// Adds the usage of earlier steps of the attempt; of memory it takes the maximum.
    #[must_use]
    pub fn plus(self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu + earlier.cpu,
            wall: self.wall + earlier.wall,
            queue: self.queue + earlier.queue,
            instantiate: self.instantiate + earlier.instantiate,
            memory_bytes: self.memory_bytes.max(earlier.memory_bytes),
            log_bytes: self.log_bytes + earlier.log_bytes,
            http_requests: self.http_requests + earlier.http_requests,
            http_sent_bytes: self.http_sent_bytes + earlier.http_sent_bytes,
            http_received_bytes: self.http_received_bytes + earlier.http_received_bytes,
            checkpoints: self.checkpoints + earlier.checkpoints,
            disk_written_bytes: self.disk_written_bytes + earlier.disk_written_bytes,
            files_created: self.files_created + earlier.files_created,
            exit_code: self.exit_code,
            tcp_connections: self.tcp_connections + earlier.tcp_connections,
            tcp_sent_bytes: self.tcp_sent_bytes + earlier.tcp_sent_bytes,
            tcp_received_bytes: self.tcp_received_bytes + earlier.tcp_received_bytes,
        }
    }
}

/// Counts the usage of an attempt. It knows no clock, so neither `wall` nor `queue`.
#[derive(Debug, Default)]
pub struct Meter {
    cpu_us: AtomicU64,
    instantiate_us: AtomicU64,
    memory_bytes: AtomicU64,
    log_bytes: AtomicU64,
    http_requests: AtomicU64,
    http_sent_bytes: AtomicU64,
    http_received_bytes: AtomicU64,
    checkpoints: AtomicU64,
    disk_written_bytes: AtomicU64,
    files_created: AtomicU64,
    exit_code: AtomicI32,
    tcp_connections: AtomicU64,
    tcp_sent_bytes: AtomicU64,
    tcp_received_bytes: AtomicU64,
}

impl Meter {
    /// Sets the total CPU time.
    pub fn set_cpu(&self, cpu: Duration) {
        self.cpu_us.store(micros(cpu), Relaxed);
    }

    /// Sets the peak memory.
    pub fn set_memory_bytes(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Relaxed);
    }

    /// Sets the time to instantiate.
    pub fn set_instantiate(&self, took: Duration) {
        self.instantiate_us.store(micros(took), Relaxed);
    }

    /// Adds bytes written to the log.
    pub fn add_log_bytes(&self, bytes: u64) {
        self.log_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts an HTTP request.
    pub fn add_http_request(&self) {
        self.http_requests.fetch_add(1, Relaxed);
    }

    /// Adds bytes sent over HTTP connections.
    pub fn add_http_sent_bytes(&self, bytes: u64) {
        self.http_sent_bytes.fetch_add(bytes, Relaxed);
    }

    /// Adds bytes received over HTTP connections.
    pub fn add_http_received_bytes(&self, bytes: u64) {
        self.http_received_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a stored checkpoint.
    pub fn add_checkpoint(&self) {
        self.checkpoints.fetch_add(1, Relaxed);
    }

    /// Adds bytes written to folders.
    pub fn add_disk_written_bytes(&self, bytes: u64) {
        self.disk_written_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a created file, folder or link.
    pub fn add_file_created(&self) {
        self.files_created.fetch_add(1, Relaxed);
    }

    /// Sets the exit code.
    pub fn set_exit_code(&self, code: i32) {
        self.exit_code.store(code, Relaxed);
    }

    /// Counts a TCP connection.
    pub fn add_tcp_connection(&self) {
        self.tcp_connections.fetch_add(1, Relaxed);
    }

    /// Adds bytes sent over TCP connections.
    pub fn add_tcp_sent_bytes(&self, bytes: u64) {
        self.tcp_sent_bytes.fetch_add(bytes, Relaxed);
    }

    /// Adds bytes received over TCP connections.
    pub fn add_tcp_received_bytes(&self, bytes: u64) {
        self.tcp_received_bytes.fetch_add(bytes, Relaxed);
    }

    /// Returns the usage so far, without `wall` and `queue`.
    pub fn read(&self) -> Usage {
        Usage {
            cpu: Duration::from_micros(self.cpu_us.load(Relaxed)),
            wall: Duration::ZERO,
            queue: Duration::ZERO,
            instantiate: Duration::from_micros(self.instantiate_us.load(Relaxed)),
            memory_bytes: self.memory_bytes.load(Relaxed),
            log_bytes: self.log_bytes.load(Relaxed),
            http_requests: self.http_requests.load(Relaxed),
            http_sent_bytes: self.http_sent_bytes.load(Relaxed),
            http_received_bytes: self.http_received_bytes.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
            disk_written_bytes: self.disk_written_bytes.load(Relaxed),
            files_created: self.files_created.load(Relaxed),
            exit_code: self.exit_code.load(Relaxed),
            tcp_connections: self.tcp_connections.load(Relaxed),
            tcp_sent_bytes: self.tcp_sent_bytes.load(Relaxed),
            tcp_received_bytes: self.tcp_received_bytes.load(Relaxed),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_returns_recorded_values() {
        let meter = Meter::default();
        assert_eq!(meter.read(), Usage::default());
        meter.set_cpu(Duration::from_millis(7));
        meter.set_memory_bytes(65_536);
        meter.set_instantiate(Duration::from_micros(38));
        for bytes in [3, 4] {
            meter.add_log_bytes(bytes);
            meter.add_http_request();
            meter.add_http_sent_bytes(10 * bytes);
            meter.add_http_received_bytes(100 * bytes);
            meter.add_disk_written_bytes(1_000 * bytes);
            meter.add_file_created();
            meter.add_tcp_connection();
            meter.add_tcp_sent_bytes(20 * bytes);
            meter.add_tcp_received_bytes(200 * bytes);
        }
        meter.add_checkpoint();
        meter.set_exit_code(-1);
        let read = meter.read();
        assert_eq!((read.cpu, read.instantiate), (Duration::from_millis(7), Duration::from_micros(38)));
        assert_eq!((read.memory_bytes, read.log_bytes, read.checkpoints), (65_536, 7, 1));
        assert_eq!((read.disk_written_bytes, read.files_created, read.exit_code), (7_000, 2, -1));
        assert_eq!((read.http_requests, read.http_sent_bytes, read.http_received_bytes), (2, 70, 700));
        assert_eq!((read.tcp_connections, read.tcp_sent_bytes, read.tcp_received_bytes), (2, 140, 1_400));
    }
}
