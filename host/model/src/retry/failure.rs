//! Failures of runs. The scheduler stores them, the API words them, the retry rules read them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Declares the causes. A row is the variant, its code, the text after `failed by` in the status, and two words: whether
/// another attempt may end differently (`transient`) or fails again (`lasting`), and whether a manifest may name it
/// in `retry.on`.
macro_rules! causes {
    ($($(#[$doc:meta])+ $name:ident $(($value:ty))?: $kind:literal, $words:literal, $again:ident, $named:ident;)+) => {
        /// Why a run failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause {
            $($(#[$doc])+ $name $(($value))?,)+
        }

        impl Cause {
            /// One of each kind.
            pub const ALL: &[Self] = &[$(Self::$name $((0 as $value))?),+];

            /// Returns the code without an exit code, so the set of values is fixed.
            pub fn kind(self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $kind,)+
                }
            }

            /// Returns true if another attempt may end differently.
            ///
            /// Rejected input and exceeded limits will fail again; everything else may pass.
            pub fn is_transient(self) -> bool {
                match self {
                    $(Self::$name { .. } => causes!(@$again),)+
                }
            }

            /// Returns true if a manifest may name it. Rejected input never changes, and host crashes are not the
            /// plugin's business.
            pub(crate) fn is_named(self) -> bool {
                match self {
                    $(Self::$name { .. } => causes!(@$named),)+
                }
            }

            /// Returns the text that follows `failed by` in the status.
            pub fn words(self) -> String {
                let words = match self {
                    $(Self::$name { .. } => $words,)+
                };
                if let Self::Exit(code) = self { format!("{words} {code}") } else { words.to_owned() }
            }
        }
    };
    (@transient) => { true };
    (@lasting) => { false };
    (@named) => { true };
    (@unnamed) => { false };
}

causes! {
    /// The plugin reported an I/O error.
    Io: "io", "io bound", transient, named;
    /// The plugin rejected the input.
    InvalidInput: "invalid-input", "invalid input", lasting, unnamed;
    /// The plugin reported another error.
    Plugin: "plugin", "plugin error", transient, named;
    /// The guest trapped: `unreachable`, a panic, a stack overflow, an access out of bounds.
    Trap: "trap", "trap", transient, named;
    /// The attempt took longer than its timeout.
    Timeout: "timeout", "timeout", transient, named;
    /// The guest exited with this code.
    Exit(i32): "exit", "exit code", transient, named;
    /// The plugin was removed between claim and run.
    LostPlugin: "lost-plugin", "lost plugin", transient, named;
    /// The host crashed during the run, too often.
    HostCrash: "host-crash", "crash of the host", transient, unnamed;
    /// The host failed to run the task; the guest is not to blame.
    HostFault: "host-fault", "fault of the host", transient, named;
    /// The attempt exceeded its CPU limit.
    CpuLimit: "cpu-limit", "cpu limit", lasting, named;
    /// The guest exceeded its memory limit.
    MemoryLimit: "memory-limit", "memory limit", lasting, named;
    /// The result exceeded its limit.
    ResultLimit: "result-limit", "result limit", lasting, named;
    /// A call of the guest passed the host more than its limit.
    CallLimit: "call-limit", "call limit", lasting, named;
    /// The guest exceeded its limit of handles.
    HandleLimit: "handle-limit", "handle limit", lasting, named;
    /// The guest exceeded its limit of disk writes and failed for it.
    DiskLimit: "disk-limit", "disk limit", lasting, named;
    /// The task never ran: it was cancelled because a dependency did not complete.
    Dependency: "dependency", "dependency", lasting, unnamed;
    /// The task was cancelled because its parent ended.
    Parent: "parent", "parent", lasting, unnamed;
    /// The task never ran: what was put into the inbox of the database is no valid task.
    InvalidRequest: "invalid-request", "invalid request", lasting, unnamed;
}

/// Writes the code used in the API and in the store, such as `io` or `exit-3`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        if let Self::Exit(code) = self { write!(f, "-{code}") } else { Ok(()) }
    }
}

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(code: &str) -> Result<Self, UnknownCause> {
        let known = Self::ALL.iter().find(|cause| cause.kind() == code && !matches!(cause, Self::Exit(_)));
        let exit = || code.strip_prefix("exit-")?.parse().ok().map(Self::Exit);
        known.copied().or_else(exit).ok_or(UnknownCause)
    }
}

