//! The schedule that a path names.

use wasmill_access::Identity;
use wasmill_model::ScheduleName;
use wasmill_store::Schedule;

use crate::problem::Problem;
use crate::problem::field_errors::truncated_quote;
use crate::problem::kind::{self, ProblemKind};
use crate::state::Api;

/// Problems of operations on one schedule.
pub(super) const SCHEDULE_ACCESS: [ProblemKind; 4] =
    [kind::INVALID_PATH, kind::UNKNOWN_SCHEDULE, kind::DRAINING, kind::STORE_UNAVAILABLE];

/// Returns the stored name of the schedule that a path names for this sender, or fails with `unknown-schedule`. Schedules of
/// a key with a reach have names of their own, which only keys of the same reach know.
pub(super) fn name_for(sender: &Identity, name: &str) -> Result<ScheduleName, Problem> {
    let known = name.parse::<ScheduleName>().ok();
    let known = match known {
        Some(known) if !sender.reach().is_bounded() => Some(known),
        known => known.filter(|known| known.space().is_empty()).map(|known| known.within(&sender.space())),
    };
    known.ok_or_else(|| unknown_schedule(name))
}

/// Returns the schedule that a path names for this sender, or fails with `unknown-schedule`.
pub(super) async fn find(api: &Api, sender: &Identity, name: &str) -> Result<Schedule, Problem> {
    let known = name_for(sender, name)?;
    api.store.schedule(known).await?.ok_or_else(|| unknown_schedule(name))
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
