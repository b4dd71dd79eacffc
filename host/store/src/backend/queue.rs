//! The queue: submit, claim, finish and cancel tasks.

use std::time::Duration;

use wasmill_model::{NewTask, PluginName, TaskId, Timestamp, Transition};

use crate::rules::group_limits::GroupLimits;
use crate::{
    CancelOutcome, CancelledMany, Claim, ClaimQuota, Claims, DependencyResults, Filter, IdempotencyKey,
    LogPart, RemoveOutcome, StoreError, StoredSteps, Submitted, TaskRef,
};

/// The queue: submit, claim, finish and cancel tasks. See [`Backend`](crate::Backend) for what holds for every method.
#[async_trait::async_trait]
pub trait TaskQueue {
    /// Stores new tasks, all or none, and returns the outcome of each; durable on return. A request with an
    /// idempotency key used in the last 24 hours gets its earlier answer and stores nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`], [`StoreError::PluginFull`] or [`StoreError::KeyQueueFull`] if a limit of waiting tasks would be
    /// exceeded, [`StoreError::KeyStorageFull`] if that of what the tasks of a key take up would be;
    /// [`StoreError::Duplicate`] if an id exists; [`StoreError::UnknownDependency`] if a dependency does not;
    /// [`StoreError::KeyReused`] if the idempotency key belongs to another request; [`StoreError::KeyTaken`]
    /// if a unique key is held and the task does not ask for its holder.
    async fn submit(
        &self,
        tasks: Vec<NewTask>,
        request: Option<(IdempotencyKey, Timestamp)>,
    ) -> Result<Submitted, StoreError>;

    /// Returns the earlier answer to this request, if there is one. Does not wait for writes, so it may miss
    /// a concurrent request: only [`TaskQueue::submit`] is certain.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyReused`] if the idempotency key belongs to another request.
    async fn find_submitted(
        &self,
        request: IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Submitted>, StoreError>;

    /// Returns what the steps of a request stored: submits whose key is the key of the request, a line feed
    /// and the name of the step.
    async fn steps(&self, request: IdempotencyKey, now: Timestamp) -> Result<StoredSteps, StoreError>;

    /// Claims up to `tasks_max` available tasks of these plugins, within the quota of each and, if there are other
    /// hosts, within what they leave of the limits of a plugin. It stops at the
    /// first task that does not fit into `available_memory`: smaller tasks behind it must not overtake it, or
    /// it might wait forever.
    ///
    /// The claim is fair: it serves plugins and their groups round robin, over all claims of this host.
    /// Within a group the task that has been available longest comes first, adjusted by priority.
    ///
    /// Not durable: a claim lost in a power cut only runs the task again. Tasks claimed for a dropped future
    /// are requeued.
    async fn claim(
        &self,
        quotas: Vec<ClaimQuota>,
        tasks_max: usize,
        available_memory: u64,
        now: Timestamp,
    ) -> Result<Claims, StoreError>;

    /// Sets how many tasks of each of these groups may run at once, over all plugins and hosts, from the next claim on;
    /// others have no limit. A group at its limit keeps its turn and delays no other.
    fn limit_groups(&self, limits: GroupLimits);

    /// Applies this transition to a running attempt and stores its log; durable on return.
    ///
    /// Returns false if the transition was refused: the claim was revoked and nothing is written, or the task
    /// had a stop request and is now cancelled or removed. The [pinned](Claim::set_digest) digest is stored. The log
    /// is appended to that of earlier runs.
    async fn finish(
        &self,
        claim: &Claim,
        next: Transition,
        log: Option<LogPart>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Finishes a run that was stopped and stores its log: the task is cancelled or removed if it had a stop
    /// request, and requeued without losing the attempt otherwise. Returns true if it was requeued.
    ///
    /// Not durable: after a power cut, recovery does it again.
    async fn finish_stopped(
        &self,
        claim: &Claim,
        log: Option<LogPart>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Cancels a task unless it has finished; durable on return. A waiting task is cancelled on return. A
    /// running one gets a stop request and becomes cancelled when its run ends, whatever the outcome. Its
    /// dependents are then cancelled or released as each of them asked, in this or a later batch, also after
    /// a crash.
    ///
    /// If another host runs the task, it kills the guest after `grace`.
    async fn cancel(&self, id: TaskId, grace: Duration, now: Timestamp) -> Result<CancelOutcome, StoreError>;

    /// Returns the unfinished tasks that match, waiting ones first. Does not wait for writes.
    async fn find_open(&self, filter: Filter) -> Result<Vec<TaskRef>, StoreError>;

    /// Cancels these tasks like [`TaskQueue::cancel`], except those that have finished or no longer match the
    /// states of the filter; durable on return.
    ///
    /// This is one transaction that other writes wait for: cancel many tasks in steps.
    async fn cancel_many(
        &self,
        found: Vec<TaskRef>,
        filter: Filter,
        grace: Duration,
        now: Timestamp,
    ) -> Result<CancelledMany, StoreError>;

    /// Removes a task with everything that belongs to it; durable on return. A running task gets a stop
    /// request and is removed when its run ends. To its dependents an unfinished task counts as cancelled. The grace
    /// is that of [`TaskQueue::cancel`].
    async fn remove(&self, id: TaskId, grace: Duration, now: Timestamp) -> Result<RemoveOutcome, StoreError>;

    /// Replaces the checkpoint of the task; durable on return.
    ///
    /// Returns false if the claim was revoked; then nothing is written.
    async fn save(&self, claim: &Claim, state: Vec<u8>) -> Result<bool, StoreError>;

    /// Returns the latest checkpoint of the task, of this attempt or an earlier one; `None` if there is none
    /// or the claim was revoked.
    async fn restore(&self, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the outcomes and results of the dependencies of a claimed task.
    async fn dependency_results(&self, claim: &Claim) -> Result<DependencyResults, StoreError>;

    /// Returns when tasks of a plugin with a [rate limit](ClaimQuota::rate) were claimed and how many,
    /// oldest first. Starts older than the span may be missing.
    async fn recent_starts(&self, plugin: PluginName) -> Result<Vec<(Timestamp, usize)>, StoreError>;

    /// Stores whether a plugin, or everything for `None`, is paused; durable on return. The scheduler decides
    /// what a pause means.
    async fn pause(&self, plugin: Option<PluginName>, paused: bool) -> Result<(), StoreError>;

    /// Returns the paused plugins; `None` among them stands for everything.
    async fn paused(&self) -> Result<Vec<Option<PluginName>>, StoreError>;
}
