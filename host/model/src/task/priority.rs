//! Task priorities.

use std::time::Duration;

/// Head start per step of priority.
const STEP: Duration = Duration::from_secs(60);

/// A priority from -1000 to 1000; 0 by default.
///
/// Each step is worth one minute of waiting. A task of low priority still ages like all others, and only
/// tasks that arrive within that head start overtake it: no task starves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(i32);

impl Priority {
    /// The highest priority; the lowest is its negative.
    pub const MAX: i32 = 1_000;

    /// Builds a priority, if the number is in range.
    pub fn of(number: i64) -> Option<Self> {
        let number = i32::try_from(number).ok()?;
        (-Self::MAX..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// Returns the number.
    pub fn get(self) -> i32 {
        self.0
    }

    /// Returns the head start in nanoseconds over a task of priority 0; negative for a lower priority.
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
