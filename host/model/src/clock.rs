//! Wall-clock time, behind a trait so that tests decide what time it is.

use chrono::{DateTime, Utc};

/// A moment in UTC.
pub type Timestamp = DateTime<Utc>;

/// A span between two moments, which may be negative.
pub type TimeDelta = chrono::TimeDelta;

/// Tells the time of day; the only door to it for every crate below the binary.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time in UTC.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Utc::now()
    }
}
