//! Tasks, times and places for the tests.

use std::time::Duration;

use chrono::TimeZone;
use wasmill_model::{Cause, Failure, LogStream, NewTask, PluginName, Task, TaskId, Timestamp};
use wasmill_store::{
    Claim, Claimed, Claims, LogPart, PruneCursor, Recovery, RetentionBounds, Store, StoreConfig,
};

/// Where a store lives on while it is closed and opened again.
pub(crate) trait StoreFixture {
    fn new() -> Self;
    fn open_at(&self, waiting_max: u64, now: Timestamp) -> (Store, Recovery);

    fn open(&self) -> Store {
        self.open_at(1_000, at(0)).0
    }
}

/// A folder that goes with the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig::new(self.path())
    }
}

impl StoreFixture for Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test"))
    }

    fn open_at(&self, waiting_max: u64, now: Timestamp) -> (Store, Recovery) {
        Store::open(StoreConfig { waiting_max, ..self.config() }, now).expect("the store opens")
    }
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    chrono::Utc.timestamp_opt(1_700_000_000 + seconds, 0).single().expect("in range")
}

pub(crate) fn plugin(name: &str) -> PluginName {
    name.parse().expect("a valid name")
}

/// A task of plugin `a` that was created at second 0.
pub(crate) fn new_task() -> NewTask {
    NewTask { attempts_max: 3, ..NewTask::new(plugin("a"), at(0), Duration::from_secs(600)) }
}

pub(crate) fn failure() -> Failure {
    Failure::new(Cause::Io, "connection refused")
}

/// Stores one new task.
pub(crate) async fn insert_one(store: &Store) -> TaskId {
    let task = new_task();
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    id
}

/// Claims tasks of plugin `a`.
pub(crate) async fn claim(store: &Store, tasks_max: usize, now: Timestamp) -> Claims {
    store.claim(&[plugin("a")], tasks_max, now).await.expect("claimed")
}

/// Claims the one task of plugin `a` that is ready.
pub(crate) async fn claim_one(store: &Store, now: Timestamp) -> Claimed {
    let mut claims = claim(store, 2, now).await;
    assert_eq!(claims.claimed.len(), 1);
    claims.claimed.remove(0)
}

pub(crate) async fn get(store: &Store, id: TaskId) -> Task {
    store.get(id).await.expect("read").expect("stored")
}

pub(crate) fn ids(claims: &Claims) -> Vec<TaskId> {
    claims.claimed.iter().map(|claimed| claimed.claim.id).collect()
}

/// Ends the run of a task that was asked to stop, as the scheduler does once its guest is gone.
pub(crate) async fn end_stopped(store: &Store, claim: &Claim, now: Timestamp) {
    assert_eq!(store.finish_stopped(claim, claim.log().part(), now).await, Ok(false), "it was asked to stop");
}

/// Writes this to the log of a run and returns what is to be stored of it.
pub(crate) fn wrote(claim: &Claim, text: &str) -> Option<LogPart> {
    claim.log().keep(1 << 10);
    claim.log().write(LogStream::Stdout, text.as_bytes(), at(1));
    claim.log().part()
}

/// Keeps all that ended at this second or later, and what is pending.
pub(crate) fn since(second: i64) -> RetentionBounds {
    RetentionBounds { ended_since: Some(at(second)), ..RetentionBounds::default() }
}

/// Prunes all that is not kept; returns how many tasks went.
pub(crate) async fn prune(store: &Store, keep: RetentionBounds) -> u64 {
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
