//! A key that a command has made: when it ends, how it is shown, and why it could not be made.

use std::time::Duration;

use anyhow::{Error, Result};
use serde_json::json;
use wasmill_access::{EditError, Scope, Scopes, SecretKey};
use wasmill_model::{Clock, SystemClock, TimeDelta, Timestamp};

use crate::cli::key::Validity;
use crate::exit::{Exit, cli_error};
use crate::output::{data, note};

/// Validity of a key if none is given.
const DEFAULT_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3_600);

/// Returns when a key ends that is made now; `None` for never.
pub(super) fn end(validity: Option<Validity>) -> Result<Option<Timestamp>> {
    match validity.unwrap_or(Validity::For(DEFAULT_VALIDITY)) {
        Validity::Forever => Ok(None),
        Validity::For(validity) => after(validity).map(Some),
    }
}

/// Returns the time in so long.
pub(super) fn after(wait: Duration) -> Result<Timestamp> {
    let time = TimeDelta::from_std(wait).ok().and_then(|wait| SystemClock.now().checked_add_signed(wait));
    time.ok_or_else(|| cli_error(Exit::Usage, "the time is too far ahead"))
}

/// Prints a new key: the key alone on stdout, what it is on stderr.
pub(super) fn show(name: &str, key: &SecretKey, scopes: Scopes, expires: Option<Timestamp>, as_json: bool) {
    if as_json {
        let scopes: Vec<_> = scopes.iter().map(Scope::as_str).collect();
        let expires = expires.map(shown_time);
        let key =
            json!({"name": name, "id": key.id(), "key": key.reveal(), "scopes": scopes, "expires": expires});
        data!("{key}");
        return;
    }
    let end = expires.map_or("never ends".to_owned(), |expires| format!("ends at {}", shown_time(expires)));
    note!("key {name} ({}) may {scopes} and {end}; it is not shown again", key.id());
    data!("{}", key.reveal());
}

pub(super) fn shown_time(time: Timestamp) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns the error of a change, with its exit code.
pub(super) fn edit_error(error: &EditError) -> Error {
    let exit = match error {
        EditError::Unknown { .. } => Exit::NotFound,
        EditError::Exists(_) | EditError::Elsewhere(_) => Exit::Conflict,
        EditError::Invalid { .. } | EditError::Refused(_) => Exit::Usage,
        EditError::Io { .. } => Exit::Failed,
    };
    cli_error(exit, error.to_string())
}
