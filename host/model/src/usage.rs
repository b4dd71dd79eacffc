//! What one attempt uses, and the meter that counts it while it runs.
//!
//! Whoever knows a figure writes it into the meter of the run: the runtime, or the host's side of the guest.
//! Anyone may read it at any time. It decides nothing.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What one attempt has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time spent computing: neither waiting nor standing in line for a core.
    pub cpu: Duration,
    /// From its start to its end, by the clock on the wall.
    pub wall: Duration,
    /// How long the task had been ready when the attempt started.
    pub queue: Duration,
    /// What making the instance took.
    pub instantiate: Duration,
    /// The most bytes of all memories and tables together.
    pub memory_bytes: u64,
    /// Bytes written to stdout and stderr as far as they are the log, kept or not.
    pub log_bytes: u64,
    /// HTTP requests that went out; those that were denied did not.
    pub http_requests: u64,
    /// Bytes sent over the connections of those requests, with their heads and with TLS.
    pub http_sent_bytes: u64,
    /// Bytes received over them.
    pub http_received_bytes: u64,
    /// Checkpoints that were kept.
    pub checkpoints: u64,
    /// Bytes written to the folders of the plugin, with those by which files were made longer.
    pub disk_written_bytes: u64,
    /// Files, folders and links made there.
    pub files_created: u64,
}

impl Usage {
    /// Adds what earlier steps of the attempt used; of memory it takes the larger one.
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
        }
    }
}

/// Counts what one attempt uses. It knows no clock: neither `wall` nor `queue`.
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
}

impl Meter {
    /// Takes note of all the time spent computing so far.
    pub fn set_cpu(&self, cpu: Duration) {
        self.cpu_us.store(micros(cpu), Relaxed);
    }

    /// Takes note of the most memory held so far.
    pub fn set_memory_bytes(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Relaxed);
    }

    /// Takes note of what making the instance took.
    pub fn set_instantiate(&self, took: Duration) {
        self.instantiate_us.store(micros(took), Relaxed);
    }

    /// Counts bytes written to the log.
    pub fn add_log_bytes(&self, bytes: u64) {
        self.log_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a request that goes out.
    pub fn add_http_request(&self) {
        self.http_requests.fetch_add(1, Relaxed);
    }

    /// Counts bytes sent over the connection of a request.
    pub fn add_http_sent_bytes(&self, bytes: u64) {
        self.http_sent_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts bytes received over the connection of a request.
    pub fn add_http_received_bytes(&self, bytes: u64) {
        self.http_received_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a checkpoint that was kept.
    pub fn add_checkpoint(&self) {
        self.checkpoints.fetch_add(1, Relaxed);
    }

    /// Counts bytes written to a folder.
    pub fn add_disk_written_bytes(&self, bytes: u64) {
        self.disk_written_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a file, a folder or a link that was made.
    pub fn add_file_created(&self) {
        self.files_created.fetch_add(1, Relaxed);
    }

    /// Returns what was used so far, without `wall` and `queue`.
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
    fn a_meter_shows_what_was_written_into_it() {
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
        }
        meter.add_checkpoint();
        let read = meter.read();
        assert_eq!((read.cpu, read.instantiate), (Duration::from_millis(7), Duration::from_micros(38)));
        assert_eq!((read.memory_bytes, read.log_bytes, read.checkpoints), (65_536, 7, 1));
        assert_eq!((read.disk_written_bytes, read.files_created), (7_000, 2));
        assert_eq!((read.http_requests, read.http_sent_bytes, read.http_received_bytes), (2, 70, 700));
    }
}
