//! `POST /task/{id}/event`: posts an event to an unfinished task, then responds 202.
//!
//! The event is stored before the response; the next run of the task takes it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use wasmill_model::{
    EVENT_NAME_CHARS_MAX, EventName, NewEvent, POSTED_EVENT_BYTES_MAX, POSTED_EVENTS_MAX, TaskId, TaskState,
};
use wasmill_store::PostOutcome;

use crate::http::authorize::Sender;
use crate::http::body::{BodyMax, is_blank, read_json_within};
use crate::http::idempotency_key;
use crate::http::params::Params;
use crate::openapi::schema::{AnyJson, IdSchema, NO_CONTROLS};
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, unknown_task};
use crate::view::time::Rfc3339;

/// Maximum size of a body; no setting raises it.
const PAYLOAD_MAX: BodyMax = BodyMax { bytes: POSTED_EVENT_BYTES_MAX, setting: None };

/// The payload of an event without a body.
const NO_PAYLOAD: &str = "null";

/// Response of a posted event.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventPosted")]
pub(crate) struct EventPosted {
    /// The task that gets the event.
    #[schemars(with = "IdSchema")]
    id: TaskId,
    /// When the event was stored.
    posted_at: Rfc3339,
}

pub(crate) async fn post_event(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let name = name(&params)?;
    let bytes = read_json_within(&api.config.body, &headers, body, PAYLOAD_MAX).await?;
    let payload = payload(&bytes)?;
    let request = [id.as_bytes(), name.as_ref().map_or("", EventName::as_str).as_bytes(), &[0], &bytes];
    let request = idempotency_key::read(&headers, &sender, "event", &request.concat())?;
    let event = NewEvent { task: id, name, payload };
    let outcome = api.store.post_event(event, request, api.clock.now()).await?;
    if matches!(outcome, PostOutcome::Posted { replayed: false, .. }) {
        api.metrics.add_event_posted();
    }
    respond(id, outcome)
}

/// Responds to an event that was stored, or says why it was not.
pub(crate) fn respond(id: TaskId, outcome: PostOutcome) -> Result<impl IntoResponse + use<>, Problem> {
    match outcome {
        PostOutcome::Posted { at, replayed } => {
            let headers = idempotency_key::replayed_header(replayed);
            Ok((StatusCode::ACCEPTED, headers, Json(EventPosted { id, posted_at: Rfc3339(at) })))
        }
        PostOutcome::NotFound => Err(unknown_task(id)),
        PostOutcome::AlreadyFinal(state) => Err(already_finished(id, state)),
        PostOutcome::Full => Err(full(id)),
    }
}

/// Parses the name of the query.
fn name(params: &Params) -> Result<Option<EventName>, Problem> {
    let (mut name, mut errors) = (None, FieldErrors::default());
    for (_, value) in params.iter().filter(|(parameter, _)| *parameter == "name") {
        match value.parse() {
            Ok(parsed) => name = Some(parsed),
            Err(error) => errors.push(FieldError::parameter("name", format!("name must have {error}"))),
        }
    }
    Problem::reject_errors(errors, name)
}

/// Returns the payload as JSON text.
fn payload(body: &[u8]) -> Result<String, Problem> {
    if is_blank(body) {
        return Ok(NO_PAYLOAD.to_owned());
    }
    let value: &RawValue = serde_json::from_slice(body).map_err(|error| Problem::invalid_json(&error))?;
    Ok(value.get().to_owned())
}

pub(crate) fn spec() -> Operation {
    let example =
        json!({"id": "01a2074c-e503-703b-819d-4717c026346b", "posted_at": "2026-11-23T07:26:51.612047718Z"});
    let posted = ResponseSpec::json::<EventPosted>("The event is stored.", example);
    let name = json!({
        "type": "string", "minLength": 1, "maxLength": EVENT_NAME_CHARS_MAX, "pattern": NO_CONTROLS,
        "examples": ["approved"],
    });
    let operation = Operation::post("/task/{id}/event", "postEvent", "Post an event to a task");
    idempotency_key::add_header(operation)
        .detail(format!(
            "The next run of the task receives it; a task that is suspended until an event resumes at once. The event is on \
             disk before the response, and the task receives it exactly once. A task keeps up to {POSTED_EVENTS_MAX} events \
             that it has not received; those left when it finishes are dropped."
        ))
        .query("name", "Name of the event, which the task receives with it.", &name)
        .json_body::<AnyJson>(
            "The payload: any JSON of up to 64 KiB; without a body it is `null`.",
            vec![("approval", json!({"approved": true, "by": "Ada"}))],
        )
        .responds(202, idempotency_key::add_replayed_header(posted))
        .problems(&kind::JSON_BODY)
        .problems(&[kind::INVALID_JSON, kind::INVALID_REQUEST, kind::TASK_FINISHED, kind::TOO_MANY_EVENTS])
        .problems(&kind::TASK_ACCESS)
}

/// The task finished before it could get the event.
fn already_finished(id: TaskId, state: TaskState) -> Problem {
    let detail = format!("task {id} is {state}, and a finished task gets no events");
    Problem::of(kind::TASK_FINISHED, detail).with_state(state)
}

/// The task has as many events as it may that it has not received.
fn full(id: TaskId) -> Problem {
    let detail = format!(
        "task {id} has {POSTED_EVENTS_MAX} events that it has not received, which is the maximum; try again once it has run"
    );
    Problem::of(kind::TOO_MANY_EVENTS, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_json_value() {
        assert_eq!(payload(b"").expect("none"), "null");
        assert_eq!(payload(b" \n").expect("none"), "null");
        assert_eq!(payload(b" {\"a\": [1, 2]} ").expect("JSON"), "{\"a\": [1, 2]}");
        for wrong in [&b"{"[..], b"1 2", b"yes", b"\"\xff\"", b"\"\x00\""] {
            assert_eq!(payload(wrong).expect_err("refused").code(), "invalid-json", "{wrong:?}");
        }
    }
}
