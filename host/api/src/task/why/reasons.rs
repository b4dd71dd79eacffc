//! The reasons in the order in which they matter, from the facts alone.

use schemars::JsonSchema;
use serde::Serialize;
use wasmill_model::{TaskId, TaskPhase, TaskState, Timestamp};
use wasmill_runtime::NotReadyError;

use super::facts::{AHEAD_MAX, Facts};
use crate::openapi::schema::IdSchema;
use crate::view::time::Rfc3339;

/// Dependencies listed by id.
const TASKS_LISTED_MAX: usize = 100;

/// One reason why a task waits.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WaitReason")]
pub(super) struct ReasonView {
    /// The kind of reason, for programs.
    #[schemars(extend("enum" = [
        "dependencies", "delay", "backoff", "suspended", "paused", "plugin-paused", "draining", "lease", "plugin-unknown",
        "plugin-compiling", "plugin-rejected", "swap-enabled", "rate", "concurrency", "memory", "slots", "queue",
        "turn",
    ]))]
    code: &'static str,
    /// The reason, for people.
    detail: String,
    /// Whether it holds on all hosts that share the database, or is known of this one only.
    #[schemars(extend("enum" = ["all-hosts", "this-host"]))]
    on: &'static str,
    /// When it ends at the earliest; `null` if that is not known.
    until: Option<Rfc3339>,
    /// The first hundred tasks that it waits for.
    #[schemars(with = "Vec<IdSchema>", length(max = TASKS_LISTED_MAX))]
    tasks: Vec<TaskId>,
}

impl ReasonView {
    fn everywhere(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), on: "all-hosts", until: None, tasks: Vec::new() }
    }

    fn here(code: &'static str, detail: impl Into<String>) -> Self {
        Self { on: "this-host", ..Self::everywhere(code, detail) }
    }

    fn until(self, until: Timestamp) -> Self {
        Self { until: Some(Rfc3339(until)), ..self }
    }
}

/// Returns everything that keeps the task from starting; nothing unless it waits.
pub(super) fn reasons(facts: &Facts) -> Vec<ReasonView> {
    if !facts.task.state.is_waiting() {
        return Vec::new();
    }
    let mut reasons = Vec::new();
    reasons.extend(of_task(facts));
    reasons.extend(of_server(facts));
    reasons.extend(of_plugin(facts));
    if facts.is_bounded {
        // What follows counts the tasks of others.
        if facts.task.state == TaskState::Available && reasons.is_empty() {
            reasons.push(ReasonView::everywhere("turn", "it waits for its turn"));
        }
        return reasons;
    }
    reasons.extend(of_turns(facts));
    if facts.task.state == TaskState::Available {
        reasons.extend(of_capacity(facts));
    }
    reasons
}

/// Returns what the task itself waits for.
fn of_task(facts: &Facts) -> Option<ReasonView> {
    let task = &facts.task;
    let at = shown(task.ready_at);
    let reason = match task.state {
        TaskState::Blocked => {
            let open = task.pending_dependencies.unwrap_or(0);
            let tasks = facts.open_dependencies.iter().take(TASKS_LISTED_MAX).copied().collect();
            let detail = format!(
                "it depends on {open} {} not finished",
                plural(open.into(), "task that has", "tasks that have")
            );
            return Some(ReasonView { tasks, ..ReasonView::everywhere("dependencies", detail) });
        }
        // Due, and available with the next claim.
        TaskState::Scheduled | TaskState::Suspended if task.ready_at <= facts.now => return None,
        TaskState::Scheduled if task.attempt > 0 => ReasonView::everywhere(
            "backoff",
            format!(
                "attempt {} of {} failed, and the next one starts at {at} or later",
                task.attempt, task.attempts_max
            ),
        ),
        TaskState::Scheduled => ReasonView::everywhere("delay", format!("it starts at {at} or later")),
        TaskState::Suspended if task.wake_on.event => {
            let detail = format!(
                "its guest waits for an event (POST /task/{}/event), until {at} at the latest",
                task.id
            );
            ReasonView::everywhere("suspended", detail)
        }
        TaskState::Suspended if task.wake_on.any_child || task.wake_on.all_children => {
            let which = if task.wake_on.any_child { "one" } else { "all" };
            let detail = format!(
                "its guest waits for {which} of its {} children, of which {} have ended, until {at} at the latest",
                task.children, task.children_ended
            );
            ReasonView::everywhere("suspended", detail)
        }
        TaskState::Suspended => {
            ReasonView::everywhere("suspended", format!("its guest asked to be resumed at {at} or later"))
        }
        _ => return None,
    };
    Some(reason.until(task.ready_at))
}

