//! Stored form of what resumes a suspended task early: a bit for each. It is part of the schema.

use wasmill_model::WakeOn;

const EVENT: i64 = 1;

/// Returns it in stored form; 0 for nothing.
pub fn bits(wake_on: WakeOn) -> i64 {
    if wake_on.event { EVENT } else { 0 }
}

/// Reads it from its stored form. Bits that only a later version knows are ignored.
pub fn read(bits: i64) -> WakeOn {
    WakeOn { event: bits & EVENT != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wakes_round_trips() {
        for event in [false, true] {
            assert_eq!(read(bits(WakeOn { event })), WakeOn { event });
        }
    }
}
