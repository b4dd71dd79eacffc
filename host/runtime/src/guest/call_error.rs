//! Errors with which a host call ends the guest; `outcome` maps them to failures.

use wasmill_model::{Cause, Failure};

use crate::error::format;

/// The host ends the run with this failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RunEnded(pub(crate) Failure);

/// The guest exited with a failure and without a code: `exit` of WASI 0.2 carries none.
#[derive(Debug, thiserror::Error)]
#[error("the guest exited with a failure")]
pub(crate) struct ExitedWithoutCode;

/// Returns the failure of a run for which the host could not do its part; the guest is not to blame.
pub(crate) fn host_fault(reason: impl std::fmt::Display) -> Failure {
    Failure::new(Cause::HostFault, format::bounded(reason))
}
