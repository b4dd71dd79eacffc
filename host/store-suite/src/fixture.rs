//! Databases, tasks and times for tests.

#![allow(missing_docs, reason = "most of these are a value of the type they return")]

use std::time::Duration;

use chrono::TimeZone;
use wasmill_model::{
    Cause, Failure, LogStream, NewTask, PluginName, Suspension, Task, TaskId, Timestamp, Tracer, Transition,
    WakeOn,
};
use wasmill_store::{
    CancelOutcome, CancelledMany, Claim, ClaimQuota, Claimed, Claims, Filter, LogPart, PruneCursor, Recovery,
    RemoveOutcome, RetentionBounds, Store, StoreError, TaskRef,
};

/// A database that a store can be opened in again and again. It goes with the test.
pub trait Fixture {
    /// Makes an empty database.
    fn new() -> Self;

    /// Opens the store, once the one opened before is closed or dropped.
    fn open_with(&self, waiting_max: u64, tracer: &Tracer, now: Timestamp) -> (Store, Recovery);

    /// Opens the store without traces.
    fn open_at(&self, waiting_max: u64, now: Timestamp) -> (Store, Recovery) {
        self.open_with(waiting_max, &Tracer::default(), now)
    }

    /// Opens the store at second 0, for up to 1,000 waiting tasks.
    fn open(&self) -> Store {
        self.open_at(1_000, at(0)).0
    }
}

/// A database that several hosts share, each at a place that [`Fixture::open_with`] counts as 0.
pub trait SharedFixture: Fixture {
    /// Starts a host; one that was at this place is dead.
    fn start_at(&self, place: usize, waiting_max: u64, now: Timestamp) -> Store;

    /// Sets the clock of all hosts: they put back the tasks of dead ones by themselves.
    fn set_time(&self, now: Timestamp);

    /// Makes one of the next commits of the host at this place go wrong.
    fn disturb(&self, place: usize, fault: Fault);

    /// Cuts the connections of the host at this place, until it is restored.
    fn cut(&self, place: usize, is_cut: bool);

    /// Revokes a registration, as another host does that has not seen it renewed.
    fn revoke(&self, term: i64) -> impl Future<Output = ()>;
}

/// What goes wrong with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is lost, and the commit never arrives.
    LoseCommit,
    /// The connection is lost, and the commit was done.
    LoseAnswer,
    /// The host stops before the commit, while the others wait for it.
    StopInTurn,
}

/// Operations in the short form that most tests need.
pub trait StoreExt {
    /// Submits tasks without an idempotency key.
    fn insert(&self, tasks: Vec<NewTask>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Claims tasks of these plugins, whatever memory they need.
    fn claim<Q: Into<ClaimQuota> + Clone + Sync>(
        &self,
        quotas: &[Q],
        tasks_max: usize,
        now: Timestamp,
    ) -> impl Future<Output = Result<Claims, StoreError>> + Send;

    /// Cancels a task without a grace.
    fn cancel(
        &self,
        id: TaskId,
        now: Timestamp,
    ) -> impl Future<Output = Result<CancelOutcome, StoreError>> + Send;

    /// Removes a task without a grace.
    fn remove(
        &self,
        id: TaskId,
        now: Timestamp,
    ) -> impl Future<Output = Result<RemoveOutcome, StoreError>> + Send;

    /// Cancels tasks without a grace.
    fn cancel_many(
        &self,
        found: Vec<TaskRef>,
        filter: Filter,
        now: Timestamp,
    ) -> impl Future<Output = Result<CancelledMany, StoreError>> + Send;
}

impl StoreExt for Store {
    async fn insert(&self, tasks: Vec<NewTask>) -> Result<(), StoreError> {
        self.submit(tasks, None).await.map(drop)
    }

