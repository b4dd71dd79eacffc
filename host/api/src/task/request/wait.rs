//! `?wait=30s` and `Prefer: wait=30`: holds the response until the task finishes.
//!
//! Endpoints parse the wait and wait here.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use wasmill_access::Identity;
use wasmill_model::{Task, TaskId, parse_duration};
use wasmill_store::StoreError;

use crate::http::fields::duration_error;
use crate::http::params::Params;
use crate::openapi::schema::{DurationSchema, plain};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::state::Api;

/// Maximum wait; clients repeat the request to wait longer.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The wait that a client asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WaitParams {
    pub(crate) wait: Option<Duration>,
    /// Whether it came as a preference, which the response then confirms (RFC 7240).
    is_preference: bool,
}

impl WaitParams {
    /// Parses the wait from the query, else from the headers.
    ///
    /// # Errors
    ///
    /// Fails if `wait` is invalid. An invalid preference is ignored.
    pub(crate) fn read(params: &Params, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut wait_params = Self { wait: preferred(headers), is_preference: true };
        let mut errors = FieldErrors::default();
        for (_, value) in params.iter().filter(|(name, _)| *name == "wait") {
            match parse_duration(value) {
                Ok(wait) if wait <= WAIT_MAX => wait_params = Self { wait: Some(wait), is_preference: false },
                _ => {
                    let max = humantime::format_duration(WAIT_MAX);
                    let detail = format!("wait must be a duration such as 30s, at most {max}");
                    errors.push(FieldError::parameter("wait", duration_error(detail, Some(value))));
                }
            }
        }
        Problem::reject_errors(errors, wait_params)
    }

    /// Returns the header that confirms the preference.
    pub(crate) fn applied(self) -> Option<(HeaderName, HeaderValue)> {
        let wait = self.wait.filter(|_| self.is_preference)?;
        let value = HeaderValue::try_from(format!("wait={}", wait.as_secs())).ok()?;
        Some((HeaderName::from_static("preference-applied"), value))
    }
}

fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';']));
    preferences.find_map(|preference| {
        let (name, seconds) = preference.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let seconds = seconds.trim().trim_matches('"').parse().ok()?;
        Some(Duration::from_secs(seconds).min(WAIT_MAX))
    })
}

/// Documents the parameters of a wait.
pub(crate) fn add_parameters(operation: Operation) -> Operation {
    let max = humantime::format_duration(WAIT_MAX);
    let wait = plain::<DurationSchema>();
    let prefer = json!({"type": "string", "examples": ["wait=30"]});
    operation
        .query(
            "wait",
            format!(
                "Hold the response until the task has finished, but not longer than this; at most {max}."
            ),
            &wait,
        )
        .header(
            "Prefer",
            "`wait=30` is the same as `?wait=30s`, but an invalid value is ignored (RFC 7240).",
            &prefer,
        )
}

/// Documents the header that confirms a preference.
pub(crate) fn add_applied_header(answer: ResponseSpec) -> ResponseSpec {
    answer.optional_header("Preference-Applied", "The preference that was applied.", "^wait=[0-9]+$")
}

/// Returns a task once it has finished, the wait is over, or it cannot finish before this host stops. `None`
/// if the task does not exist.
///
/// # Errors
///
/// Fails if the store does.
pub(crate) async fn until_finished(
    api: &Api,
    sender: &Identity,
    id: TaskId,
    wait: Duration,
) -> Result<Option<Task>, StoreError> {
    // With too many open streams, it answers at once instead of refusing; the client may repeat.
    let Ok(_permit) = api.stream_limit.permit(sender) else { return api.store.get(id).await };
    let mut follower = api.store.subscribe(id);
    let mut over = std::pin::pin!(tokio::time::sleep(wait));
    loop {
        let task = api.store.get(id).await?;
        let Some(state) = task.as_ref().map(|task| task.state) else { return Ok(None) };
        if state.is_final() || over.is_elapsed() {
            return Ok(task);
        }
        tokio::select! {
            biased;
            () = follower.wait_for_move() => {}
            () = &mut over => {}
            // During a drain, waiting tasks do not start.
            () = api.scheduler.draining(), if state.is_waiting() => return Ok(task),
            () = api.scheduler.drained() => return api.store.get(id).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::Param;

    fn wait_params(query: &str, prefer: Option<&'static str>) -> Option<(Option<u64>, bool)> {
        let mut headers = HeaderMap::new();
        if let Some(prefer) = prefer {
            headers.insert("prefer", HeaderValue::from_static(prefer));
        }
        let known = [Param::single("wait")];
        let params = Params::read(Some(query), &known).ok()?;
        let wait_params = WaitParams::read(&params, &headers).ok()?;
        Some((wait_params.wait.map(|wait| wait.as_secs()), wait_params.applied().is_some()))
    }

    #[test]
    fn a_wait_comes_from_the_query_or_a_preference() {
        assert_eq!(wait_params("", None), Some((None, false)));
        assert_eq!(wait_params("wait=30s", None), Some((Some(30), false)));
        assert_eq!(wait_params("wait=0s", Some("wait=5")), Some((Some(0), false)));
        assert_eq!(wait_params("", Some("respond-async, Wait = 10")), Some((Some(10), true)));
        assert_eq!(wait_params("", Some("wait=\"10\"; foo")), Some((Some(10), true)));
    }

    #[test]
    fn a_wait_out_of_range_is_refused_and_a_preference_is_clamped() {
        assert_eq!(wait_params("wait=61s", None), None);
        assert_eq!(wait_params("wait=30", None), None);
        assert_eq!(wait_params("weit=30s", None), None);
        assert_eq!(wait_params("", Some("wait=9999")), Some((Some(60), true)));
        assert_eq!(wait_params("", Some("wait=soon")), Some((None, false)));
    }
}
