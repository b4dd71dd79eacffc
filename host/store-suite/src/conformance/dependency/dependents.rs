//! The tasks that depend on another one.

use wasmill_model::{OnFailure, TaskId};
use wasmill_store::Store;

use crate::conformance::dependency::dependencies::{after, completed, end, insert, with};
use crate::fixture::{Fixture, StoreExt, at, claim, insert_one};

/// Reads all pages of this size.
async fn dependents(store: &Store, id: TaskId, limit: usize) -> Vec<TaskId> {
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let page = store.dependents(id, before, limit).await.expect("read");
        assert!(page.tasks.len() <= limit);
        ids.extend(page.tasks.iter().map(|task| task.id));
        before = page.next;
        if before.is_none() {
            return ids;
        }
        assert!(!page.tasks.is_empty(), "a page before the last has tasks");
    }
}

pub async fn dependents_are_listed_newest_first_in_pages(fixture: &impl Fixture) {
    let store = fixture.open();
    let (on, other) = (insert_one(&store).await, insert_one(&store).await);
    let mut all = Vec::new();
    for number in 0..7 {
        let task = if number == 3 { with(&[other, on], OnFailure::Run, true) } else { after(&[on]) };
        all.insert(0, insert(&store, task).await);
    }
    for limit in [1, 3, 7, 100] {
        assert_eq!(dependents(&store, on, limit).await, all, "{limit} a page");
    }
    assert_eq!(dependents(&store, other, 2).await, [all[3]]);
    assert_eq!(dependents(&store, all[0], 2).await, []);
    assert_eq!(dependents(&store, TaskId::new(), 2).await, [], "an unknown task has none");
}

pub async fn a_dependent_stays_listed_until_it_is_removed(fixture: &impl Fixture) {
    let store = fixture.open();
    let on = insert_one(&store).await;
    let (first, second) = (insert(&store, after(&[on])).await, insert(&store, after(&[on])).await);
    assert_eq!(end(&store, completed(), 1).await, on);
    let claimed = claim(&store, 1, at(2)).await.claimed.remove(0);
    assert_eq!(claimed.claim.id, first);
    assert_eq!(store.finish(&claimed.claim, completed(), None, at(2)).await, Ok(true));
    assert_eq!(dependents(&store, on, 9).await, [second, first], "one has finished, the other is released");
    store.remove(on, at(3)).await.expect("removed");
    assert_eq!(dependents(&store, on, 9).await, [second, first], "they outlive it");
    store.close().await;
    drop(store);
    let store = fixture.open();
    assert_eq!(dependents(&store, on, 9).await, [second, first], "also a restart");
    store.remove(second, at(4)).await.expect("removed");
    assert_eq!(dependents(&store, on, 9).await, [first]);
}