/// The text is not a code of a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown cause of failure")]
pub struct UnknownCause;

/// Selects failures by their cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CauseFilter {
    /// This cause; of an exit, this code.
    One(Cause),
    /// An exit with any code.
    AnyExit,
}

impl CauseFilter {
    /// Returns true if it selects the cause with this code.
    pub fn matches(self, code: &str) -> bool {
        match self {
            Self::One(cause) => code == cause.to_string(),
            Self::AnyExit => code.starts_with("exit-"),
        }
    }
}

/// Writes the code of the cause, or `exit` for any exit.
impl fmt::Display for CauseFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(cause) => cause.fmt(f),
            Self::AnyExit => f.write_str(Cause::Exit(0).kind()),
        }
    }
}

impl FromStr for CauseFilter {
    type Err = UnknownCause;

    fn from_str(code: &str) -> Result<Self, UnknownCause> {
        if code == Cause::Exit(0).kind() { Ok(Self::AnyExit) } else { code.parse().map(Self::One) }
    }
}

/// A failure: a cause for machines and a message for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {message}")]
pub struct Failure {
    /// The cause.
    pub cause: Cause,
    /// The message, written by the plugin or the host.
    pub message: String,
    /// What the plugin asked for. Read at the end of the run, and not stored.
    pub retry: Option<Retry>,
}

impl Failure {
    /// Builds a failure.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), retry: None }
    }
}

/// What a plugin asks for when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No further attempt.
    Never,
    /// If there is a further attempt, it starts after this time instead of the backoff.
    After(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_round_trips() {
        for cause in Cause::ALL.iter().chain(&[Cause::Exit(3), Cause::Exit(-1)]) {
            assert_eq!(cause.to_string().parse(), Ok(*cause));
        }
        assert_eq!("exit-".parse::<Cause>(), Err(UnknownCause));
        assert_eq!("".parse::<Cause>(), Err(UnknownCause));
    }

    #[test]
    fn a_kind_is_the_code_without_an_exit_code() {
        for cause in [Cause::Io, Cause::CpuLimit, Cause::HostFault, Cause::LostPlugin] {
            assert_eq!(cause.kind(), cause.to_string());
        }
        assert_eq!((Cause::Exit(3).kind(), Cause::Exit(3).to_string()), ("exit", "exit-3".to_owned()));
    }

    #[test]
    fn a_cause_is_selected_by_its_code_and_an_exit_with_or_without_one() {
        for (filter, selected, others) in [
            ("io", &["io"][..], &["invalid-input", "exit-1", ""][..]),
            ("exit", &["exit-1", "exit--1"], &["io", "exit"]),
            ("exit-3", &["exit-3"], &["exit-33", "exit-1"]),
        ] {
            let parsed: CauseFilter = filter.parse().expect("a filter");
            assert_eq!(parsed.to_string(), filter);
            assert!(selected.iter().all(|code| parsed.matches(code)), "{filter}");
            assert!(!others.iter().any(|code| parsed.matches(code)), "{filter}");
        }
        assert_eq!("exit-".parse::<CauseFilter>(), Err(UnknownCause));
        assert_eq!("unheard-of".parse::<CauseFilter>(), Err(UnknownCause));
    }

    #[test]
    fn rejected_input_and_exceeded_limits_are_not_retried() {
        let lasting: Vec<_> = Cause::ALL.iter().copied().filter(|cause| !cause.is_transient()).collect();
        assert_eq!(
            lasting,
            [
                Cause::InvalidInput,
                Cause::CpuLimit,
                Cause::MemoryLimit,
                Cause::ResultLimit,
                Cause::CallLimit,
                Cause::HandleLimit,
                Cause::DiskLimit,
                Cause::Dependency,
                Cause::Parent,
                Cause::InvalidRequest,
            ]
        );
    }
}
