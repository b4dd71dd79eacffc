//! `GET /task/{id}/webhook` and `POST /task/{id}/webhook/retry`: the state of a webhook delivery, and a
//! redelivery.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use wasmill_model::{TaskId, TaskState};
use wasmill_store::Redelivery;

use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task, unknown_task};
use crate::view::webhook::DeliveryView;

pub(crate) async fn webhook(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    view(&api, id).await.map(Json)
}

pub(crate) async fn redeliver(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    match api.store.redeliver(id, api.clock.now()).await? {
        Redelivery::NotFound => Err(unknown_task(id)),
        Redelivery::NoWebhook => Err(no_webhook(id)),
        Redelivery::Idle(state) => Err(nothing_to_deliver(id, state)),
        Redelivery::Due => Ok((StatusCode::ACCEPTED, Json(view(&api, id).await?))),
    }
}

async fn view(api: &Api, id: TaskId) -> Result<DeliveryView, Problem> {
    let log = require_task(id, api.store.webhook(id).await)?;
    Ok(DeliveryView::new(id, log.ok_or_else(|| no_webhook(id))?))
}

fn answer(description: &'static str) -> ResponseSpec {
    let task = "01a2074c-e503-703b-819d-4717c026346b";
    let example = json!({
        "id": format!("end-{task}"), "url": "https://example.com/hook", "on": ["completed", "failed", "cancelled"],
        "state": "pending", "attempt_count": 1, "next_attempt_at": "2026-11-23T07:26:56.617291345Z",
        "attempts": [{
            "time": "2026-11-23T07:26:51.617291345Z", "duration_ms": 12, "status": 503, "error": null,
        }],
    });
    ResponseSpec::json::<DeliveryView>(description, example)
}

pub(crate) fn webhook_spec() -> Operation {
    Operation::get("/task/{id}/webhook", "getTaskWebhook", "Get the webhook delivery of a task")
        .responds(200, answer("The state of the delivery, and its newest attempts."))
        .problems(&[kind::NO_WEBHOOK])
        .problems(&kind::TASK_ACCESS)
}

pub(crate) fn redeliver_spec() -> Operation {
    let summary = "Redeliver the webhook of a finished task";
    Operation::post("/task/{id}/webhook/retry", "retryTaskWebhook", summary)
        .detail(
            "Starts a new attempt now with the same delivery id, whether the webhook was delivered or \
                 given up. If it fails, further attempts follow as usual.",
        )
        .responds(202, answer("A new delivery attempt is due."))
        .problems(&[kind::NO_WEBHOOK, kind::NOTHING_TO_DELIVER])
        .problems(&kind::TASK_ACCESS)
}

fn no_webhook(id: TaskId) -> Problem {
    let detail = format!("task {id} has no webhook");
    Problem::of(kind::NO_WEBHOOK, detail)
}

fn nothing_to_deliver(id: TaskId, state: TaskState) -> Problem {
    let detail = if state.is_final() {
        format!("task {id} is {state}, and its webhook does not subscribe to that outcome")
    } else {
        format!("task {id} is {state}; its webhook is delivered when it finishes")
    };
    Problem::of(kind::NOTHING_TO_DELIVER, detail).with_state(state)
}
