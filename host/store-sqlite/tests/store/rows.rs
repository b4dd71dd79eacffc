//! One damaged row costs only itself; an idle store writes nothing; a retry reads one moment.

use std::path::Path;

use rusqlite::Connection;
use wasmill_model::{Cause, NewTask, OnFailure, TaskId, TaskState, Transition};
use wasmill_store::{Filter, ListQuery, Store, StoreError};
use wasmill_store_suite::conformance::dependencies::with;
use wasmill_store_suite::fixture::{
    Fixture, StoreExt, at, claim, claim_one, get, insert_one, new_task, plugin, prune, since,
};

use crate::folder::Folder;

/// Changes rows behind the back of the store.
fn spoil(folder: &Folder, sql: &str) {
    let path: &Path = folder.path();
    let connection = Connection::open(path.join("wasmill.db")).expect("opened");
    assert!(connection.execute(sql, []).expect("changed") > 0);
}

fn done() -> Transition {
    Transition::Completed("1".into())
}

async fn listed(store: &Store, filter: Filter) -> Vec<TaskId> {
    let page = store.list(ListQuery { limit: 9, before: None, filter }).await.expect("listed");
    page.tasks.iter().map(|task| task.id).collect()
}

#[tokio::test]
async fn a_damaged_task_fails_on_claim_and_the_others_run() {
    for column in ["trace = 'no trace'", "usage = '{', suspensions = 1", "started_at = NULL, suspensions = 1"]
    {
        let folder = Folder::new();
        let store = folder.open();
        let bad = insert_one(&store).await;
        let dependent = NewTask { plugin: plugin("b"), ..with(&[bad], OnFailure::Cancel, false) };
        let dependent_id = dependent.id;
        store.insert(vec![dependent]).await.expect("inserted");
        let good = insert_one(&store).await;
        spoil(&folder, &format!("UPDATE task SET {column} WHERE seq = 1"));
        assert_eq!(claim_one(&store, at(1)).await.claim.id, good, "{column}");
        let failed = get(&store, bad).await;
        assert_eq!(failed.state, TaskState::Failed, "{column}");
        let failure = failed.failure.expect("it failed");
        assert!(failure.cause == Cause::HostFault && failure.message.contains("damaged"), "{failure:?}");
        assert_eq!(get(&store, dependent_id).await.state, TaskState::Cancelled, "it was waited for");
        let counts = store.counts().await.expect("counted");
        assert_eq!((counts.waiting, counts.running, store.finished_count()), (0, 1, 2));
    }
}

#[tokio::test]
async fn a_damaged_running_task_does_not_prevent_a_start() {
    let folder = Folder::new();
    let store = folder.open();
    let (bad, good) = (insert_one(&store).await, insert_one(&store).await);
    assert_eq!(claim(&store, 2, at(1)).await.claimed.len(), 2);
    store.close().await;
    spoil(&folder, "UPDATE task SET trace = 'no trace' WHERE seq = 1");
    let (store, recovery) = folder.open_at(9, at(2));
    assert_eq!((recovery.failed, recovery.requeued), (1, 1));
    assert_eq!(get(&store, bad).await.state, TaskState::Failed);
    assert_eq!(claim_one(&store, at(3)).await.claim.id, good);
}

#[tokio::test]
async fn a_damaged_blocked_task_stops_no_other() {
    let folder = Folder::new();
    let store = folder.open();
    let first = insert_one(&store).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let task = with(&[first], OnFailure::Cancel, false);
        waiting.push(task.id);
        store.insert(vec![task]).await.expect("inserted");
    }
    spoil(&folder, "UPDATE task SET trace = 'no trace' WHERE seq = 2");
    store.cancel(first, at(1)).await.expect("cancelled");
    insert_one(&store).await;
    assert_eq!(get(&store, waiting[0]).await.state, TaskState::Failed);
    assert_eq!(get(&store, waiting[1]).await.state, TaskState::Cancelled);
}

