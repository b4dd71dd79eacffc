//! Schedule names, and the policy for missed runs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::PluginName;
use crate::plugin::is_name;

/// A schedule name, like a plugin name: `[a-z0-9][a-z0-9._-]{0,63}`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScheduleName(Arc<str>);

impl ScheduleName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
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
        if is_name(name) { Ok(Self(name.into())) } else { Err(InvalidScheduleName) }
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
