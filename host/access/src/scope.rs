//! What a key may do.

use std::fmt;
use std::str::FromStr;

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// States, counts, times and usage; no inputs, results, logs, notes and error messages.
    Watch,
    /// `watch`, and those.
    Read,
    /// Submit and retry tasks, and read those that the same key submitted.
    Submit,
    /// Cancel and delete tasks.
    Cancel,
    /// Set, delete, pause and run schedules.
    Schedule,
    /// Upload, delete and pause plugins.
    Plugins,
    /// The metrics.
    Metrics,
    /// Everything.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 8] = [
        Self::Watch,
        Self::Read,
        Self::Submit,
        Self::Cancel,
        Self::Schedule,
        Self::Plugins,
        Self::Metrics,
        Self::Admin,
    ];

    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Cancel => "cancel",
            Self::Schedule => "schedule",
            Self::Plugins => "plugins",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }

    /// Returns what it allows, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Watch => {
                "states, counts, times, usage, plugins, schedules and events; no inputs, results, logs, notes and \
                 error messages"
            }
            Self::Read => "everything that `watch` allows, and those",
            Self::Submit => "submit and retry tasks, and read those that the same key submitted",
            Self::Cancel => "cancel and delete tasks",
            Self::Schedule => "set, delete, pause and run schedules",
            Self::Plugins => "upload, delete, pause and resume plugins",
            Self::Metrics => "read the metrics",
            Self::Admin => "everything, including to pause and drain the server and to use the debug port",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The text names no scope.
#[derive(Debug, thiserror::Error)]
#[error("unknown scope '{0}'; use watch, read, submit, cancel, schedule, plugins, metrics or admin")]
pub struct InvalidScope(String);

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let scope = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        scope.ok_or_else(|| InvalidScope(text.chars().take(40).collect()))
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Returns true if a scope is in the set, or implied by one that is: `admin` implies all, `read` implies `watch`.
    pub fn allow(self, scope: Scope) -> bool {
        let implied_by_read = if scope == Scope::Watch { Scope::Read.bit() } else { 0 };
        self.0 & (scope.bit() | Scope::Admin.bit() | implied_by_read) != 0
    }

    /// Returns the scopes that were given.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0)
    }

    /// Returns true if the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::as_str).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_read_and_admin_imply_another_scope() {
        for given in Scope::ALL {
            let scopes: Scopes = [given].into_iter().collect();
            for asked in Scope::ALL {
                let implied = given == Scope::Admin || (given, asked) == (Scope::Read, Scope::Watch);
                assert_eq!(scopes.allow(asked), given == asked || implied, "{given:?} {asked:?}");
            }
        }
        assert!(Scope::ALL.into_iter().all(|scope| !Scopes::default().allow(scope)));
    }

    #[test]
    fn scopes_are_written_as_they_are_read() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse::<Scope>().unwrap(), scope);
        }
        assert!("Admin".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
        let scopes: Scopes = [Scope::Submit, Scope::Watch].into_iter().collect();
        assert_eq!(scopes.to_string(), "watch,submit");
    }
}
