//! What one line of the audit says.

use std::net::IpAddr;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use wasmill_model::Timestamp;

use crate::access::Identity;

/// Maximum characters of a path.
const PATH_CHARS_MAX: usize = 1_000;

/// One line.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct AuditLine {
    /// When it was answered, in RFC 3339.
    pub time: String,
    /// The key of the request; `None` if none was asked for.
    pub who: Option<Who>,
    /// The address that the request came from.
    pub from: Option<IpAddr>,
    /// The operation, by its id in the API document.
    pub did: String,
    /// The path with its query.
    pub path: String,
    /// The status of the response; `None` for what the server saw by itself, and for a change that begins.
    pub outcome: Option<u16>,
    /// What the operation adds.
    #[serde(flatten)]
    pub details: AuditDetails,
}

/// What an operation adds to its line.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct AuditDetails {
    /// How many tasks a bulk action changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The SHA-256 of the plugin file that ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_before: Option<String>,
    /// The SHA-256 of the plugin file that runs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_after: Option<String>,
}

impl AuditDetails {
    /// Describes a bulk action.
    pub fn count(count: u64) -> Self {
        Self { count: Some(count), ..Self::default() }
    }
}

/// The key of a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Its public id.
    pub key: String,
    /// Its name.
    pub name: String,
}

impl AuditLine {
    /// Describes a request that was answered, or one that begins.
    pub fn new(
        time: Timestamp,
        sender: &Identity,
        from: Option<IpAddr>,
        did: &str,
        path: &str,
        outcome: Option<u16>,
    ) -> Self {
        // A key does not belong into a URL, and what does not belong there is not kept.
        let path = if path.contains("wmk_") { path.split('?').next().unwrap_or_default() } else { path };
        Self {
            time: time.to_rfc3339_opts(SecondsFormat::Millis, true),
            who: sender.key().map(|key| Who { key: key.id.to_string(), name: key.name.clone() }),
            from: from.map(|from| from.to_canonical()),
            did: did.to_owned(),
            path: path.chars().take(PATH_CHARS_MAX).collect(),
            outcome,
            details: AuditDetails::default(),
        }
    }

    /// Adds what the operation did.
    pub fn with(self, details: AuditDetails) -> Self {
        Self { details, ..self }
    }

    /// Describes what the server saw by itself, such as a key that is gone.
    pub(super) fn seen(time: Timestamp, did: &str, what: &str) -> Self {
        Self {
            time: time.to_rfc3339_opts(SecondsFormat::Millis, true),
            who: None,
            from: None,
            did: did.to_owned(),
            path: what.chars().take(PATH_CHARS_MAX).collect(),
            outcome: None,
            details: AuditDetails::default(),
        }
    }
}
