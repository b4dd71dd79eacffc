//! `GET /key`: whose the key of the request is, and what it may do.

use axum::Json;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_access::{Identity, Scope};

use super::keys::reach_names;
use crate::http::authorize::Sender;
use crate::openapi::{Operation, ResponseSpec};
use crate::view::time::Rfc3339;

/// Who sent the request. `plugins`, `groups` and `tags` are its reach; `null` for all.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OwnKey")]
struct OwnKey {
    /// Id of the key, or the name of a person, which tasks name in `submitted_by`; `null` if the server asks for none.
    id: Option<String>,
    /// Name for people.
    name: Option<String>,
    /// What it may do; `admin` if the server asks for no key.
    #[schemars(extend("items" = {"type": "string", "enum": Scope::ALL.map(Scope::as_str)}))]
    scopes: Vec<&'static str>,
    /// Names of plugins, in which `*` stands for any characters.
    plugins: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    /// Tags that a task must have, all of them.
    tags: Option<Vec<String>>,
    /// How many requests it may send, such as `200/1s`; `null` for any number.
    rate: Option<String>,
    /// How many of its tasks may wait; `null` for any number.
    waiting: Option<u64>,
    /// How many tasks of its group may run at once; `null` for any number.
    running: Option<u64>,
    /// Bytes of inputs, results and logs that it may have stored; `null` for any number.
    stored: Option<u64>,
    /// When it ends; `null` for never.
    expires: Option<Rfc3339>,
}

impl OwnKey {
    fn new(sender: &Identity) -> Self {
        let key = sender.key();
        let [plugins, groups, tags] = reach_names(sender.reach());
        let limits = key.map(|key| key.limits).unwrap_or_default();
        Self {
            id: key.map(|key| key.id.to_string()),
            name: key.map(|key| key.name.clone()),
            scopes: key
                .map_or(vec![Scope::Admin.as_str()], |key| key.scopes.iter().map(Scope::as_str).collect()),
            plugins,
            groups,
            tags,
            rate: key.and_then(|key| key.rate).map(|rate| rate.to_string()),
            waiting: limits.waiting_max,
            running: limits.running_max,
            stored: limits.stored_bytes_max,
            expires: key.and_then(|key| key.expires).map(Rfc3339),
        }
    }
}

pub(crate) async fn own_key(Sender(sender): Sender) -> impl IntoResponse {
    Json(OwnKey::new(&sender))
}

pub(crate) fn spec() -> Operation {
    let example = json!({
        "id": "7f3a9c0d", "name": "ci", "scopes": ["submit", "read"], "plugins": ["img-*"], "groups": null,
        "tags": null, "rate": "200/1s", "waiting": 10_000, "running": null, "stored": null,
        "expires": "2027-11-23T00:00:00.000000000Z",
    });
    Operation::get("/key", "getOwnKey", "Show what the key of the request may do")
        .detail("Every key in force may ask. `wasmill login` does, before it stores a key.")
        .responds(200, ResponseSpec::json::<OwnKey>("The key.", example))
}