    async fn claim<Q: Into<ClaimQuota> + Clone + Sync>(
        &self,
        quotas: &[Q],
        tasks_max: usize,
        now: Timestamp,
    ) -> Result<Claims, StoreError> {
        let quotas = quotas.iter().cloned().map(Into::into).collect();
        (**self).claim(quotas, tasks_max, u64::MAX, now).await
    }

    async fn cancel(&self, id: TaskId, now: Timestamp) -> Result<CancelOutcome, StoreError> {
        (**self).cancel(id, Duration::ZERO, now).await
    }

    async fn remove(&self, id: TaskId, now: Timestamp) -> Result<RemoveOutcome, StoreError> {
        (**self).remove(id, Duration::ZERO, now).await
    }

    async fn cancel_many(
        &self,
        found: Vec<TaskRef>,
        filter: Filter,
        now: Timestamp,
    ) -> Result<CancelledMany, StoreError> {
        (**self).cancel_many(found, filter, Duration::ZERO, now).await
    }
}

pub fn at(seconds: i64) -> Timestamp {
    chrono::Utc.timestamp_opt(1_700_000_000 + seconds, 0).single().expect("in range")
}

pub fn plugin(name: &str) -> PluginName {
    name.parse().expect("a valid name")
}

/// A task of plugin `a` that was created at second 0.
pub fn new_task() -> NewTask {
    NewTask { attempts_max: 3, ..NewTask::new(plugin("a"), at(0), Duration::from_secs(600)) }
}

pub fn failure() -> Failure {
    Failure::new(Cause::Io, "connection refused")
}

/// Suspends a task until this time, or what wakes it, with this state.
pub fn suspended(until: Timestamp, state: &[u8], wake_on: WakeOn) -> Transition {
    Transition::Suspended(until, Suspension { wait: Duration::ZERO, wake_on, state: state.to_vec() })
}

/// Stores one new task.
pub async fn insert_one(store: &Store) -> TaskId {
    let task = new_task();
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    id
}

/// Claims tasks of plugin `a`.
pub async fn claim(store: &Store, tasks_max: usize, now: Timestamp) -> Claims {
    store.claim(&[plugin("a")], tasks_max, now).await.expect("claimed")
}

/// Claims the one task of plugin `a` that is ready.
pub async fn claim_one(store: &Store, now: Timestamp) -> Claimed {
    let mut claims = claim(store, 2, now).await;
    assert_eq!(claims.claimed.len(), 1);
    claims.claimed.remove(0)
}

pub async fn get(store: &Store, id: TaskId) -> Task {
    store.get(id).await.expect("read").expect("stored")
}

pub fn ids(claims: &Claims) -> Vec<TaskId> {
    claims.claimed.iter().map(|claimed| claimed.claim.id).collect()
}

/// Ends the run of a task that was asked to stop, as the scheduler does once its guest is gone.
pub async fn end_stopped(store: &Store, claim: &Claim, now: Timestamp) {
    assert_eq!(store.finish_stopped(claim, claim.log().part(), now).await, Ok(false), "it was asked to stop");
}

/// Writes this to the log of a run and returns what is to be stored of it.
pub fn wrote(claim: &Claim, text: &str) -> Option<LogPart> {
    claim.log().keep(1 << 10);
    claim.log().write(LogStream::Stdout, text.as_bytes(), at(1));
    claim.log().part()
}

/// Keeps all that ended at this second or later, and what is pending.
pub fn since(second: i64) -> RetentionBounds {
    RetentionBounds { ended_since: Some(at(second)), ..RetentionBounds::default() }
}

/// Prunes all that is not kept; returns how many tasks went.
pub async fn prune(store: &Store, keep: RetentionBounds) -> u64 {
    let (mut cursor, mut tasks) = (PruneCursor::default(), 0);
    loop {
        let excess = store.excess(keep, cursor, 1_000).await.expect("read");
        for step in excess.steps {
            tasks += store.prune(step).await.expect("pruned").tasks;
        }
        if excess.is_all {
            return tasks;
        }
        cursor = excess.cursor;
    }
}
