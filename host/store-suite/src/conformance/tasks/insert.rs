//! New tasks.

use std::time::Duration;

use wasmill_model::{NewTask, TaskState, Transition};
use wasmill_store::StoreError;

use crate::fixture::{Fixture, StoreExt, at, claim, claim_one, failure, get, insert_one, new_task, plugin};

pub async fn a_new_task_waits(fixture: &impl Fixture) {
    let store = fixture.open();
    let new = NewTask { input: Some("{\"n\":1}".to_owned()), ..new_task() };
    store.insert(vec![new.clone()]).await.expect("inserted");
    let task = get(&store, new.id).await;
    assert_eq!((task.id, &task.plugin, task.state), (new.id, &new.plugin, TaskState::Available));
    assert_eq!((task.created_at, task.ready_at), (at(0), at(0)));
    assert_eq!((task.started_at, task.finished_at), (None, None));
    assert_eq!((task.attempt, task.attempts_max, task.host_crashes), (0, 3, 0));
    assert_eq!((task.timeout, task.input_bytes), (Duration::from_secs(600), 7));
    assert_eq!((task.result, task.failure, task.progress), (None, None, None));
}

pub async fn a_duplicate_id_stores_no_task_of_the_request(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let tasks = vec![new_task(), NewTask { id, ..new_task() }, new_task()];
    let first = tasks[0].id;
    assert_eq!(store.insert(tasks).await, Err(StoreError::Duplicate { id }));
    assert_eq!(store.get(first).await, Ok(None));
    assert_eq!(store.counts().await.expect("counted").waiting, 1);
    insert_one(&store).await;
    assert_eq!(claim(&store, 9, at(0)).await.claimed.len(), 2);
}

pub async fn a_full_queue_refuses_further_tasks(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(3, at(0));
    store.insert(vec![new_task(), new_task()]).await.expect("two fit");
    let two = vec![new_task(), new_task()];
    assert_eq!(store.insert(two).await, Err(StoreError::Full { waiting_max: 3 }));
    insert_one(&store).await;
    let one = vec![new_task()];
    assert_eq!(store.insert(one.clone()).await, Err(StoreError::Full { waiting_max: 3 }));
    // The bound outlives the store.
    store.close().await;
    let (store, _) = fixture.open_at(3, at(0));
    assert_eq!(store.insert(one).await, Err(StoreError::Full { waiting_max: 3 }));
}

pub async fn a_finished_task_frees_its_place_in_the_queue(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(1, at(0));
    let id = insert_one(&store).await;
    store.cancel(id, at(1)).await.expect("cancelled");
    let id = insert_one(&store).await;
    store.remove(id, at(2)).await.expect("removed");
    insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    insert_one(&store).await;
    // A retry is never refused, though the line is full.
    assert!(store.finish(&claimed.claim, Transition::Requeued, None, at(2)).await.expect("finished"));
    assert_eq!(store.counts().await.expect("counted").waiting, 2);
}

pub async fn an_empty_insert_succeeds(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(0, at(0));
    assert_eq!(store.insert(Vec::new()).await, Ok(()));
}

/// A task of plugin `b`, of which two may wait.
fn bounded() -> NewTask {
    NewTask { plugin: plugin("b"), waiting_max: Some(2), ..new_task() }
}

pub async fn a_plugin_has_at_most_its_limit_of_waiting_tasks(fixture: &impl Fixture) {
    let store = fixture.open();
    let full = |index| Err(StoreError::PluginFull { index, plugin: plugin("b"), waiting_max: 2 });
    let many = vec![bounded(), new_task(), bounded(), new_task(), bounded()];
    assert_eq!(store.insert(many).await, full(4));
    assert_eq!(store.counts().await.expect("counted").waiting, 0, "none of them is stored");
    store.insert(vec![bounded(), new_task(), bounded()]).await.expect("two fit");
    assert_eq!(store.insert(vec![bounded()]).await, full(0));
    insert_one(&store).await;
    // The bound outlives the store.
    store.close().await;
    let (store, _) = fixture.open_at(9, at(0));
    assert_eq!(store.insert(vec![new_task(), bounded()]).await, full(1));
    let claims = store.claim(&[plugin("b")], 1, at(0)).await.expect("claimed");
    store.insert(vec![bounded()]).await.expect("one runs, so one fits");
    assert_eq!(store.insert(vec![bounded()]).await, full(0));
    // What was accepted is never refused later.
    let retry = Transition::RetryAt(at(1), failure());
    assert_eq!(store.finish(&claims.claimed[0].claim, retry, None, at(0)).await, Ok(true));
    assert_eq!(store.insert(vec![bounded()]).await, full(0));
    let ids: Vec<_> = store.find_open(Default::default()).await.expect("found");
    store.cancel_many(ids, Default::default(), at(1)).await.expect("cancelled");
    store.insert(vec![bounded(), bounded()]).await.expect("there is room again");
}

pub async fn the_limit_of_a_plugin_holds_under_concurrent_submits(fixture: &impl Fixture) {
    let store = fixture.open();
    let inserts = (0..40).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.insert(vec![bounded()]).await.is_ok() })
    });
    let mut stored = 0;
    for insert in inserts.collect::<Vec<_>>() {
        stored += usize::from(insert.await.expect("answered"));
    }
    assert_eq!((stored, store.counts().await.expect("counted").waiting), (2, 2));
}
