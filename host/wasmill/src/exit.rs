//! The exit codes of the commands, and errors that carry one.
//!
//! Every command exits with one of these; `--help` lists them, and the page of the command line gets them from there.

use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    /// clap exits with this code too.
    Usage = 2,
    Cancelled = 3,
    Unreachable = 4,
    NotFound = 5,
    Conflict = 6,
    Interrupted = 130,
}

impl Exit {
    /// Returns the codes and their meanings, for `--help`.
    pub(crate) fn help() -> String {
        let meanings = [
            (Self::Done, "success; if the command ran or waited for a task: it completed"),
            (Self::Failed, "the task or the command failed"),
            (Self::Usage, "usage error or invalid setting, or request rejected; nothing was changed"),
            (Self::Cancelled, "the task was cancelled, or its run was stopped"),
            (Self::Unreachable, "the server is unreachable or unavailable"),
            (Self::NotFound, "task, plugin or file not found"),
            (Self::Conflict, "wrong task state: already finished, or not finished yet"),
            (Self::Interrupted, "interrupted while waiting for a task; the task keeps running"),
        ];
        let lines = meanings.map(|(exit, meaning)| format!("  {:<3}  {meaning}", exit as u8));
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with an exit code.
#[derive(Debug)]
struct CliError {
    exit: Exit,
    message: String,
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

/// Returns an error that exits with this code.
pub(crate) fn cli_error(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    CliError { exit, message: message.into() }.into()
}

/// Returns the error for a file that cannot be read.
pub(crate) fn read_error(shown: impl fmt::Display, error: &io::Error) -> anyhow::Error {
    let exit = if error.kind() == ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
    cli_error(exit, format!("failed to read {shown}: {error}"))
}

/// Returns the error for invalid settings, from flags, variables or a file, which exits with [`Exit::Usage`].
///
/// An error that has an exit code keeps it, such as the one for a missing file.
pub(crate) fn settings_error(error: anyhow::Error) -> anyhow::Error {
    if error.chain().any(<dyn std::error::Error>::is::<CliError>) {
        return error;
    }
    cli_error(Exit::Usage, format!("{error:#}"))
}

pub(crate) fn code_of(error: &anyhow::Error) -> Exit {
    let cli_error = error.chain().find_map(|cause| cause.downcast_ref::<CliError>());
    cli_error.map_or(Exit::Failed, |cli_error| cli_error.exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_with_context() {
        let error = cli_error(Exit::NotFound, "there is no task").context("failed to cancel");
        assert_eq!(code_of(&error), Exit::NotFound);
        assert_eq!(format!("{error:#}"), "failed to cancel: there is no task");
        assert_eq!(code_of(&anyhow::anyhow!("something else")), Exit::Failed);
    }
}
