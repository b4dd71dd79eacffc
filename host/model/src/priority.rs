//! How far ahead of the others a task stands in the line.

use std::time::Duration;

/// How long a plain task has to wait to stand level with one that comes now and is one step above it.
const STEP: Duration = Duration::from_secs(60);

/// A priority from -1000 to 1000; 0 unless asked otherwise.
///
/// Each step is worth one minute of waiting. So a task of a low priority gets older like all others, and
/// is passed by those that come at most so many minutes after it: no task waits for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(i32);

impl Priority {
    /// The highest priority; the lowest is as far below 0.
    pub const MAX: i32 = 1_000;

    /// Makes a priority of a number, if it is one.
    pub fn of(number: i64) -> Option<Self> {
        let number = i32::try_from(number).ok()?;
        (-Self::MAX..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// Returns the number.
    pub fn get(self) -> i32 {
        self.0
    }

    /// Returns by how many nanoseconds of waiting a task stands ahead of one without a priority;
    /// negative if it stands behind.
    pub fn head_start_nanos(self) -> i64 {
        let step = i64::try_from(STEP.as_nanos()).expect("a minute is not that long");
        i64::from(self.0) * step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_worth_a_minute() {
        assert_eq!(Priority::default().head_start_nanos(), 0);
        assert_eq!(Priority::of(-2).expect("in range").head_start_nanos(), -120_000_000_000);
        assert_eq!(Priority::of(1_000).expect("in range").get(), 1_000);
        for number in [1_001, -1_001, i64::MIN, i64::MAX] {
            assert_eq!(Priority::of(number), None);
        }
    }
}
