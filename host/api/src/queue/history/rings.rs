//! Rings of samples: a second each for an hour, ten seconds for six hours, a minute for a day.

use std::collections::VecDeque;
use std::time::Duration;

use super::sample::{Counters, Sample};

/// The length of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Step {
    #[default]
    Second,
    TenSeconds,
    Minute,
}

impl Step {
    pub(super) const ALL: [Self; 3] = [Self::Second, Self::TenSeconds, Self::Minute];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Second => "1s",
            Self::TenSeconds => "10s",
            Self::Minute => "60s",
        }
    }

    pub(super) fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::TenSeconds => 10,
            Self::Minute => 60,
        })
    }

    /// Returns how many samples are kept.
    pub(super) fn samples_max(self) -> usize {
        match self {
            Self::Second => 3_600,
            Self::TenSeconds => 2_160,
            Self::Minute => 1_440,
        }
    }
}

/// The newest values, a fixed number at most.
#[derive(Debug)]
pub(super) struct Ring<T> {
    values: VecDeque<T>,
    values_max: usize,
}

impl<T> Ring<T> {
    pub(super) fn new(values_max: usize) -> Self {
        Self { values: VecDeque::new(), values_max }
    }

    pub(super) fn push(&mut self, value: T) {
        if self.values.len() == self.values_max {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// Returns up to this many of the newest values, oldest first.
    pub(super) fn newest(&self, limit: usize) -> impl Iterator<Item = &T> {
        self.values.range(self.values.len().saturating_sub(limit)..)
    }
}

/// The samples of one step.
#[derive(Debug)]
pub(super) struct Track {
    step: Step,
    pub(super) samples: Ring<Sample>,
    /// The counters at the end of the newest sample.
    before: Option<Counters>,
}

impl Track {
    pub(super) fn new(step: Step) -> Self {
        Self { step, samples: Ring::new(step.samples_max()), before: None }
    }

    /// Adds a sample if the step is over; returns true if it was.
    pub(super) fn observe(&mut self, now: &Counters) -> bool {
        let Some(before) = &self.before else {
            self.before = Some(now.clone());
            return false;
        };
        if !before.is_older_than(self.step.length(), now) {
            return false;
        }
        self.samples.push(now.since(before));
        self.before = Some(now.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_newest() {
        let mut ring = Ring::new(3);
        assert_eq!(ring.newest(9).count(), 0);
        (1..=5).for_each(|value| ring.push(value));
        assert_eq!(ring.newest(9).copied().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(ring.newest(2).copied().collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn a_day_of_samples_takes_less_than_a_megabyte() {
        let samples: usize = Step::ALL.into_iter().map(Step::samples_max).sum();
        let bytes = samples * size_of::<Sample>();
        assert!(bytes < 1 << 20, "{bytes}");
        let day = Step::Minute.length() * Step::Minute.samples_max() as u32;
        assert_eq!(day, Duration::from_secs(86_400));
    }
}
