//! Labels by which clients find, group or identify tasks: tags, groups and unique keys.
//!
//! The API creates them, the store keeps them. They mean nothing to the host.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Maximum tags of a task.
pub const TAGS_MAX: usize = 16;

/// Maximum characters of a tag.
pub const TAG_CHARS_MAX: usize = 64;

/// Maximum characters of a unique key.
pub const KEY_CHARS_MAX: usize = 255;
/// Maximum characters of a group.
pub const GROUP_CHARS_MAX: usize = 64;

/// A tag: 1 to 64 characters without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

impl Tag {
    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        checked(text, TAG_CHARS_MAX).map(Self)
    }
}

/// A group of tasks within a plugin, such as a tenant: 1 to 64 characters without control characters. Groups
/// are served round robin. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(Arc<str>);

impl Group {
    /// Returns the group as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Group {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        checked(text, GROUP_CHARS_MAX).map(|text| Self(text.into()))
    }
}

/// A key that at most one unfinished task may hold: 1 to 255 characters without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UniqueKey(Box<str>);

impl UniqueKey {
    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UniqueKey {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        checked(text, KEY_CHARS_MAX).map(Self)
    }
}

/// The tasks among which a unique key is unique: a tenant must not learn that another one holds it. The default is that
/// of those who reach everything. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySpace(Arc<str>);

impl KeySpace {
    /// Names a space; the text has no control characters and no spaces, and is empty for the default.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if it is that of keys without a reach.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What happens to a new task whose unique key is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// The task is refused.
    #[default]
    Refuse,
    /// The holder is returned and nothing is stored.
    Return,
}

/// A unique key and its conflict policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// The key.
    pub key: UniqueKey,
    /// What happens if another task holds the key.
    pub on_conflict: OnConflict,
    /// Among which tasks it is unique.
    pub space: KeySpace,
}

/// The text is not a tag, a group or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1 to {chars_max} characters, none of them a control character")]
pub struct InvalidLabel {
    chars_max: usize,
}

pub(super) fn checked(text: &str, chars_max: usize) -> Result<Box<str>, InvalidLabel> {
    let fits = (1..=chars_max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits { Ok(text.into()) } else { Err(InvalidLabel { chars_max }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_texts_without_control_characters() {
        for good in ["a", "tenant:42", "ümlaut, or two", &"ü".repeat(64)] {
            assert_eq!(good.parse::<Tag>().expect("valid").as_str(), good);
            assert_eq!(good.parse::<Group>().expect("valid").as_str(), good);
            assert_eq!(good.parse::<UniqueKey>().expect("valid").as_str(), good);
        }
        for bad in ["", "a\nb", "\u{0}", "\u{7f}", &"x".repeat(256)] {
            assert!(bad.parse::<Tag>().is_err() && bad.parse::<UniqueKey>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(65).parse::<Tag>().is_err() && "x".repeat(65).parse::<Group>().is_err());
        assert!("x".repeat(255).parse::<UniqueKey>().is_ok());
    }
}
