//! Errors with which a host call ends the guest; `outcome` maps them to failures.

/// The host could not do what the guest asked for; the guest is not to blame.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostFault(pub(crate) String);

/// A call of the guest asked for more than one call may.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CallRefused(pub(crate) String);

/// The guest exited with a failure and without a code: `exit` of WASI 0.2 carries none.
#[derive(Debug, thiserror::Error)]
#[error("the guest exited with a failure")]
pub(crate) struct ExitedWithoutCode;
