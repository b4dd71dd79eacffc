//! What the audit says of a request: the layer of keys tells it.

use std::net::IpAddr;

use axum::http::Uri;
use wasmill_access::{AuditLine, Identity};
use wasmill_model::Timestamp;

use crate::problem::Problem;
use crate::problem::kind;

/// A request that the audit records.
pub(crate) struct Audited {
    pub(crate) is_change: bool,
    did: &'static str,
    path: String,
    from: Option<IpAddr>,
}

impl Audited {
    /// Describes a request for this operation.
    pub(crate) fn of(did: &'static str, is_change: bool, uri: &Uri, from: Option<IpAddr>) -> Self {
        let path = uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
        Self { is_change, did, path, from }
    }

    /// Returns its line; without an outcome, it begins.
    pub(crate) fn line(&self, now: Timestamp, sender: &Identity, outcome: Option<u16>) -> AuditLine {
        AuditLine::new(now, sender, self.from, self.did, &self.path, outcome)
    }
}

/// The settings want a line before each change, and it cannot be written.
pub(crate) fn audit_unavailable() -> Problem {
    let detail =
        "the audit cannot be written, and this server changes nothing without it; nothing was changed";
    Problem::of(kind::AUDIT_UNAVAILABLE, detail)
}
