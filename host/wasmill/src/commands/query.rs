//! The queries, bodies and time limits of requests.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::body::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::client::REQUEST_TIMEOUT;

/// Appends these query parameters to a path.
pub(super) fn with_query(path: &str, parameters: &[(&str, String)]) -> String {
    if parameters.is_empty() {
        return path.to_owned();
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("{path}?{}", query.finish())
}

/// Returns the time limit of a request that stops tasks: the response waits until their guests are gone.
pub(super) fn timeout(grace: Option<Duration>) -> Duration {
    REQUEST_TIMEOUT.saturating_add(grace.unwrap_or_default())
}

/// Returns the grace query parameter, if a grace period was given.
pub(super) fn grace(grace: Option<Duration>) -> Option<(&'static str, String)> {
    grace.map(|grace| ("grace", humantime::format_duration(grace).to_string()))
}

/// The body of a request, with the given fields only: a server rejects those that it does not know.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Body(BTreeMap<&'static str, Box<RawValue>>);

impl Body {
    /// Adds a field if it is given; JSON text stays as it is.
    pub(super) fn with(mut self, name: &'static str, value: Option<impl Serialize>) -> Self {
        if let Some(value) = value {
            self.0.insert(name, to_raw_value(&value).expect("options can be written as JSON"));
        }
        self
    }

    /// Returns the content type and the text.
    pub(super) fn to_json(&self) -> (&'static str, Bytes) {
        ("application/json", serde_json::to_vec(self).expect("options can be written as JSON").into())
    }
}
