//! Versions in trusted comments: numbers with dots between them, such as `7` and `1.10.2`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The maximum count of numbers.
const PARTS_MAX: usize = 8;

/// The version that the signature of a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    /// The file relative to the plugin.
    pub(crate) file: String,
    pub(crate) version: Version,
}

/// A version.
#[derive(Clone, Debug)]
pub(crate) struct Version(Vec<u64>);

impl Version {
    /// Returns the number at a position; a version continues with zeros.
    fn at(&self, position: usize) -> u64 {
        self.0.get(position).copied().unwrap_or(0)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("its version '{}' is not of numbers with dots between them", text.escape_debug());
        let number = |part: &str| {
            let is_plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| is_plain).ok_or_else(invalid)
        };
        let parts = text.split('.').take(PARTS_MAX + 1).map(number).collect::<Result<Vec<u64>, _>>()?;
        if parts.len() > PARTS_MAX { Err(invalid()) } else { Ok(Self(parts)) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if position == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = 0..self.0.len().max(other.0.len());
        parts
            .map(|part| self.at(part).cmp(&other.at(part)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect(text)
    }

    #[test]
    fn numbers_are_compared_one_by_one() {
        for (older, newer) in [("1", "2"), ("1.9", "1.10"), ("1", "1.0.1"), ("0.9.9", "1"), ("9", "10")] {
            assert!(version(older) < version(newer), "{older} {newer}");
        }
        assert_eq!(version("1.0"), version("1"));
        assert_eq!(version("1.10.2").to_string(), "1.10.2");
    }

    #[test]
    fn other_texts_are_no_versions() {
        for text in
            ["", ".", "1.", "v1", "1-rc1", "+1", "-1", "1..2", "18446744073709551616", "1.1.1.1.1.1.1.1.1"]
        {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
