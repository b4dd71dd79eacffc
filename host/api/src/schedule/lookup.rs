//! The schedule that a path names.

use wasmill_model::ScheduleName;
use wasmill_store::Schedule;

use crate::problem::Problem;
use crate::problem::field_errors::truncated_quote;
use crate::problem::kind::{self, ProblemKind};
use crate::state::Api;

/// Problems of operations on one schedule.
pub(super) const SCHEDULE_ACCESS: [ProblemKind; 4] =
    [kind::INVALID_PATH, kind::UNKNOWN_SCHEDULE, kind::DRAINING, kind::STORE_UNAVAILABLE];

/// Returns the schedule of this name, or fails with `unknown-schedule`.
pub(super) async fn find(api: &Api, name: &str) -> Result<Schedule, Problem> {
    let unknown = || unknown_schedule(name);
    let known = name.parse().map_err(|_| unknown())?;
    api.store.schedule(known).await?.ok_or_else(unknown)
}

pub(super) fn unknown_schedule(name: &str) -> Problem {
    let detail =
        format!("schedule '{}' does not exist; GET /schedules lists all schedules", truncated_quote(name));
    Problem::of(kind::UNKNOWN_SCHEDULE, detail)
}

pub(super) fn schedule_managed_by_plugin(name: &ScheduleName) -> Problem {
    let detail = format!(
        "schedule '{name}' is defined by the manifest {name}.toml of plugin '{name}', so change it \
         there; here it can be paused, resumed and run"
    );
    Problem::of(kind::SCHEDULE_MANAGED_BY_PLUGIN, detail)
}
