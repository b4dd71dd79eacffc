//! `GET /attention`: what needs a person, the most urgent first.
//!
//! The rules are fixed and few. Each reads what the server knows anyway; none scans.

mod item;
mod plugins;
mod server;
mod work;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

pub use self::server::{DISK_FREE_MIN, DISK_FREE_RECOMMENDED};

use self::item::{CODES, ITEMS_MAX, ItemView, Items};
use crate::http::authorize::Sender;
use crate::openapi::{Operation, ResponseSpec};
use crate::state::Api;
use crate::view::time::Rfc3339;

/// What needs a person.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Attention")]
struct AttentionView {
    /// Errors first, in the order in which they matter; empty if all is well.
    #[schemars(length(max = ITEMS_MAX))]
    items: Vec<ItemView>,
    /// Number of further items.
    left_out: usize,
    checked_at: Rfc3339,
}

pub(crate) async fn attention(State(api): State<Api>, Sender(sender): Sender) -> impl IntoResponse {
    let checked_at = Rfc3339(api.clock.now());
    let mut items = Items::default();
    server::check(&api, &sender, &mut items).await;
    plugins::check(&api, &mut items).await;
    work::check(&api, &sender, &mut items).await;
    let (items, left_out) = items.into_sorted();
    Json(AttentionView { items, left_out, checked_at })
}

pub(crate) fn spec() -> Operation {
    let example = json!({
        "items": [{
            "code": "plugin-failing", "level": "error", "subject": "fetch",
            "detail": "412 of 436 tasks of plugin fetch failed in the last five minutes, most attempts by io",
            "action": "read the errors of its failed tasks, and retry them when the cause is gone",
            "link": "/task?state=failed&plugin=fetch", "count": 412, "since": null,
        }],
        "left_out": 0, "checked_at": "2026-11-23T07:26:49.603656725Z",
    });
    let detail = format!(
        "Codes are {}. Cheap enough to ask for every few seconds. Items about keys are shown to keys with the scope `admin` \
         only, and the errors of schedules to those with `read`.",
        CODES.map(|code| format!("`{code}`")).join(", ")
    );
    Operation::get("/attention", "getAttention", "Get what needs a person")
        .detail(detail)
        .responds(200, ResponseSpec::json::<AttentionView>("The items.", example))
}
