//! The queries and time limits of requests about tasks.

use std::time::Duration;

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
