//! Failures of runs. The scheduler stores them, the API words them, the retry rules read them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The plugin reported an I/O error.
    Io,
    /// The plugin rejected the input.
    InvalidInput,
    /// The plugin reported another error.
    Plugin,
    /// The guest trapped: `unreachable`, a panic, a stack overflow, an access out of bounds.
    Trap,
    /// The attempt took longer than its timeout.
    Timeout,
    /// The attempt exceeded its CPU limit.
    CpuLimit,
    /// The guest exceeded its memory limit.
    MemoryLimit,
    /// The result exceeded its limit.
    OutputLimit,
    /// A call of the guest passed the host more than its limit.
    CallLimit,
    /// The guest exceeded its limit of handles.
    HandleLimit,
    /// The guest exceeded its limit of disk writes and failed for it.
    DiskLimit,
    /// The guest exited with this code.
    Exit(i32),
    /// The plugin was removed between claim and run.
    LostPlugin,
    /// The host crashed during the run, too often.
    HostCrash,
    /// The host failed to run the task; the guest is not to blame.
    HostFault,
    /// The task never ran: it was cancelled because a dependency did not complete.
    Dependency,
}

impl Cause {
    /// Returns the code without an exit code, so the set of values is fixed.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::InvalidInput => "invalid-input",
            Self::Plugin => "plugin",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::CpuLimit => "cpu-limit",
            Self::MemoryLimit => "memory-limit",
            Self::OutputLimit => "output-limit",
            Self::CallLimit => "call-limit",
            Self::HandleLimit => "handle-limit",
            Self::DiskLimit => "disk-limit",
            Self::Exit(_) => "exit",
            Self::LostPlugin => "lost-plugin",
            Self::HostCrash => "host-crash",
            Self::HostFault => "host-fault",
            Self::Dependency => "dependency",
        }
    }

    /// Returns true if another attempt may end differently.
    ///
    /// Rejected input and exceeded limits will fail again; everything else may pass.
    pub fn is_transient(self) -> bool {
        match self {
            Self::InvalidInput
            | Self::CpuLimit
            | Self::MemoryLimit
            | Self::OutputLimit
            | Self::CallLimit
            | Self::HandleLimit
            | Self::DiskLimit
            | Self::Dependency => false,
            Self::Io
            | Self::Plugin
            | Self::Trap
            | Self::Timeout
            | Self::Exit(_)
            | Self::LostPlugin
            | Self::HostCrash
            | Self::HostFault => true,
        }
    }

    /// Returns the text that follows `failed by` in the status.
    pub fn words(self) -> String {
        match self {
            Self::Io => "io bound".to_owned(),
            Self::InvalidInput => "invalid input".to_owned(),
            Self::Plugin => "plugin error".to_owned(),
            Self::Trap => "trap".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::CpuLimit => "cpu limit".to_owned(),
            Self::MemoryLimit => "memory limit".to_owned(),
            Self::OutputLimit => "output limit".to_owned(),
            Self::CallLimit => "call limit".to_owned(),
            Self::HandleLimit => "handle limit".to_owned(),
            Self::DiskLimit => "disk limit".to_owned(),
            Self::Exit(code) => format!("exit code {code}"),
            Self::LostPlugin => "lost plugin".to_owned(),
            Self::HostCrash => "crash of the host".to_owned(),
            Self::HostFault => "fault of the host".to_owned(),
            Self::Dependency => "dependency".to_owned(),
        }
    }
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
        Ok(match code {
            "io" => Self::Io,
            "invalid-input" => Self::InvalidInput,
            "plugin" => Self::Plugin,
            "trap" => Self::Trap,
            "timeout" => Self::Timeout,
            "cpu-limit" => Self::CpuLimit,
            "memory-limit" => Self::MemoryLimit,
            "output-limit" => Self::OutputLimit,
            "call-limit" => Self::CallLimit,
            "handle-limit" => Self::HandleLimit,
            "disk-limit" => Self::DiskLimit,
            "lost-plugin" => Self::LostPlugin,
            "host-crash" => Self::HostCrash,
            "host-fault" => Self::HostFault,
            "dependency" => Self::Dependency,
            _ => {
                let code = code.strip_prefix("exit-").and_then(|n| n.parse().ok());
                Self::Exit(code.ok_or(UnknownCause)?)
            }
        })
    }
}

/// The text is not a code of a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown cause of failure")]
pub struct UnknownCause;

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

    const ALL: [Cause; 17] = [
        Cause::Io,
        Cause::InvalidInput,
        Cause::Plugin,
        Cause::Trap,
        Cause::Timeout,
        Cause::CpuLimit,
        Cause::MemoryLimit,
        Cause::OutputLimit,
        Cause::CallLimit,
        Cause::HandleLimit,
        Cause::DiskLimit,
        Cause::Exit(3),
        Cause::Exit(-1),
        Cause::LostPlugin,
        Cause::HostCrash,
        Cause::HostFault,
        Cause::Dependency,
    ];

    #[test]
    fn a_cause_round_trips() {
        for cause in ALL {
            assert_eq!(cause.to_string().parse(), Ok(cause));
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
    fn rejected_input_and_exceeded_limits_are_not_retried() {
        let lasting: Vec<_> = ALL.into_iter().filter(|cause| !cause.is_transient()).collect();
        assert_eq!(
            lasting,
            [
                Cause::InvalidInput,
                Cause::CpuLimit,
                Cause::MemoryLimit,
                Cause::OutputLimit,
                Cause::CallLimit,
                Cause::HandleLimit,
                Cause::DiskLimit,
                Cause::Dependency,
            ]
        );
    }
}
