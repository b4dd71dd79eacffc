//! The plan of a run, chosen once and stored in the checkpoint.

extern crate alloc;

use alloc::vec::Vec;

use crate::settings::Settings;

/// The outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A result with this digit.
    Result(u8),
    /// A simulated failure.
    Failure,
}

/// The wake-up time and the outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The whole wait, in milliseconds.
    pub wait_ms: u64,
    /// The wake-up time, in milliseconds since 1970.
    pub wake_ms: u64,
    /// The outcome.
    pub ending: Ending,
}

/// The encoding of a failure; digits are encoded as themselves.
const FAILURE: u8 = u8::MAX;

impl Plan {
    /// Chooses a plan at random, within the settings. `random` returns values from the whole range of `u64`.
    pub fn choose(settings: Settings, now_ms: u64, random: impl Fn() -> u64) -> Self {
        let Settings { min_ms, max_ms, fail_rate } = settings;
        let wait_ms = min_ms + random() % (max_ms - min_ms + 1);
        let chance = (random() >> 11) as f64 / (1_u64 << 53) as f64;
        let ending = if chance < fail_rate { Ending::Failure } else { Ending::Result((random() % 10) as u8) };
        Self { wait_ms, wake_ms: now_ms + wait_ms, ending }
    }

    /// Returns the remaining wait, at most the whole wait, even if the clock of the host went back.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.wake_ms.saturating_sub(now_ms).min(self.wait_ms)
    }

    /// Encodes a checkpoint.
    pub fn encode(&self) -> Vec<u8> {
        let ending = match self.ending {
            Ending::Result(digit) => digit,
            Ending::Failure => FAILURE,
        };
        let mut state = Vec::with_capacity(17);
        state.extend(self.wait_ms.to_le_bytes());
        state.extend(self.wake_ms.to_le_bytes());
        state.push(ending);
        state
    }

    /// Decodes a checkpoint; `None` if it holds no plan.
    pub fn decode(state: &[u8]) -> Option<Self> {
        let (wait_ms, state) = state.split_first_chunk()?;
        let (wake_ms, state) = state.split_first_chunk()?;
        let ending = match state {
            [FAILURE] => Ending::Failure,
            [digit @ 0..=9] => Ending::Result(*digit),
            _ => return None,
        };
        Some(Self { wait_ms: u64::from_le_bytes(*wait_ms), wake_ms: u64::from_le_bytes(*wake_ms), ending })
    }
}
