//! When a failed attempt is followed by another one.

mod backoff;
mod failure;
mod retry_on;

pub(crate) use backoff::WAIT_MAX;
pub use backoff::{ATTEMPTS_MAX, Backoff, FACTOR_MAX, InvalidBackoff};
pub use failure::{Cause, CauseFilter, Failure, Retry, UnknownCause};
pub use retry_on::{RetryOn, UnknownKind};
