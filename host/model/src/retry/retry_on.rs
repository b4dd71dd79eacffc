//! Which failures are retried.

use std::fmt;

use crate::Cause;

/// The kinds of failure that are retried while attempts are left; by default transient ones, see
/// [`Cause::is_transient`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOn(u16);

/// The kinds that a manifest can name, with a cause of each. Rejected input never changes, and host crashes
/// are not the plugin's business.
const KINDS: [(&str, Cause); 13] = [
    ("io", Cause::Io),
    ("plugin", Cause::Plugin),
    ("trap", Cause::Trap),
    ("timeout", Cause::Timeout),
    ("exit", Cause::Exit(0)),
    ("lost-plugin", Cause::LostPlugin),
    ("host-fault", Cause::HostFault),
    ("cpu-limit", Cause::CpuLimit),
    ("memory-limit", Cause::MemoryLimit),
    ("output-limit", Cause::OutputLimit),
    ("call-limit", Cause::CallLimit),
    ("handle-limit", Cause::HandleLimit),
    ("disk-limit", Cause::DiskLimit),
];

impl Default for RetryOn {
    fn default() -> Self {
        let transient = KINDS.iter().enumerate().filter(|(_, (_, cause))| cause.is_transient());
        Self(transient.fold(0, |bits, (bit, _)| bits | 1 << bit))
    }
}

impl RetryOn {
    /// Builds the set from the names of kinds.
    ///
    /// # Errors
    ///
    /// Fails on an unknown kind.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownKind> {
        let mut bits = 0;
        for word in words {
            let kind = KINDS.iter().position(|(kind, _)| *kind == word);
            bits |= 1 << kind.ok_or_else(|| UnknownKind { word: word.to_owned() })?;
        }
        Ok(Self(bits))
    }

    /// Returns true if this failure is retried.
    pub fn contains(self, cause: Cause) -> bool {
        let kind = if matches!(cause, Cause::Exit(_)) { Cause::Exit(0) } else { cause };
        KINDS.iter().position(|(_, named)| *named == kind).is_some_and(|bit| self.0 & 1 << bit != 0)
    }

    /// Returns the names of the kinds.
    pub fn words(self) -> Vec<&'static str> {
        let named = KINDS.iter().enumerate().filter(|(bit, _)| self.0 & 1 << bit != 0);
        named.map(|(_, (word, _))| *word).collect()
    }
}

/// The text is not a kind of failure that can be retried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownKind {
    word: String,
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = KINDS.iter().map(|(word, _)| *word).collect();
        write!(
            f,
            "'{}' is no kind of failure that can be tried again; known are {}",
            self.word,
            known.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_failures_are_retried_by_default() {
        let on = RetryOn::default();
        assert_eq!(on.words(), ["io", "plugin", "trap", "timeout", "exit", "lost-plugin", "host-fault"]);
        assert!(on.contains(Cause::Exit(3)) && !on.contains(Cause::InvalidInput));
    }

    #[test]
    fn only_named_failures_are_retried() {
        let on = RetryOn::of(["memory-limit", "exit"]).expect("known");
        assert!(on.contains(Cause::MemoryLimit) && on.contains(Cause::Exit(-1)) && !on.contains(Cause::Io));
        assert_eq!(RetryOn::of([]).expect("nothing").words(), [""; 0]);
        for word in ["invalid-input", "host-crash", "exit-3", ""] {
            assert!(RetryOn::of([word]).expect_err(word).to_string().contains("known are io"), "{word}");
        }
    }
}
