//! What an opening finds.

use wasmill_model::{Cause, TaskState, Transition};
use wasmill_store::{Recovery, StoreError};

use crate::fixture::{Fixture, StoreExt, at, claim, claim_one, get, ids, insert_one, new_task, plugin};

pub async fn tasks_survive_a_restart(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let before = get(&store, id).await;
    drop(store);
    let (store, recovery) = fixture.open_at(9, at(5));
    assert_eq!(recovery, Recovery { requeued: 0, failed: 0, stopped: 0, waiting: 1, shortened: 0 });
    assert_eq!(get(&store, id).await, before);
}

pub async fn a_recovered_task_is_first_in_the_queue(fixture: &impl Fixture) {
    let store = fixture.open();
    let old = insert_one(&store).await;
    claim_one(&store, at(1)).await;
    let young = insert_one(&store).await;
    store.close().await;
    let (store, recovery) = fixture.open_at(9, at(5));
    assert_eq!(recovery, Recovery { requeued: 1, failed: 0, stopped: 0, waiting: 2, shortened: 0 });
    let task = get(&store, old).await;
    assert_eq!((task.state, task.ready_at, task.started_at), (TaskState::Available, at(0), None));
    assert_eq!((task.attempt, task.host_crashes), (1, 1));
    let claims = claim(&store, 9, at(5)).await;
    assert_eq!(ids(&claims), [old, young]);
    assert_eq!((claims.claimed[0].attempt, claims.claimed[0].host_crashes), (2, 1));
}

pub async fn the_third_crash_fails_the_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    drop(store);
    for _ in 0..3 {
        let store = fixture.open();
        claim_one(&store, at(1)).await;
    }
    let (store, recovery) = fixture.open_at(9, at(5));
    assert_eq!(recovery, Recovery { requeued: 0, failed: 1, stopped: 0, waiting: 0, shortened: 0 });
    let task = get(&store, id).await;
    assert_eq!((task.state, task.finished_at), (TaskState::Failed, Some(at(5))));
    assert_eq!(task.failure.expect("a reason").cause, Cause::HostCrash);
}

pub async fn a_claim_from_before_a_crash_is_revoked(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let old = claim_one(&store, at(1)).await.claim;
    store.close().await;
    let store = fixture.open();
    let done = || Transition::Completed("1".into());
    assert_eq!(store.finish(&old, done(), None, at(2)).await, Ok(false));
    let new = claim_one(&store, at(2)).await.claim;
    assert_eq!(store.finish(&old, done(), None, at(2)).await, Ok(false));
    assert_eq!(store.save(&old, vec![1]).await, Ok(false));
    assert_eq!(get(&store, id).await.state, TaskState::Running);
    assert_eq!(store.finish(&new, done(), None, at(2)).await, Ok(true));
}

pub async fn a_closed_store_refuses_everything(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let clone = store.clone();
    store.close().await;
    assert_eq!(clone.insert(vec![new_task()]).await, Err(StoreError::Closed));
    assert_eq!(clone.claim(&[plugin("a")], 1, at(1)).await.err(), Some(StoreError::Closed));
    assert_eq!(clone.get(id).await, Err(StoreError::Closed));
    assert_eq!(clone.remove(id, at(2)).await, Err(StoreError::Closed));
}

pub async fn a_second_close_changes_nothing(fixture: &impl Fixture) {
    let store = fixture.open();
    insert_one(&store).await;
    let clone = store.clone();
    tokio::join!(store.close(), clone.close());
    clone.close().await;
    let (_store, recovery) = fixture.open_at(9, at(1));
    assert_eq!(recovery.waiting, 1);
}
