//! Suffixes of task ids, as people copy them: ids created in the same minute differ there.

use std::fmt;
use std::str::FromStr;

/// Minimum digits: fewer would match nearly every task.
const DIGITS_MIN: usize = 4;

/// Digits of a whole id.
const DIGITS_MAX: usize = 32;

/// A suffix of a task id: at least four hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdEnd {
    value: u128,
    digits: usize,
}

impl IdEnd {
    /// Returns true if an id has this suffix.
    pub fn fits(&self, id: &[u8; 16]) -> bool {
        let unused = 4 * (DIGITS_MAX - self.digits);
        (u128::from_be_bytes(*id) ^ self.value) << unused == 0
    }
}

impl FromStr for IdEnd {
    type Err = InvalidIdEnd;

    fn from_str(text: &str) -> Result<Self, InvalidIdEnd> {
        let is_end = (DIGITS_MIN..=DIGITS_MAX).contains(&text.len())
            && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let value = u128::from_str_radix(text, 16).ok().filter(|_| is_end);
        Ok(Self { value: value.ok_or(InvalidIdEnd)?, digits: text.len() })
    }
}

impl fmt::Display for IdEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0digits$x}", self.value, digits = self.digits)
    }
}

/// The text is not an id suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the end of an id is 4 to 32 hexadecimal digits, without hyphens, such as 3e4f5061")]
pub struct InvalidIdEnd;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskId;

    #[test]
    fn a_suffix_matches_ids() {
        let id: TaskId = "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061".parse().expect("an id");
        for (end, fits) in [
            ("5061", true),
            ("f5061", true),
            ("9A0B1c2d3e4f5061", true),
            ("0192f3c45d6e7f809a0b1c2d3e4f5061", true),
            ("5062", false),
            ("05061", false),
            ("1192f3c45d6e7f809a0b1c2d3e4f5061", false),
        ] {
            let end: IdEnd = end.parse().expect(end);
            assert_eq!(end.fits(id.as_bytes()), fits, "{end}");
        }
    }

    #[test]
    fn a_suffix_round_trips_and_an_invalid_one_is_refused() {
        for text in ["0061", "5061", "00000000000000000000000000000000"] {
            assert_eq!(text.parse::<IdEnd>().map(|end| end.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", "061", "506g", "+506", "50-61", "ü061", "000000000000000000000000000000000"] {
            assert_eq!(bad.parse::<IdEnd>(), Err(InvalidIdEnd), "{bad}");
        }
    }
}
