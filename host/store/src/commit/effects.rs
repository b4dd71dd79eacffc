//! What a transaction changes outside of the database once it has committed.

use std::sync::Arc;

use wasmill_model::{PluginName, Span, TaskState};

use crate::live::{LiveChange, LiveRuns};
use crate::rules::key_usage::KeyDelta;
use crate::rules::plugin_counts::CountDelta;
use crate::{EventPayload, StopRequest};

/// Changes to publish after the commit.
#[derive(Debug, Default)]
pub struct Effects {
    /// Claims that began and ended.
    pub live_changes: Vec<LiveChange>,
    /// Events of tasks.
    pub events: Vec<EventPayload>,
    /// Spans that ended.
    pub spans: Vec<Span>,
    /// Count changes per plugin.
    pub count_delta: CountDelta,
    /// What the tasks of limited keys take up more.
    pub key_delta: KeyDelta,
    /// Runs of this host that are to stop, since their parents have ended.
    pub stops: Vec<StopRequest>,
    /// Whether a dependency, a child or a posted event made tasks available.
    pub wait_for_ready: bool,
    /// Whether a delivery became due.
    pub wait_for_delivery: bool,
    /// Number of pending deliveries dropped.
    pub deliveries_dropped: u64,
}

impl Effects {
    /// Publishes what live runs, followers and traces see; not the counts.
    pub fn publish(&mut self, live_runs: &LiveRuns, events_reserved: u64) {
        live_runs.apply(self.live_changes.drain(..));
        live_runs.event_bus.reserve(events_reserved);
        live_runs.event_bus.publish(std::mem::take(&mut self.events));
        live_runs.request_stops(std::mem::take(&mut self.stops));
        if self.wait_for_ready {
            live_runs.wait_for_ready.notify_one();
        }
        if !self.spans.is_empty() {
            live_runs.tracer.record(std::mem::take(&mut self.spans));
        }
    }

    /// Counts a transition of a task of this plugin and limited key; no state stands for a task that is created or removed.
    pub fn record_move(
        &mut self,
        plugin: &PluginName,
        limit_key: Option<&Arc<str>>,
        from: Option<TaskState>,
        to: Option<TaskState>,
    ) {
        self.count_delta.record_move(plugin, from, to);
        if let Some(key) = limit_key {
            self.key_delta.record_move(key, from, to);
        }
    }
}
