//! When a failed attempt is followed by another one.

mod backoff;
mod failure;
mod retry_on;

pub use backoff::{ATTEMPTS_MAX, Backoff, InvalidBackoff};
pub use failure::{Cause, Failure, UnknownCause};
pub use retry_on::{RetryOn, UnknownKind};
