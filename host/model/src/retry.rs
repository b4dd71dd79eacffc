//! How long a task waits between attempts.

use std::time::Duration;

/// Waiting times that grow by a factor up to a most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The wait after the first failed attempt.
    pub first: Duration,
    /// What each further wait is multiplied by.
    pub factor: f64,
    /// The longest wait.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), factor: 2.0, most: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// Returns the wait after failed attempt number `attempt` (the first is 1).
    ///
    /// `jitter` from 0 to 1 spreads tasks that failed together: the wait is between half of the
    /// full one (0) and the full one (1).
    pub fn wait(&self, attempt: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = self.first.as_secs_f64() * self.factor.powi(exponent);
        let full = full.min(self.most.as_secs_f64());
        Duration::from_secs_f64(full * (0.5 + 0.5 * jitter.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most() {
        let backoff = Backoff::default();
        let waits: Vec<_> =
            [1, 2, 3, 9, 10, 1_000, u32::MAX].map(|attempt| backoff.wait(attempt, 1.0).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn jitter_shortens_by_up_to_half() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(3, 0.0), Duration::from_secs(2));
        assert_eq!(backoff.wait(3, 0.5), Duration::from_secs(3));
        assert_eq!(backoff.wait(3, 7.0), Duration::from_secs(4));
    }
}
