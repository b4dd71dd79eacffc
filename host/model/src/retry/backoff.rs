//! Retries: how often a task is attempted, and the backoff in between.

use std::time::Duration;

/// Maximum attempts that a task may ask for.
pub const ATTEMPTS_MAX: u32 = 100;

/// Maximum wait between two attempts: 7 days.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Maximum backoff factor.
pub const FACTOR_MAX: f64 = 100.0;

/// Default jitter.
const JITTER: f64 = 0.5;

/// Exponential backoff with jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Wait after the first failed attempt.
    pub first: Duration,
    /// Factor by which each further wait grows.
    pub factor: f64,
    /// Maximum wait, before jitter.
    pub max: Duration,
    /// Maximum share, from 0 to 1, by which jitter lengthens a wait. It spreads tasks that failed together,
    /// and no attempt starts earlier than asked for.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(300), jitter: JITTER }
    }
}

impl Backoff {
    /// Builds a backoff; missing values are those of the default, where the maximum is never below the first
    /// wait.
    ///
    /// # Errors
    ///
    /// Fails for a factor outside 1 to 100, a jitter outside 0 to 1, a maximum below the first wait, and
    /// waits of more than 7 days.
    pub fn of(
        first: Option<Duration>,
        factor: Option<f64>,
        max: Option<Duration>,
        jitter: Option<f64>,
    ) -> Result<Self, InvalidBackoff> {
        let default = Self::default();
        let first = first.unwrap_or_else(|| default.first.min(max.unwrap_or(default.first)));
        let factor = factor.unwrap_or(default.factor);
        let max = max.unwrap_or_else(|| default.max.max(first));
        if !(1.0..=FACTOR_MAX).contains(&factor) {
            return Err(InvalidBackoff::Factor);
        }
        let jitter = jitter.unwrap_or(default.jitter);
        if !(0.0..=1.0).contains(&jitter) {
            return Err(InvalidBackoff::Jitter);
        }
        if first > max {
            return Err(InvalidBackoff::FirstOverMax);
        }
        if max > WAIT_MAX {
            return Err(InvalidBackoff::TooLong);
        }
        Ok(Self { first, factor, max, jitter })
    }

    /// Returns the wait after failed attempt number `attempt`, from 1.
    ///
    /// `dice` from 0 to 1 is the share of the jitter to add.
    pub fn wait(&self, attempt: u32, dice: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = self.first.as_secs_f64() * self.factor.powi(exponent);
        let full = full.min(self.max.as_secs_f64());
        Duration::from_secs_f64(full * (1.0 + self.jitter * dice.clamp(0.0, 1.0)))
    }
}

/// The backoff is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBackoff {
    /// The factor would shrink the waits, or let them explode.
    #[error("factor must be a number from 1 to 100")]
    Factor,
    /// The jitter would shorten the waits, or more than double them.
    #[error("jitter must be a number from 0, for none, to 1")]
    Jitter,
    /// The first wait exceeds the maximum.
    #[error("first must not be longer than max")]
    FirstOverMax,
    /// A wait exceeds the limit.
    #[error("no wait may be longer than 7 days")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let backoff = Backoff::default();
        let waits: Vec<_> =
            [1, 2, 3, 9, 10, 1_000, u32::MAX].map(|attempt| backoff.wait(attempt, 0.0).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn missing_backoff_values_are_those_of_the_default() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(Backoff::of(None, None, None, None), Ok(Backoff::default()));
        let long = Backoff::of(seconds(600), None, None, None).unwrap();
        assert_eq!((long.factor, long.max), (2.0, Duration::from_secs(600)));
        let short = Backoff::of(None, None, Some(Duration::from_millis(10)), None).unwrap();
        assert_eq!(short.first, Duration::from_millis(10));
    }

    #[test]
    fn an_invalid_backoff_is_refused() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for factor in [0.5, -1.0, 101.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Backoff::of(None, Some(factor), None, None), Err(InvalidBackoff::Factor));
        }
        for jitter in [-0.1, 1.1, f64::NAN] {
            assert_eq!(Backoff::of(None, None, None, Some(jitter)), Err(InvalidBackoff::Jitter));
        }
        assert_eq!(Backoff::of(seconds(2), None, seconds(1), None), Err(InvalidBackoff::FirstOverMax));
        assert_eq!(Backoff::of(None, None, seconds(604_801), None), Err(InvalidBackoff::TooLong));
    }

    #[test]
    fn jitter_lengthens_a_wait_and_never_shortens_it() {
        let wait = |jitter, dice| Backoff { jitter, ..Backoff::default() }.wait(3, dice).as_millis();
        assert_eq!(
            [0.0, 0.5, 1.0, 7.0, -7.0].map(|dice| wait(0.5, dice)),
            [4_000, 5_000, 6_000, 6_000, 4_000]
        );
        assert_eq!([0.0, 0.5, 1.0].map(|dice| wait(0.0, dice)), [4_000; 3]);
        assert_eq!([0.0, 1.0].map(|dice| wait(1.0, dice)), [4_000, 8_000]);
        let longest = Backoff::default().wait(u32::MAX, 1.0);
        assert_eq!(longest, Duration::from_secs(450));
    }
}
