//! Stored form of what resumes a suspended task early: a bit for each. It is part of the schema.

use wasmill_model::WakeOn;

const EVENT: i64 = 1;
const ANY_CHILD: i64 = 2;
const ALL_CHILDREN: i64 = 4;

/// Returns it in stored form; 0 for nothing.
pub fn bits(wake_on: WakeOn) -> i64 {
    let WakeOn { event, any_child, all_children } = wake_on;
    let bit = |is_set, bit| if is_set { bit } else { 0 };
    bit(event, EVENT) | bit(any_child, ANY_CHILD) | bit(all_children, ALL_CHILDREN)
}

/// Reads it from its stored form. Bits that only a later version knows are ignored.
pub fn read(bits: i64) -> WakeOn {
    WakeOn {
        event: bits & EVENT != 0,
        any_child: bits & ANY_CHILD != 0,
        all_children: bits & ALL_CHILDREN != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wakes_round_trips() {
        for number in 0..8 {
            let wake_on = read(number);
            assert_eq!(bits(wake_on), number);
            assert_eq!(read(number | 1 << 40), wake_on);
        }
        assert_eq!(read(0), WakeOn::default());
    }
}
