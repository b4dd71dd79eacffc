//! `DELETE /task/{id}` and `POST /task/{id}/cancel`: stop a task, and forget it or keep its record.
//!
//! Both answer only after the guest is gone and its slot is free. With `?grace=5s` the guest is asked to
//! stop and has so long to put things in order.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wasmill_store::Cancelled;

use crate::app::Api;
use crate::problem::{Fault, Problem};
use crate::record::Record;

/// The longest grace; the request stays open for that long.
const GRACE_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn remove(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<StatusCode, Problem> {
    let id = Api::task_id(&id)?;
    let grace = grace(query.0.as_deref().unwrap_or_default())?;
    Api::found(id, api.scheduler.remove_within(id, grace).await)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    let grace = grace(query.0.as_deref().unwrap_or_default())?;
    match api.scheduler.cancel_within(id, grace).await? {
        Cancelled::NotFound => Err(Problem::unknown_task(id)),
        Cancelled::AlreadyFinal(state) => Err(Problem::already_ended(id, state)),
        Cancelled::Cancelled { .. } => {
            let task = Api::found(id, api.store.get(id).await)?;
            Ok(Json(Record::new(task, api.clock.now())))
        }
    }
}

/// Reads the grace from the query; none without one.
fn grace(query: &str) -> Result<Duration, Problem> {
    let mut grace = Duration::ZERO;
    let mut faults = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "grace" => take_grace(&mut grace, &value, &mut faults),
            name => {
                let detail = format!("unknown parameter '{name}'; known is grace");
                faults.push(Fault::parameter(name, detail));
            }
        }
    }
    if faults.is_empty() { Ok(grace) } else { Err(Problem::invalid_request(faults)) }
}

/// Reads one grace, or says what it would have to be.
pub(crate) fn take_grace(grace: &mut Duration, value: &str, faults: &mut Vec<Fault>) {
    match humantime::parse_duration(value) {
        Ok(asked) if asked <= GRACE_MAX => *grace = asked,
        _ => {
            let most = humantime::format_duration(GRACE_MAX);
            let detail = format!("grace must be a time with a unit, such as 5s, of at most {most}");
            faults.push(Fault::parameter("grace", detail));
        }
    }
}
