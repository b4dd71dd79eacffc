//! Plugin names, which are also the stems of their files.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A plugin's name: `[a-z0-9][a-z0-9._-]{0,63}`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName(Arc<str>);

impl PluginName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for PluginName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl FromStr for PluginName {
    type Err = InvalidPluginName;

    fn from_str(name: &str) -> Result<Self, InvalidPluginName> {
        if is_name(name) { Ok(Self(name.into())) } else { Err(InvalidPluginName) }
    }
}

/// Returns true if this is a valid name of a plugin or a schedule.
pub(crate) fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    match name.as_bytes() {
        [head, tail @ ..] => first(*head) && tail.len() < 64 && tail.iter().all(|&b| inner(b)),
        [] => false,
    }
}

/// The text is not a plugin name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plugin name is 1 to 64 of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit")]
pub struct InvalidPluginName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in ["a", "io-stub", "0.1_x", &"a".repeat(64)] {
            assert_eq!(good.parse::<PluginName>().expect("valid").as_str(), good);
        }
        for bad in ["", "-a", ".a", "A", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert_eq!(bad.parse::<PluginName>(), Err(InvalidPluginName), "{bad:?}");
        }
    }
}