/// Returns what keeps every task from starting.
fn of_server(facts: &Facts) -> Vec<ReasonView> {
    let mut reasons = Vec::new();
    if facts.is_paused {
        reasons
            .push(ReasonView::everywhere("paused", "the queue is paused: no task starts until POST /resume"));
    }
    if facts.is_draining {
        let detail = "this host drains: it starts no task before it is restarted";
        reasons.push(ReasonView::here("draining", detail));
    }
    if !facts.has_lease {
        let detail = "this host has not renewed its lease: it starts no task before it reaches the database";
        reasons.push(ReasonView::here("lease", detail));
    }
    reasons
}

/// Returns what keeps every task of the plugin from starting.
fn of_plugin(facts: &Facts) -> Vec<ReasonView> {
    let plugin = &facts.task.plugin;
    let mut reasons = Vec::new();
    if facts.is_plugin_paused {
        let detail = format!(
            "plugin {plugin} is paused: none of its tasks starts until POST /plugins/{plugin}/resume"
        );
        reasons.push(ReasonView::everywhere("plugin-paused", detail));
    }
    match &facts.is_ready {
        Ok(()) => {}
        Err(why) => {
            let code = match why {
                NotReadyError::Unknown(_) => "plugin-unknown",
                NotReadyError::Compiling(_) => "plugin-compiling",
                NotReadyError::Rejected { .. } => "plugin-rejected",
            };
            reasons.push(ReasonView::here(code, why.to_string()));
        }
    }
    if facts.is_blocked_by_swap {
        let detail =
            "swap was enabled while this host ran, so guests of this plugin start after a restart only";
        reasons.push(ReasonView::here("swap-enabled", detail));
    }
    reasons
}

/// Returns what keeps the task from starting because of others of its plugin.
fn of_turns(facts: &Facts) -> Vec<ReasonView> {
    let plugin = &facts.task.plugin;
    let mut reasons = Vec::new();
    if let Some((rate, until)) = facts.rate {
        let detail = format!(
            "tasks of plugin {plugin} start at {rate} at most; the next may start at {}",
            shown(until)
        );
        reasons.push(ReasonView::everywhere("rate", detail).until(until));
    }
    if let Some((running, max)) = facts.concurrency
        && running >= u64::from(max)
    {
        let detail = format!("plugin {plugin} runs {running} of at most {max} tasks at once");
        reasons.push(ReasonView::everywhere("concurrency", detail));
    }
    reasons
}

/// Returns what an available task waits for on a host that may run it.
fn of_capacity(facts: &Facts) -> Vec<ReasonView> {
    let mut reasons = Vec::new();
    if facts.is_memory_bound {
        let detail = "the next task of the queue waits for memory, and others do not overtake it";
        reasons.push(ReasonView::here("memory", detail));
    }
    let (used, total, elsewhere) = (facts.slots.used, facts.slots.total, facts.free_elsewhere());
    if used >= total {
        let detail = format!("{used} of {total} slots of this host are used");
        reasons.push(match (elsewhere, facts.others().count()) {
            (0, 0) => ReasonView::everywhere("slots", format!("{used} of {total} slots are used")),
            (0, _) => ReasonView::everywhere("slots", format!("{detail}, and all slots of the others")),
            _ => ReasonView::here("slots", format!("{detail}; {elsewhere} of other hosts are free")),
        });
    }
    if let Some(ahead @ 1..) = facts.ahead {
        let bound = if ahead >= AHEAD_MAX as u64 { "at least " } else { "" };
        let whose = match &facts.task.group {
            Some(group) => format!("of plugin {} and group {}", facts.task.plugin, group.as_str()),
            None => format!("of plugin {}", facts.task.plugin),
        };
        let detail = format!(
            "{bound}{ahead} {} {whose} {} first",
            plural(ahead, "task", "tasks"),
            plural(ahead, "is", "are")
        );
        reasons.push(ReasonView::everywhere("queue", detail));
    }
    reasons
}

/// Says in a sentence where the task stands.
pub(super) fn summary(facts: &Facts, reasons: &[ReasonView]) -> String {
    let task = &facts.task;
    match (task.state.phase(), reasons.first()) {
        (TaskPhase::Waiting, Some(first)) => first.detail.clone(),
        (TaskPhase::Waiting, None) => "nothing holds it up: it starts within about a second".to_owned(),
        (TaskPhase::Running, _) if task.stop_requested_at.is_some() => {
            "it was asked to stop, and runs until its guest is gone".to_owned()
        }
        (TaskPhase::Running, _) => "it does not wait: it is running".to_owned(),
        (phase, _) => format!("it does not wait: it is {}", phase.as_str()),
    }
}

fn shown(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn plural(number: u64, one: &'static str, several: &'static str) -> &'static str {
    if number == 1 { one } else { several }
}
