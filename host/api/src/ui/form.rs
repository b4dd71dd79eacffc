//! Forms that pages send.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::body::Body;
use axum::http::HeaderMap;

use crate::http::body::{BodyConfig, BodyMax, read_form};
use crate::problem::Problem;
use crate::problem::field_errors::FieldError;
use crate::state::Api;

/// Fields of a form, in order.
#[derive(Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a request.
    pub(crate) async fn read(config: &BodyConfig, headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let max = BodyMax { bytes: config.bytes_max, setting: Some("body_max") };
        let bytes = read_form(config, headers, body, max).await?;
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }

    /// Returns names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the value of a field, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| value)
    }

    /// Returns the value of a field that has to be there.
    pub(crate) fn require(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| {
            Problem::invalid_request(FieldError::parameter(name, format!("the form has no {name}")))
        })
    }
}

/// Returns a text that makes an action happen once, however often its form is sent.
pub(crate) fn once(api: &Api) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = api.clock.now().timestamp_nanos_opt().unwrap_or_default();
    format!("ui-{now:x}-{:x}", COUNT.fetch_add(1, Relaxed))
}
