//! Which failures are worth another attempt.

use std::fmt;

use crate::Cause;

/// The kinds of failures that another attempt follows, if there is one left; by default those that may
/// pass by themselves, see [`Cause::is_transient`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOn(u16);

/// A cause of each kind that can be named, with its word. Input that was refused stays so, and a crash of
/// the host is none of the plugin's business.
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
    /// Makes it of the words for the kinds.
    ///
    /// # Errors
    ///
    /// Refuses a word that is no kind.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownKind> {
        let mut bits = 0;
        for word in words {
            let kind = KINDS.iter().position(|(kind, _)| *kind == word);
            bits |= 1 << kind.ok_or_else(|| UnknownKind { word: word.to_owned() })?;
        }
        Ok(Self(bits))
    }

    /// Says whether another attempt follows this failure.
    pub fn contains(self, cause: Cause) -> bool {
        let kind = if matches!(cause, Cause::Exit(_)) { Cause::Exit(0) } else { cause };
        KINDS.iter().position(|(_, named)| *named == kind).is_some_and(|bit| self.0 & 1 << bit != 0)
    }

    /// Returns the words for the kinds.
    pub fn words(self) -> Vec<&'static str> {
        let named = KINDS.iter().enumerate().filter(|(bit, _)| self.0 & 1 << bit != 0);
        named.map(|(_, (word, _))| *word).collect()
    }
}

/// The word is no kind of failure that may be tried again.
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
    fn by_default_what_may_pass_is_tried_again() {
        let on = RetryOn::default();
        assert_eq!(on.words(), ["io", "plugin", "trap", "timeout", "exit", "lost-plugin", "host-fault"]);
        assert!(on.contains(Cause::Exit(3)) && !on.contains(Cause::InvalidInput));
    }

    #[test]
    fn only_what_is_named_is_tried_again() {
        let on = RetryOn::of(["memory-limit", "exit"]).expect("known");
        assert!(on.contains(Cause::MemoryLimit) && on.contains(Cause::Exit(-1)) && !on.contains(Cause::Io));
        assert_eq!(RetryOn::of([]).expect("nothing").words(), [""; 0]);
        for word in ["invalid-input", "host-crash", "exit-3", ""] {
            assert!(RetryOn::of([word]).expect_err(word).to_string().contains("known are io"), "{word}");
        }
    }
}
