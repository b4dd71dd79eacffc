//! The exit codes of the commands, and errors that know theirs.
//!
//! Every command ends with one of these; `--help` and the README list them.

use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// What the exit code of a command says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is done; of a task that was run or waited for: it completed.
    Done = 0,
    /// The task failed, or the command did.
    Failed = 1,
    /// What was asked for makes no sense, and changed nothing. clap ends with this one, too.
    Usage = 2,
    /// The task was cancelled, or its run was stopped here.
    Cancelled = 3,
    /// The server cannot be reached, or cannot serve just now.
    Unreachable = 4,
    /// There is no such task, plugin or file.
    NotFound = 5,
    /// The state of the task does not allow it: it has ended already, or has not ended yet.
    Conflict = 6,
    /// The command gave up waiting because it was interrupted; the task goes on.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that says how the process ends.
#[derive(Debug)]
struct Told {
    exit: Exit,
    message: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Told {}

/// Makes an error that ends the process with this code.
pub(crate) fn told(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Told { exit, message: message.into() }.into()
}

/// Makes the error of a file that cannot be read.
pub(crate) fn unread(shown: impl fmt::Display, error: &io::Error) -> anyhow::Error {
    let exit = if error.kind() == ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
    told(exit, format!("failed to read {shown}: {error}"))
}

/// Makes an error of the settings, of flags, variables or a file: none of them makes sense to try again.
///
/// An error that knows its code keeps it, as that of a file that is not there does.
pub(crate) fn of_settings(error: anyhow::Error) -> anyhow::Error {
    if error.chain().any(<dyn std::error::Error>::is::<Told>) {
        return error;
    }
    told(Exit::Usage, format!("{error:#}"))
}

/// Returns the code that an error ends the process with.
pub(crate) fn of(error: &anyhow::Error) -> Exit {
    let told = error.chain().find_map(|cause| cause.downcast_ref::<Told>());
    told.map_or(Exit::Failed, |told| told.exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_under_any_context() {
        let error = told(Exit::NotFound, "there is no task").context("failed to cancel");
        assert_eq!(of(&error), Exit::NotFound);
        assert_eq!(format!("{error:#}"), "failed to cancel: there is no task");
        assert_eq!(of(&anyhow::anyhow!("something else")), Exit::Failed);
    }
}