#[tokio::test]
async fn an_unknown_cause_and_a_damaged_row_leave_the_rest_of_a_list() {
    let folder = Folder::new();
    let store = folder.open();
    let mut ids = Vec::new();
    for second in 0..3 {
        ids.push(insert_one(&store).await);
        let claim = claim_one(&store, at(second)).await.claim;
        let retry = Transition::RetryAt(at(second), wasmill_store_suite::fixture::failure());
        assert_eq!(store.finish(&claim, retry, None, at(second)).await, Ok(true));
        let claim = claim_one(&store, at(second)).await.claim;
        let failed = Transition::Failed(wasmill_store_suite::fixture::failure());
        assert_eq!(store.finish(&claim, failed, None, at(second)).await, Ok(true));
    }
    spoil(&folder, "UPDATE task SET cause = 'of-2031' WHERE seq = 1");
    spoil(&folder, "UPDATE attempt SET outcome = 'of-2031' WHERE seq = 1");
    spoil(&folder, "UPDATE task SET usage = 'none', tags = '[' WHERE seq = 2");
    let failed = Filter { states: vec![TaskState::Failed], ..Filter::default() };
    let tagged = Filter { tags: vec!["t".parse().expect("a tag")], ..failed.clone() };
    assert_eq!(listed(&store, Filter::default()).await, [ids[2], ids[0]]);
    assert_eq!(listed(&store, failed).await, [ids[2], ids[0]]);
    assert_eq!(listed(&store, tagged).await, []);
    let failure = get(&store, ids[0]).await.failure.expect("it failed");
    assert_eq!(failure.cause, Cause::HostFault);
    assert!(failure.message.contains("of-2031"), "{failure:?}");
    assert_eq!(store.attempts(ids[0]).await.expect("read")[0].cause, Cause::HostFault);
    assert!(matches!(store.get(ids[1]).await, Err(StoreError::Corrupt { .. })));
    // Its tags are in the way of forgetting it, and of nothing else.
    assert_eq!(prune(&store, since(9)).await, 2);
}

#[tokio::test]
async fn an_idle_store_writes_nothing() {
    let folder = Folder::new();
    let store = folder.open();
    let later = NewTask { run_at: Some(at(1_000_000)), ..new_task() };
    store.insert(vec![later]).await.expect("inserted");
    insert_one(&store).await;
    let claim_of_one = claim_one(&store, at(1)).await.claim;
    assert_eq!(store.finish(&claim_of_one, done(), None, at(1)).await, Ok(true));
    let wal = || std::fs::read(folder.path().join("wasmill.db-wal")).expect("read");
    let (before, commits) = (wal(), store.stats().commits);
    for second in 2..100 {
        assert!(claim(&store, 9, at(second)).await.claimed.is_empty());
        assert_eq!(prune(&store, since(0)).await, 0);
        assert_eq!(store.prune_keys(at(second)).await, Ok(0));
    }
    assert!(store.stats().commits > commits, "it was asked for something");
    assert!(wal() == before, "and wrote nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_retry_of_a_task_pruned_meanwhile_never_loses_its_dependencies() {
    let folder = Folder::new();
    let (store, _) = folder.open_at(100_000, at(0));
    for round in 0..400 {
        let first = insert_one(&store).await;
        let task = with(&[first], OnFailure::Cancel, true);
        let id = task.id;
        store.insert(vec![task]).await.expect("inserted");
        let remove = {
            let store = store.clone();
            tokio::spawn(async move { store.remove(id, at(1)).await })
        };
        while let Some((_, again)) = store.clone_for_retry(id, TaskId::new(), at(1)).await.expect("read") {
            assert!(again.dependencies.is_some(), "round {round}: it would start at once");
        }
        remove.await.expect("ran").expect("removed");
        store.remove(first, at(1)).await.expect("removed");
    }
}
