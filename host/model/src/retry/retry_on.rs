//! Which failures are retried.

use std::fmt;

use crate::Cause;

/// The kinds of failure that are retried while attempts are left; by default transient ones, see
/// [`Cause::is_transient`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOn(u32);

/// Returns the kinds that a manifest can name, each with its bit.
fn named() -> impl Iterator<Item = (u32, Cause)> {
    let all = Cause::ALL.iter().enumerate().map(|(place, cause)| (1 << place, *cause));
    all.filter(|(_, cause)| cause.is_named())
}

impl Default for RetryOn {
    fn default() -> Self {
        let transient = named().filter(|(_, cause)| cause.is_transient());
        Self(transient.fold(0, |bits, (bit, _)| bits | bit))
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
            let kind = named().find(|(_, cause)| cause.kind() == word);
            bits |= kind.ok_or_else(|| UnknownKind { word: word.to_owned() })?.0;
        }
        Ok(Self(bits))
    }

    /// Returns true if this failure is retried.
    pub fn contains(self, cause: Cause) -> bool {
        named().any(|(bit, named)| named.kind() == cause.kind() && self.0 & bit != 0)
    }

    /// Returns the names of the kinds.
    pub fn words(self) -> Vec<&'static str> {
        named().filter(|(bit, _)| self.0 & bit != 0).map(|(_, cause)| cause.kind()).collect()
    }
}

/// The text is not a kind of failure that can be retried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownKind {
    word: String,
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = named().map(|(_, cause)| cause.kind()).collect();
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
