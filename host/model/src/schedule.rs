//! Schedule names, and the policy for missed runs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::plugin::is_name;
use crate::{KeySpace, PluginName};

/// Length of a space of keys with a reach, in hexadecimal digits.
const SPACE_CHARS: usize = 32;

/// A schedule name, like a plugin name: `[a-z0-9][a-z0-9._-]{0,63}`. Cheap to clone.
///
/// That of a key with a reach has the [space](KeySpace) of the reach before it, and a colon, so that keys of other reaches
/// meet no name of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScheduleName(Arc<str>);

impl ScheduleName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns this name within a space; that of keys without a reach changes nothing.
    #[must_use]
    pub fn within(self, space: &KeySpace) -> Self {
        if space.is_empty() { self } else { Self(format!("{}:{}", space.as_str(), self.chosen()).into()) }
    }

    /// Returns the space that it is within.
    pub fn space(&self) -> KeySpace {
        KeySpace::new(self.0.split_once(':').map_or("", |(space, _)| space))
    }

    /// Returns the name that its key chose.
    pub fn chosen(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(_, chosen)| chosen)
    }

    /// Returns the name that its key chose, as a name of no space.
    #[must_use]
    pub fn without_space(self) -> Self {
        if self.0.contains(':') { Self(self.chosen().into()) } else { self }
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ScheduleName {
    type Err = InvalidScheduleName;

    fn from_str(name: &str) -> Result<Self, InvalidScheduleName> {
        let is_space = |space: &str| {
            space.len() == SPACE_CHARS && space.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_valid = match name.split_once(':') {
            Some((space, chosen)) => is_space(space) && is_name(chosen),
            None => is_name(name),
        };
        if is_valid { Ok(Self(name.into())) } else { Err(InvalidScheduleName) }
    }
}

/// The schedule of a plugin's manifest has the name of the plugin.
impl From<&PluginName> for ScheduleName {
    fn from(plugin: &PluginName) -> Self {
        Self(plugin.as_str().into())
    }
}

/// The text is not a schedule name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a schedule is 1 to 64 of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit")]
pub struct InvalidScheduleName;

/// What happens to runs that could not start when they were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedPolicy {
    /// Skip them.
    Skip,
    /// Start one for all of them.
    #[default]
    One,
    /// Start all of them, or the newest if there are too many.
    All,
}

impl MissedPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Skip, Self::One, Self::All];

    /// Returns the name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::One => "one",
            Self::All => "all",
        }
    }

    /// Parses the name used in the API.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|missed| missed.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_within_a_space() {
        let space = KeySpace::new("0123456789abcdef0123456789abcdef");
        let name: ScheduleName = "nightly".parse().expect("valid");
        let within = name.clone().within(&space);
        assert_eq!(within.as_str(), "0123456789abcdef0123456789abcdef:nightly");
        assert_eq!(
            (within.chosen(), within.space(), name.space()),
            ("nightly", space.clone(), KeySpace::default())
        );
        assert_eq!(within.as_str().parse(), Ok(within.clone()));
        assert_eq!((within.clone().within(&space), within.clone().without_space()), (within, name.clone()));
        assert_eq!(name.clone().within(&KeySpace::default()), name);
        for bad in ["0123:a", ":a", "0123456789abcdef0123456789abcdef:", "0123456789ABCDEF0123456789abcdef:a"]
        {
            assert_eq!(bad.parse::<ScheduleName>(), Err(InvalidScheduleName), "{bad:?}");
        }
    }

    #[test]
    fn schedules_are_named_like_plugins() {
        assert_eq!(
            "nightly.2_x-y".parse::<ScheduleName>().map(|name| name.to_string()),
            Ok("nightly.2_x-y".to_owned())
        );
        for bad in ["", "-a", "A", "a b", "a/b", &"a".repeat(65)] {
            assert_eq!(bad.parse::<ScheduleName>(), Err(InvalidScheduleName), "{bad:?}");
        }
    }

    #[test]
    fn each_policy_has_a_name() {
        for missed in MissedPolicy::ALL {
            assert_eq!(MissedPolicy::of(missed.as_str()), Some(missed));
        }
        assert_eq!((MissedPolicy::of("none"), MissedPolicy::default()), (None, MissedPolicy::One));
    }
}
