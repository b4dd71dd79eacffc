//! `?wait=30s` and `Prefer: wait=30`: an answer that is held until its task has ended.
//!
//! Endpoints ask here what the client wishes, and wait here.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use wasmill_model::{Task, TaskId, TaskState, parse_duration};
use wasmill_store::StoreError;

use crate::app::Api;
use crate::faults::{Fault, Faults};
use crate::fields::time_must_be;
use crate::openapi::values::{Span, plain};
use crate::openapi::{Answer, Operation};
use crate::params::Params;
use crate::problem::Problem;

/// The longest wait; a client that has more time asks again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a client wishes to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) wait: Option<Duration>,
    /// Whether it was only preferred, which the answer then says (RFC 7240).
    is_preference: bool,
}

impl Wish {
    /// Reads the wish from the query, else from the headers.
    ///
    /// # Errors
    ///
    /// Fails if the wait is out of range. A preference that cannot be met is none.
    pub(crate) fn read(params: &Params, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut wish = Self { wait: preferred(headers), is_preference: true };
        let mut faults = Faults::default();
        for (_, value) in params.iter().filter(|(name, _)| *name == "wait") {
            match parse_duration(value) {
                Ok(wait) if wait <= WAIT_MAX => wish = Self { wait: Some(wait), is_preference: false },
                _ => {
                    let most = humantime::format_duration(WAIT_MAX);
                    let detail = format!("wait must be a time with a unit, such as 30s, of at most {most}");
                    let detail = time_must_be(detail, Some(value));
                    faults.push(Fault::parameter("wait", detail));
                }
            }
        }
        Problem::unless(faults, wish)
    }

    /// Returns the header that says which preference was honoured.
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

/// Says in the API document that an operation can wait.
pub(crate) fn about(operation: Operation) -> Operation {
    let most = humantime::format_duration(WAIT_MAX);
    let wait = plain::<Span>();
    let prefer = json!({"type": "string", "examples": ["wait=30"]});
    operation
        .query(
            "wait",
            format!("Holds the answer until the task has ended, or so long; at most {most}."),
            &wait,
        )
        .header("Prefer", "`wait=30` does the same as `?wait=30s`, and never fails (RFC 7240).", &prefer)
}

/// Says in the API document that an answer tells whether a preference was honoured.
pub(crate) fn applied(answer: Answer) -> Answer {
    answer.optional_header("Preference-Applied", "The preference that was honoured.", "^wait=[0-9]+$")
}

/// Returns a task, once it has ended, the wait is over, or nothing will become of it before this host stops.
/// `None` if there is no such task any more.
///
/// # Errors
///
/// Fails if the store does.
pub(crate) async fn until_ended(api: &Api, id: TaskId, wait: Duration) -> Result<Option<Task>, StoreError> {
    // When too many wait, nobody is turned away: the others ask again.
    let Some(_place) = api.followers.try_place() else { return api.store.get(id).await };
    let mut follower = api.store.follow(id);
    let mut over = std::pin::pin!(tokio::time::sleep(wait));
    loop {
        let task = api.store.get(id).await?;
        let Some(state) = task.as_ref().map(|task| task.state) else { return Ok(None) };
        if state.is_final() || over.is_elapsed() {
            return Ok(task);
        }
        tokio::select! {
            biased;
            () = follower.moved() => {}
            () = &mut over => {}
            // A task that waits is not started any more.
            () = api.scheduler.draining(), if state == TaskState::Waiting => return Ok(task),
            () = api.scheduler.drained() => return api.store.get(id).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Param;

    fn wish(query: &str, prefer: Option<&'static str>) -> Option<(Option<u64>, bool)> {
        let mut headers = HeaderMap::new();
        if let Some(prefer) = prefer {
            headers.insert("prefer", HeaderValue::from_static(prefer));
        }
        let known = [Param::single("wait")];
        let params = Params::read(Some(query), &known).ok()?;
        let wish = Wish::read(&params, &headers).ok()?;
        Some((wish.wait.map(|wait| wait.as_secs()), wish.applied().is_some()))
    }

    #[test]
    fn a_wait_is_asked_for_in_the_query_or_preferred() {
        assert_eq!(wish("", None), Some((None, false)));
        assert_eq!(wish("wait=30s", None), Some((Some(30), false)));
        assert_eq!(wish("wait=0s", Some("wait=5")), Some((Some(0), false)));
        assert_eq!(wish("", Some("respond-async, Wait = 10")), Some((Some(10), true)));
        assert_eq!(wish("", Some("wait=\"10\"; foo")), Some((Some(10), true)));
    }

    #[test]
    fn a_wait_out_of_range_is_refused_and_such_a_preference_is_cut() {
        assert_eq!(wish("wait=61s", None), None);
        assert_eq!(wish("wait=30", None), None);
        assert_eq!(wish("weit=30s", None), None);
        assert_eq!(wish("", Some("wait=9999")), Some((Some(60), true)));
        assert_eq!(wish("", Some("wait=soon")), Some((None, false)));
    }
}
