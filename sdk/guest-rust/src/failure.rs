//! How a task fails.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::time::Duration;

use crate::host::{StopRequested, nanoseconds};
use crate::{Failure, FailureKind, Retry, SaveError, SubmitError};

impl Failure {
    /// Returns the failure of an external operation, such as a request. Reported as `failed by io bound`.
    pub fn io(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Io, message: message.into(), retry: None }
    }

    /// Returns the failure of an input that is not usable. Never retried.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::InvalidInput, message: message.into(), retry: None }
    }

    /// Returns any other failure. Reported as `failed by plugin error`.
    pub fn other(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Other, message: message.into(), retry: None }
    }

    /// Says that another attempt would fail, too.
    #[must_use]
    pub fn never_retried(self) -> Self {
        Self { retry: Some(Retry::Never), ..self }
    }

    /// Says that another attempt is of use after this time at the earliest, at most 7 days.
    #[must_use]
    pub fn retried_after(self, time: Duration) -> Self {
        Self { retry: Some(Retry::After(nanoseconds(time))), ..self }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::other(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::other(message)
    }
}

#[cfg(feature = "std")]
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::io(std::string::ToString::to_string(&error))
    }
}

/// What was refused fails again; the rest passes.
impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(why) => Self::other(why).never_retried(),
            SubmitError::Unavailable(why) => Self::io(why),
        }
    }
}

impl From<StopRequested> for Failure {
    fn from(_: StopRequested) -> Self {
        Self::other("stopped, as the host asked")
    }
}

impl From<SaveError> for Failure {
    fn from(error: SaveError) -> Self {
        Self::other(match error {
            SaveError::TooLarge(_) => {
                "the checkpoint was not saved: it exceeds the limit of the plugin".to_owned()
            }
            SaveError::Unavailable(reason) => ["the checkpoint was not saved: ", &reason].concat(),
        })
    }
}
