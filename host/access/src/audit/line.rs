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
    /// The status of the response.
    pub outcome: u16,
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
    /// Describes a request that was answered.
    pub fn new(
        time: Timestamp,
        sender: &Identity,
        from: Option<IpAddr>,
        did: &str,
        path: &str,
        outcome: u16,
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
        }
    }
}
