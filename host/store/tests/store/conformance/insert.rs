//! New tasks.

use std::time::Duration;

use wasmill_model::{NewTask, Next, TaskState};
use wasmill_store::StoreError;

use crate::fixture::{Place, at, claim, claim_one, get, insert_one, new_task};

pub(crate) async fn a_new_task_waits(place: &impl Place) {
    let store = place.open();
    let new = NewTask { input: Some("{\"n\":1}".to_owned()), ..new_task() };
    store.insert(vec![new.clone()]).await.expect("inserted");
    let task = get(&store, new.id).await;
    assert_eq!((task.id, &task.plugin, task.state), (new.id, &new.plugin, TaskState::Waiting));
    assert_eq!((task.created_at, task.ready_at), (at(0), at(0)));
    assert_eq!((task.started_at, task.finished_at), (None, None));
    assert_eq!((task.attempt, task.attempts_max, task.host_crashes), (0, 3, 0));
    assert_eq!((task.timeout, task.input_bytes), (Duration::from_secs(600), 7));
    assert_eq!((task.result, task.failure, task.progress), (None, None, None));
}

pub(crate) async fn a_taken_id_stores_none_of_them(place: &impl Place) {
    let store = place.open();
    let id = insert_one(&store).await;
    let tasks = vec![new_task(), NewTask { id, ..new_task() }, new_task()];
    let first = tasks[0].id;
    assert_eq!(store.insert(tasks).await, Err(StoreError::Duplicate { id }));
    assert_eq!(store.get(first).await, Ok(None));
    assert_eq!(store.counts().await.expect("counted").waiting, 1);
    insert_one(&store).await;
    assert_eq!(claim(&store, 9, at(0)).await.claimed.len(), 2);
}

pub(crate) async fn a_full_line_takes_no_more(place: &impl Place) {
    let (store, _) = place.open_at(3, at(0));
    store.insert(vec![new_task(), new_task()]).await.expect("two fit");
    let two = vec![new_task(), new_task()];
    assert_eq!(store.insert(two).await, Err(StoreError::Full { waiting_max: 3 }));
    insert_one(&store).await;
    let one = vec![new_task()];
    assert_eq!(store.insert(one.clone()).await, Err(StoreError::Full { waiting_max: 3 }));
    // The bound outlives the store.
    store.close().await;
    let (store, _) = place.open_at(3, at(0));
    assert_eq!(store.insert(one).await, Err(StoreError::Full { waiting_max: 3 }));
}

pub(crate) async fn a_final_task_makes_room(place: &impl Place) {
    let (store, _) = place.open_at(1, at(0));
    let id = insert_one(&store).await;
    store.cancel(id, at(1)).await.expect("cancelled");
    let id = insert_one(&store).await;
    store.remove(id, at(2)).await.expect("removed");
    insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    insert_one(&store).await;
    // A retry is never refused, though the line is full.
    assert!(store.finish(&claimed.claim, Next::Requeued, None, at(2)).await.expect("finished"));
    assert_eq!(store.counts().await.expect("counted").waiting, 2);
}

pub(crate) async fn nothing_to_insert_is_no_error(place: &impl Place) {
    let (store, _) = place.open_at(0, at(0));
    assert_eq!(store.insert(Vec::new()).await, Ok(()));
}
