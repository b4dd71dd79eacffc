//! `GET /keys`: the keys in force, without their secrets.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_access::{Identity, Key, Scope};
use wasmill_model::{Group, PluginPattern, Reach, Tag, Timestamp};

use crate::http::authorize::Sender;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::state::Api;
use crate::view::time::Rfc3339;

/// A key in force. `plugins`, `groups` and `tags` are its reach; `null` for all.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
struct KeyView {
    /// Public id, which tasks name in `submitted_by`.
    id: String,
    /// Name for people; the keys of a rotation share it.
    name: String,
    /// What it may do.
    #[schemars(extend("items" = {"type": "string", "enum": Scope::ALL.map(Scope::as_str)}))]
    scopes: Vec<&'static str>,
    /// Names of plugins, in which `*` stands for any characters.
    plugins: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    /// Tags that a task must have, all of them.
    tags: Option<Vec<String>>,
    /// How many requests it may send, such as `200/1s`; `null` for any number.
    rate: Option<String>,
    /// Requests that this host has refused for its rate since the start.
    refused: u64,
    /// When it ends; `null` for never.
    expires: Option<Rfc3339>,
    expired: bool,
    /// When it was last used on this host; `null` for never.
    last_used_at: Option<Rfc3339>,
    /// Address from which it was last used.
    last_used_from: Option<String>,
    /// Whether it is the key of this request.
    this: bool,
}

impl KeyView {
    fn new(key: &Key, sender: &Identity, now: Timestamp) -> Self {
        let last = key.last_used().get();
        let [plugins, groups, tags] = reach_names(&key.reach);
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            plugins,
            groups,
            tags,
            rate: key.rate.map(|rate| rate.to_string()),
            refused: key.refused(),
            expires: key.expires.map(Rfc3339),
            expired: key.is_expired(now),
            last_used_at: last.map(|(time, _)| Rfc3339(time)),
            last_used_from: last.map(|(_, peer)| peer.to_string()),
            this: sender.id().is_some_and(|id| *id == key.id),
        }
    }
}

/// Returns the plugins, groups and tags of a reach; `None` for all.
pub(super) fn reach_names(reach: &Reach) -> [Option<Vec<String>>; 3] {
    let plugins: Vec<_> = reach.plugins().iter().map(PluginPattern::as_str).collect();
    let groups: Vec<_> = reach.groups().iter().map(Group::as_str).collect();
    let tags: Vec<_> = reach.tags().iter().map(Tag::as_str).collect();
    let some = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    [plugins, groups, tags].map(|names| Some(some(names)).filter(|names| !names.is_empty()))
}

pub(crate) async fn keys(
    State(api): State<Api>,
    Sender(sender): Sender,
) -> Result<impl IntoResponse, Problem> {
    let now = api.clock.now();
    let keys = api.access.keys();
    Ok(Json(keys.list().into_iter().map(|key| KeyView::new(key, &sender, now)).collect::<Vec<_>>()))
}

pub(crate) fn spec() -> Operation {
    let example = json!([{
        "id": "7f3a9c0d", "name": "ci", "scopes": ["submit", "read"], "plugins": ["img-*"], "groups": null,
        "tags": null, "rate": "200/1s", "refused": 0, "expires": "2027-11-23T00:00:00.000000000Z", "expired": false,
        "last_used_at": "2026-11-23T07:26:49.603656725Z", "last_used_from": "192.0.2.7", "this": false,
    }]);
    Operation::get("/keys", "listKeys", "List the keys in force")
        .detail(
            "By name, without their secrets, which no server stores. `wasmill key` on the machine of the server makes, \
             rotates and revokes them. An open server has none. Each host counts the uses and refusals of its own.",
        )
        .responds(200, ResponseSpec::json::<Vec<KeyView>>("The keys.", example))
}
