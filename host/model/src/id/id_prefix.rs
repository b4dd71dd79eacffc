//! Prefixes of task ids, as people type them.

use std::fmt;
use std::str::FromStr;

use crate::TaskId;

/// Minimum digits: fewer would match nearly every task.
const DIGITS_MIN: usize = 4;

/// Digits before each hyphen of a UUID; hyphens are optional.
const HYPHENS: [usize; 4] = [8, 12, 16, 20];

/// Digits of a whole id.
const DIGITS_MAX: usize = 32;

/// A prefix of a task id: at least four hexadecimal digits, with or without hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdPrefix {
    first: [u8; 16],
    digits: usize,
}

impl IdPrefix {
    /// Returns the first and the last id with this prefix.
    pub fn range(&self) -> ([u8; 16], [u8; 16]) {
        let mut last = self.first;
        for digit in self.digits..DIGITS_MAX {
            last[digit / 2] |= if digit % 2 == 0 { 0xf0 } else { 0x0f };
        }
        (self.first, last)
    }

    /// Returns true if an id has this prefix.
    pub fn fits(&self, id: &[u8; 16]) -> bool {
        let (first, last) = self.range();
        (first..=last).contains(id)
    }

    /// Returns the id if the prefix is a whole one.
    pub fn whole(&self) -> Option<TaskId> {
        (self.digits == DIGITS_MAX).then(|| TaskId::from_bytes(self.first))
    }
}

impl FromStr for IdPrefix {
    type Err = InvalidIdPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidIdPrefix> {
        let (mut first, mut digits, mut before) = ([0; 16], 0, b' ');
        for byte in text.bytes() {
            let is_hyphen = byte == b'-' && before != b'-' && HYPHENS.contains(&digits);
            before = byte;
            if is_hyphen {
                continue;
            }
            let digit = char::from(byte).to_digit(16).ok_or(InvalidIdPrefix)?;
            let digit = u8::try_from(digit).expect("a hexadecimal digit is below 16");
            let half: &mut u8 = first.get_mut(digits / 2).ok_or(InvalidIdPrefix)?;
            *half |= if digits % 2 == 0 { digit << 4 } else { digit };
            digits += 1;
        }
        if digits < DIGITS_MIN { Err(InvalidIdPrefix) } else { Ok(Self { first, digits }) }
    }
}

/// Writes the digits without hyphens.
impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for digit in 0..self.digits {
            let byte = self.first[digit / 2];
            write!(f, "{:x}", if digit % 2 == 0 { byte >> 4 } else { byte & 0x0f })?;
        }
        Ok(())
    }
}

/// The text is not the beginning or the end of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id, or the beginning or the end of one, is 4 to 32 hexadecimal digits, with hyphens or without, \
     such as 0192f3c4"
)]
pub struct InvalidIdPrefix;

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(prefix: &str, id: &str) -> bool {
        let id: TaskId = id.parse().expect("an id");
        prefix.parse::<IdPrefix>().expect(prefix).fits(id.as_bytes())
    }

    #[test]
    fn a_prefix_matches_ids() {
        let id = "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061";
        for prefix in
            ["0192", "0192f", "0192F3C4", "0192f3c4-5", "0192f3c45", "0192f3c4-", "0192f3c45d6e-7", id]
        {
            assert!(fits(prefix, id), "{prefix}");
        }
        for prefix in ["0193", "0191f", "0192f3c5", "192f", "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5062"] {
            assert!(!fits(prefix, id), "{prefix}");
        }
        assert!(fits("01920", "01920fff-ffff-ffff-ffff-ffffffffffff"));
        assert!(!fits("01920", "01921000-0000-0000-0000-000000000000"));
        assert!(fits("ffff", "ffffffff-ffff-ffff-ffff-ffffffffffff"));
    }

    #[test]
    fn a_prefix_round_trips_and_may_be_a_whole_id() {
        for text in ["0192", "01920", "0192f3c45d6e7f809a0b1c2d3e4f5061"] {
            assert_eq!(text.parse::<IdPrefix>().map(|prefix| prefix.to_string()).as_deref(), Ok(text));
        }
        let id = TaskId::new();
        assert_eq!(id.to_string().parse::<IdPrefix>().map(|prefix| prefix.whole()), Ok(Some(id)));
        assert_eq!("0192".parse::<IdPrefix>().map(|prefix| prefix.whole()), Ok(None));
    }

    #[test]
    fn an_invalid_prefix_is_refused() {
        let long = "0".repeat(33);
        for bad in [
            "",
            "019",
            "01-92",
            "019-",
            "0192f3c4--5d",
            "0192f3c4-5d6e7f809a0b1c2d3e4f5061-",
            "0192g",
            "x192",
            "ü192",
            "0192 ",
            long.as_str(),
        ] {
            assert_eq!(bad.parse::<IdPrefix>(), Err(InvalidIdPrefix), "{bad}");
        }
    }
}
