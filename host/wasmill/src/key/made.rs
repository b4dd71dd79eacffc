//! A key that a command has made: when it ends, how it is shown, and why it could not be made.

use std::time::Duration;

use anyhow::{Error, Result};
use serde_json::{Value, json};
use wasmill_access::{EditError, NewKey, Scope, SecretKey};
use wasmill_model::{Clock, Group, KeyLimits, PluginPattern, Reach, SystemClock, Tag, TimeDelta, Timestamp};

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
pub(super) fn show(new: &NewKey, key: &SecretKey, as_json: bool) {
    let NewKey { name, scopes, expires, reach, limits, .. } = new;
    if as_json {
        let scopes: Vec<_> = scopes.iter().map(Scope::as_str).collect();
        let expires = expires.map(shown_time);
        let mut shown =
            json!({"name": name, "id": key.id(), "key": key.reveal(), "scopes": scopes, "expires": expires});
        add_reach(&mut shown, reach);
        add_limits(&mut shown, *limits);
        data!("{shown}");
        return;
    }
    let end = expires.map_or("never ends".to_owned(), |expires| format!("ends at {}", shown_time(expires)));
    let within = if reach.is_bounded() { format!(" within {reach},") } else { String::new() };
    let limited = if limits.is_empty() { String::new() } else { format!(" with at most {limits},") };
    note!("key {name} ({}) may {scopes}{within}{limited} and {end}; it is not shown again", key.id());
    data!("{}", key.reveal());
}

/// Adds the reach of a key to its JSON: a list is `null` if it covers all.
pub(super) fn add_reach(shown: &mut Value, reach: &Reach) {
    fn list<'a>(names: impl Iterator<Item = &'a str>) -> Value {
        let names: Vec<_> = names.collect();
        if names.is_empty() { Value::Null } else { json!(names) }
    }
    shown["plugins"] = list(reach.plugins().iter().map(PluginPattern::as_str));
    shown["groups"] = list(reach.groups().iter().map(Group::as_str));
    shown["tags"] = list(reach.tags().iter().map(Tag::as_str));
}

/// Adds the limits of a key to its JSON: `null` for none, bytes for those that are stored.
pub(super) fn add_limits(shown: &mut Value, limits: KeyLimits) {
    shown["waiting"] = json!(limits.waiting_max);
    shown["running"] = json!(limits.running_max);
    shown["stored"] = json!(limits.stored_bytes_max);
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
