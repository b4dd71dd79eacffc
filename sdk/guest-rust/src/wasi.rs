//! The few functions of WASI 0.2 that this crate calls itself.
//!
//! The standard library reaches them by way of libc, whose descriptors, allocator and error texts are larger than a
//! small plugin.

#[cfg(target_arch = "wasm32")]
pub use guest::{log, monotonic_clock, random, wait, wall_clock};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{log, monotonic_clock, random, wait, wall_clock};

#[cfg(target_arch = "wasm32")]
mod guest {
    use core::time::Duration;

    use crate::bindings::wasi::wasi::cli::stdout::get_stdout;
    use crate::bindings::wasi::wasi::clocks::{monotonic_clock as monotonic, wall_clock as wall};
    use crate::bindings::wasi::wasi::random::random::get_random_u64;
    use crate::host::nanoseconds;

    /// The most that one write may have.
    const WRITE_BYTES_MAX: usize = 4_096;

    /// Returns a random number from the whole range, from the random numbers of the host, which are unpredictable.
    pub fn random() -> u64 {
        get_random_u64()
    }

    /// Returns the time since 1970 by the clock of the host, which may be set back.
    pub fn wall_clock() -> Duration {
        let now = wall::now();
        Duration::from_secs(now.seconds) + Duration::from_nanos(now.nanoseconds.into())
    }

    /// Returns the time since an unknown moment, which never goes back. The next attempt or step has another one.
    pub fn monotonic_clock() -> Duration {
        Duration::from_nanos(monotonic::now())
    }

    /// Waits for this time, even if the host asks the run to stop meanwhile.
    pub fn wait(time: Duration) {
        monotonic::subscribe_duration(nanoseconds(time)).block();
    }

    /// Writes a line to the log of the task.
    ///
    /// `println!` does the same. This does it without formatting and without a buffer.
    pub fn log(line: &str) {
        let line = [line, "\n"].concat();
        let stdout = get_stdout();
        for bytes in line.as_bytes().chunks(WRITE_BYTES_MAX) {
            // A log that takes nothing is no reason to fail.
            let _ = stdout.blocking_write_and_flush(bytes);
        }
    }
}

/// Outside of a host, for tests of a plugin's functions.
#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::hash::{BuildHasher, Hasher, RandomState};
    use std::println;
    use std::time::{Duration, Instant, SystemTime};

    /// Returns a random number from the whole range.
    pub fn random() -> u64 {
        RandomState::new().build_hasher().finish()
    }

    /// Returns the time since 1970.
    pub fn wall_clock() -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    /// Returns the time since an unknown moment.
    pub fn monotonic_clock() -> Duration {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// Waits for this time.
    pub fn wait(time: Duration) {
        std::thread::sleep(time);
    }

    /// Writes a line to stdout.
    pub fn log(line: &str) {
        println!("{line}");
    }
}
