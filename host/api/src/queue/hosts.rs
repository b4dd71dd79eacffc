//! `GET /hosts`: the hosts that share the database.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_store::{Host, SharedSettings, differing};

use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::view::time::Rfc3339;

/// A host that shares the database.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Host")]
struct HostView {
    /// Identifies this registration; a restart has another one.
    id: String,
    /// Name of its machine.
    name: String,
    version: String,
    started_at: Rfc3339,
    /// `live`, `draining`, or `dead` until its tasks are put back.
    #[schemars(regex(pattern = "^(live|draining|dead)$"))]
    state: &'static str,
    /// Whether this host has answered the request.
    this: bool,
    /// Whether it does retention and webhooks for all hosts.
    on_duty: bool,
    /// How long ago it renewed its lease; 0 with the embedded database.
    lease_age_ms: u64,
    /// Numbers are up to some seconds old.
    slots: HostSlotsView,
    /// Memory for further runs.
    memory_free_bytes: u64,
    /// Names of settings in which it differs from the host that has answered. All hosts should have the same.
    other_settings: Vec<String>,
    /// Number of the newest publication of a plugin that it has put into service; 0 with the embedded database.
    plugins_version: u64,
}

/// Slots of a host.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HostSlots")]
struct HostSlotsView {
    total: u64,
    used: u64,
}

impl HostView {
    fn new(host: Host, own: &SharedSettings) -> Self {
        let other_settings = differing(own, &host.settings).into_iter().map(str::to_owned).collect();
        let Host {
            id,
            name,
            version,
            started_at,
            renewed,
            is_live,
            is_self,
            is_on_duty,
            report,
            plugins_version,
            ..
        } = host;
        Self {
            id: format!("{id:016x}"),
            name,
            version,
            started_at: Rfc3339(started_at),
            state: match (is_live, report.is_draining) {
                (false, _) => "dead",
                (true, true) => "draining",
                (true, false) => "live",
            },
            this: is_self,
            on_duty: is_on_duty,
            lease_age_ms: u64::try_from(renewed.as_millis()).unwrap_or(u64::MAX),
            slots: HostSlotsView { total: report.slots, used: report.used },
            memory_free_bytes: report.memory_free_bytes,
            other_settings,
            plugins_version: u64::try_from(plugins_version).unwrap_or_default(),
        }
    }
}

pub(crate) async fn hosts(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let hosts = api.store.hosts().await?;
    let own = hosts.iter().find(|host| host.is_self).map(|host| host.settings.clone()).unwrap_or_default();
    Ok(Json(hosts.into_iter().map(|host| HostView::new(host, &own)).collect::<Vec<_>>()))
}

pub(crate) fn spec() -> Operation {
    let example = json!([{
        "id": "3f2a9c0d81e64b57", "name": "worker-1", "version": "0.1.0",
        "started_at": "2026-11-23T07:26:49.604278581Z", "state": "live", "this": true, "on_duty": true,
        "lease_age_ms": 1_204, "slots": {"total": 1_000, "used": 12}, "memory_free_bytes": 6_341_787_648_u64,
        "other_settings": [], "plugins_version": 3,
    }]);
    Operation::get("/hosts", "listHosts", "List the hosts that share the database")
        .detail("Those that started first come first. The embedded database has one host.")
        .responds(200, ResponseSpec::json::<Vec<HostView>>("All hosts.", example))
        .problems(&kind::STORE_ACCESS)
}
