//! What decides whether a task may start now, read at about the same time.

use wasmill_access::Identity;
use wasmill_model::{Rate, Runner, Task, TaskId, TaskState, TimeDelta, Timestamp};
use wasmill_runtime::NotReadyError;
use wasmill_scheduler::Slots;
use wasmill_store::Host;

use crate::problem::Problem;
use crate::state::Api;
use crate::task::get::depends_within;

/// Tasks ahead of one are counted up to this number, which bounds the cost of a long queue.
pub(super) const AHEAD_MAX: usize = 10_000;

/// The facts about one task.
pub(super) struct Facts {
    pub(super) task: Task,
    pub(super) now: Timestamp,
    /// Its unfinished dependencies.
    pub(super) open_dependencies: Vec<TaskId>,
    pub(super) is_draining: bool,
    pub(super) has_lease: bool,
    pub(super) is_paused: bool,
    pub(super) is_plugin_paused: bool,
    /// Whether its plugin is in service here.
    pub(super) is_ready: Result<(), NotReadyError>,
    /// Whether swap keeps its plugin from running here.
    pub(super) is_blocked_by_swap: bool,
    /// Running tasks of its plugin on all hosts, and their maximum.
    pub(super) concurrency: Option<(u64, u32)>,
    /// The rate of its plugin, and until when it is used up.
    pub(super) rate: Option<(Rate, Timestamp)>,
    pub(super) slots: Slots,
    /// Whether the next task of the queue waits for memory here.
    pub(super) is_memory_bound: bool,
    pub(super) hosts: Vec<Host>,
    /// Whether the sender must learn nothing of the tasks of others.
    pub(super) is_bounded: bool,
    /// See [`AHEAD_MAX`].
    pub(super) ahead: Option<u64>,
}

impl Facts {
    /// Reads them for a sender.
    pub(super) async fn gather(api: &Api, sender: &Identity, task: Task) -> Result<Self, Problem> {
        let now = api.clock.now();
        let plugin = &task.plugin;
        let is_bounded = sender.reach().is_bounded();
        let mut open_dependencies = Vec::new();
        if task.state == TaskState::Blocked
            && let Some(dependencies) =
                depends_within(api, sender, api.store.dependencies(task.id).await?).await?
        {
            let open = dependencies.on.iter().filter(|on| on.outcome.is_none());
            open_dependencies.extend(open.map(|on| on.id));
        }
        let ahead = match task.state {
            TaskState::Available if !is_bounded => api.store.tasks_ahead(task.id, AHEAD_MAX).await?,
            _ => None,
        };
        let config = api.runtime.plugin_config(plugin);
        let concurrency = match config.as_ref().and_then(|config| config.concurrency) {
            Some(max) => {
                let counts = api.store.plugin_counts().into_iter().find(|(name, _)| name == plugin);
                Some((counts.map_or(0, |(_, counts)| counts.running), max))
            }
            None => None,
        };
        let rate = match config.and_then(|config| config.rate) {
            Some(rate) => {
                let starts = api.store.recent_starts(plugin.clone()).await?;
                used_up_until(&starts, rate, now).map(|until| (rate, until))
            }
            None => None,
        };
        let lease = api.store.lease();
        let is_ready = api.runtime.check_ready(plugin);
        let is_blocked_by_swap = is_ready.is_ok() && !Runner::plugins(&api.runtime).contains(plugin);
        Ok(Self {
            now,
            open_dependencies,
            is_draining: api.scheduler.is_draining(),
            has_lease: lease.is_valid(lease.term()),
            is_paused: api.scheduler.is_paused(),
            is_plugin_paused: api.scheduler.is_plugin_paused(plugin),
            is_ready,
            is_blocked_by_swap,
            concurrency,
            rate,
            slots: api.scheduler.slots(),
            is_memory_bound: api.scheduler.is_memory_bound(),
            hosts: api.store.hosts().await?,
            is_bounded,
            ahead,
            task,
        })
    }

    /// Returns the live hosts other than this one that may start tasks.
    pub(super) fn others(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.is_live && !host.is_self && !host.report.is_draining)
    }

    /// Returns the free slots of the other hosts, by their reports, which are seconds old.
    pub(super) fn free_elsewhere(&self) -> u64 {
        self.others().map(|host| host.report.slots.saturating_sub(host.report.used)).sum()
    }
}

/// Returns when the next task may start at this rate; `None` if one may start now. The starts come oldest first.
fn used_up_until(starts: &[(Timestamp, usize)], rate: Rate, now: Timestamp) -> Option<Timestamp> {
    let per = TimeDelta::from_std(rate.per).unwrap_or(TimeDelta::MAX);
    let counted: Vec<_> = starts.iter().filter(|(at, _)| *at + per > now).collect();
    let mut left: usize = counted.iter().map(|(_, tasks)| tasks).sum();
    let mut until = None;
    for (at, tasks) in counted {
        if left < rate.starts as usize {
            break;
        }
        left -= tasks;
        // Recorded while the clock was ahead, it counts as of now.
        until = Some((*at).min(now) + per);
    }
    until
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn a_rate_is_used_up_until_enough_starts_have_expired() {
        let at = |second| chrono::Utc.timestamp_opt(1_700_000_000 + second, 0).single().expect("in range");
        let rate: Rate = "5/m".parse().expect("valid");
        let until = |starts: &[(i64, usize)]| {
            let starts: Vec<_> = starts.iter().map(|(second, tasks)| (at(*second), *tasks)).collect();
            used_up_until(&starts, rate, at(60))
        };
        assert_eq!(until(&[]), None);
        assert_eq!(until(&[(0, 9), (10, 4)]), None, "the first have just expired");
        assert_eq!(until(&[(10, 4), (50, 1)]), Some(at(70)));
        assert_eq!(
            until(&[(10, 1), (20, 1), (30, 5)]),
            Some(at(90)),
            "more than the rate, as of another manifest"
        );
        assert_eq!(until(&[(99, 5)]), Some(at(120)), "of a clock that was ahead");
    }
}
