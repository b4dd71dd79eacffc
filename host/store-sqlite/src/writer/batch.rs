//! Commands, and the open transaction in which they run.

use std::fmt;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;
use wasmill_model::{PluginName, TaskState};
use wasmill_store::StoreError;
use wasmill_store::commit::{Effects, WriterState};
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::fair_queue::FairQueue;
use wasmill_store::rules::key_usage::{AllKeyUsage, KeyUsage};
use wasmill_store::rules::plugin_counts::AllPluginCounts;
use wasmill_store::rules::submit::Room;

/// A command of one kind.
pub(crate) trait Operation: fmt::Debug + Send + 'static {
    /// The answer to the caller.
    type Answer: fmt::Debug + Send + 'static;

    /// Whether the change must survive a power cut once the caller is answered.
    const DURABLE: bool;

    /// Returns the approximate number of rows it writes; 4 KiB of a large value count as one.
    fn cost(&self) -> u64 {
        1
    }

    /// Applies the change. An error rolls the whole batch back, so a refusal belongs into the answer and must
    /// leave no changes behind.
    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Self::Answer>;
}

pub(crate) use wasmill_store::commit::large;

/// A command of any kind.
pub(crate) trait Job: fmt::Debug + Send {
    fn durable(&self) -> bool;
    fn cost(&self) -> u64;
    fn run(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()>;
    /// Drops the answer of a run that was rolled back; claims in it count as abandoned.
    fn roll_back(&mut self);
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A command and the caller that waits for it.
#[derive(Debug)]
pub(crate) struct Pending<O: Operation> {
    operation: O,
    answer: Option<O::Answer>,
    reply: oneshot::Sender<Result<O::Answer, StoreError>>,
}

impl<O: Operation> Pending<O> {
    pub(crate) fn new(operation: O, reply: oneshot::Sender<Result<O::Answer, StoreError>>) -> Self {
        Self { operation, answer: None, reply }
    }
}

impl<O: Operation> Job for Pending<O> {
    fn durable(&self) -> bool {
        O::DURABLE
    }

    fn cost(&self) -> u64 {
        self.operation.cost()
    }

    fn run(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        self.answer = Some(self.operation.run(batch)?);
        Ok(())
    }

    fn roll_back(&mut self) {
        self.answer = None;
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        // A committed batch has run all its jobs. The caller may have hung up.
        let Self { answer, reply, .. } = *self;
        let _ = reply.send(committed.and_then(|()| answer.ok_or(StoreError::Closed)));
    }
}

/// An open transaction and the changes to apply once it commits. Operations read their own batch through it.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) writer_state: WriterState,
    /// Live runs as of the last commit.
    pub(crate) live_runs: &'a LiveRuns,
    /// What to publish once it commits.
    pub(crate) effects: Effects,
    /// Round robin over plugins and groups.
    pub(crate) fair_queue: FairQueue,
    /// Counts as of the last commit; `None` during recovery.
    pub(crate) plugin_counts: Option<&'a AllPluginCounts>,
    /// What limited keys take up as of the last commit; `None` during recovery.
    pub(crate) key_usage: Option<&'a AllKeyUsage>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        writer_state: WriterState,
        live_runs: &'a LiveRuns,
    ) -> Self {
        Self {
            connection,
            writer_state,
            live_runs,
            effects: Effects::default(),
            fair_queue: FairQueue::default(),
            plugin_counts: None,
            key_usage: None,
        }
    }

    /// Returns the number of available tasks of a plugin, including this batch.
    pub(crate) fn available(&self, plugin: &PluginName) -> u64 {
        let before = self.plugin_counts.map_or(0, |plugin_counts| plugin_counts.get(plugin).available);
        before.saturating_add_signed(self.effects.count_delta.of(plugin, TaskState::Available))
    }

    /// Returns true if any task may count for a limited key.
    pub(crate) fn has_limited_keys(&self) -> bool {
        !self.effects.key_delta.is_empty() || self.key_usage.is_none_or(|key_usage| !key_usage.is_empty())
    }

    /// Records a transition of a task of this plugin and limited key; no state stands for a task that is created or removed.
    pub(crate) fn record_move(
        &mut self,
        plugin: &PluginName,
        limit_key: Option<&Arc<str>>,
        from: Option<TaskState>,
        to: Option<TaskState>,
    ) {
        self.writer_state.record_move(from, to);
        self.effects.record_move(plugin, limit_key, from, to);
    }
}

/// As of the last commit and this batch.
impl Room for Batch<'_> {
    fn waiting(&self, plugin: &PluginName) -> u64 {
        let before = self.plugin_counts.map_or(0, |plugin_counts| plugin_counts.get(plugin).waiting());
        before.saturating_add_signed(self.effects.count_delta.waiting(plugin))
    }

    fn usage(&self, key: &str) -> KeyUsage {
        let before = self.key_usage.map(|key_usage| key_usage.get(key)).unwrap_or_default();
        before.after(self.effects.key_delta.of(key))
    }
}
