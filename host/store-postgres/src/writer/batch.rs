//! Commands, and the open transaction in which they run.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;
use wasmill_model::{PluginName, TaskState};
use wasmill_store::StoreError;
use wasmill_store::commit::{Effects, WriterState};
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::key_usage::{AllKeyUsage, KeyUsage};
use wasmill_store::rules::plugin_counts::AllPluginCounts;
use wasmill_store::rules::submit::Room;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::writer::gathered::{Gathered, Written};

/// A command of one kind.
#[async_trait]
pub(crate) trait Operation: fmt::Debug + Send + Sync + 'static {
    /// The answer to the caller.
    type Answer: fmt::Debug + Send + Sync + 'static;

    /// Whether the change must survive a crash of the server once the caller is answered.
    const DURABLE: bool;

    /// Returns the approximate number of rows it writes; 4 KiB of a large value count as one.
    fn cost(&self) -> u64 {
        1
    }

    /// Adds rows that one statement writes for all commands of the batch; `run` finds them written.
    fn gather<'a>(&'a self, _rows: &mut Gathered<'a>) {}

    /// Applies the change. An error rolls the whole batch back, so a refusal belongs into the answer and must
    /// leave no changes behind.
    async fn run(&self, batch: &mut Batch<'_>) -> Result<Self::Answer>;
}

/// A command of any kind.
#[async_trait]
pub(crate) trait Job: fmt::Debug + Send + Sync {
    fn durable(&self) -> bool;
    fn cost(&self) -> u64;
    fn gather<'a>(&'a self, rows: &mut Gathered<'a>);
    async fn run(&mut self, batch: &mut Batch<'_>) -> Result<()>;
    /// Drops the answer of a run that was rolled back; claims in it count as abandoned.
    fn roll_back(&mut self);
    /// Tells the caller that nobody knows yet; the answer stays.
    fn give_up(&mut self, error: StoreError);
    fn answer(self: Box<Self>, committed: std::result::Result<(), StoreError>);
}

/// A command and the caller that waits for it.
#[derive(Debug)]
pub(crate) struct Pending<O: Operation> {
    operation: O,
    answer: Option<O::Answer>,
    /// `None` once the caller got the answer that the outcome is unknown.
    reply: Option<oneshot::Sender<std::result::Result<O::Answer, StoreError>>>,
}

impl<O: Operation> Pending<O> {
    pub(crate) fn new(
        operation: O,
        reply: oneshot::Sender<std::result::Result<O::Answer, StoreError>>,
    ) -> Self {
        Self { operation, answer: None, reply: Some(reply) }
    }
}

#[async_trait]
impl<O: Operation> Job for Pending<O> {
    fn durable(&self) -> bool {
        O::DURABLE
    }

    fn cost(&self) -> u64 {
        self.operation.cost()
    }

    fn gather<'a>(&'a self, rows: &mut Gathered<'a>) {
        self.operation.gather(rows);
    }

    async fn run(&mut self, batch: &mut Batch<'_>) -> Result<()> {
        self.answer = Some(self.operation.run(batch).await?);
        Ok(())
    }

    fn roll_back(&mut self) {
        self.answer = None;
    }

    fn give_up(&mut self, error: StoreError) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Err(error));
        }
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), StoreError>) {
        // A committed batch has run all its jobs. The caller may have hung up.
        let Self { answer, reply, .. } = *self;
        if let Some(reply) = reply {
            let _ = reply.send(committed.and_then(|()| answer.ok_or(StoreError::Closed)));
        }
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
    /// The registration of this host.
    pub(crate) host: i64,
    /// Whether there are other hosts.
    pub(crate) has_others: bool,
    /// Where the turns of the last claim ended: plugin and group.
    pub(crate) turn: (String, String),
    /// Of how many claimed tasks one raises the floor of its queue, while somebody holds a snapshot.
    pub(crate) floor_every: Option<i64>,
    /// Other hosts at which runs are to stop.
    pub(crate) stops_at: BTreeSet<i64>,
    /// What was written for commands that have not run yet.
    pub(crate) written: Written,
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
        let (effects, turn) = (Effects::default(), <(String, String)>::default());
        let written = Written::default();
        Self {
            connection,
            writer_state,
            live_runs,
            effects,
            host: 0,
            has_others: false,
            turn,
            floor_every: None,
            stops_at: BTreeSet::new(),
            written,
            plugin_counts: None,
            key_usage: None,
        }
    }

    /// Returns the number of running tasks of a plugin on all hosts, including this batch.
    pub(crate) fn running(&self, plugin: &PluginName) -> usize {
        let before = self.plugin_counts.map_or(0, |plugin_counts| plugin_counts.get(plugin).running);
        let changed = self.effects.count_delta.of(plugin, TaskState::Running);
        usize::try_from(before.saturating_add_signed(changed)).unwrap_or(usize::MAX)
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
