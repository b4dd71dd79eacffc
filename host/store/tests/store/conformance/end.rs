//! Cancelled, removed, and what comes too late.

use wasmill_model::{Next, TaskId, TaskState};
use wasmill_store::{Cancelled, Claimed};

use crate::fixture::{Place, at, claim, claim_one, failure, get, insert_one, wrote};

fn done() -> Next {
    Next::Completed("1".to_owned())
}

pub(crate) async fn a_waiting_task_is_cancelled(place: &impl Place) {
    let store = place.open();
    let id = insert_one(&store).await;
    assert_eq!(store.cancel(id, at(2)).await, Ok(Cancelled::Cancelled { was: TaskState::Waiting }));
    let task = get(&store, id).await;
    assert_eq!((task.state, task.started_at), (TaskState::Cancelled, None));
    assert_eq!(task.finished_at, Some(at(2)));
    assert!(claim(&store, 1, at(9)).await.claimed.is_empty());
}

pub(crate) async fn a_running_task_is_cancelled(place: &impl Place) {
    let store = place.open();
    let id = insert_one(&store).await;
    claim_one(&store, at(1)).await;
    assert_eq!(store.cancel(id, at(2)).await, Ok(Cancelled::Cancelled { was: TaskState::Running }));
    let task = get(&store, id).await;
    assert_eq!((task.state, task.started_at), (TaskState::Cancelled, Some(at(1))));
    assert_eq!(task.finished_at, Some(at(2)));
}

pub(crate) async fn a_final_task_stays_as_it_is(place: &impl Place) {
    let store = place.open();
    for (next, state) in [(done(), TaskState::Completed), (Next::Failed(failure()), TaskState::Failed)] {
        let id = insert_one(&store).await;
        let claimed = claim_one(&store, at(1)).await;
        assert_eq!(store.finish(&claimed.claim, next, None, at(2)).await, Ok(true));
        assert_eq!(store.cancel(id, at(3)).await, Ok(Cancelled::AlreadyFinal(state)));
        let task = get(&store, id).await;
        assert_eq!((task.state, task.finished_at), (state, Some(at(2))));
    }
    let id = insert_one(&store).await;
    store.cancel(id, at(3)).await.expect("cancelled");
    assert_eq!(store.cancel(id, at(4)).await, Ok(Cancelled::AlreadyFinal(TaskState::Cancelled)));
    assert_eq!(get(&store, id).await.finished_at, Some(at(3)));
}

pub(crate) async fn an_unknown_task_is_neither_cancelled_nor_removed(place: &impl Place) {
    let store = place.open();
    let id = TaskId::new();
    assert_eq!(store.cancel(id, at(1)).await, Ok(Cancelled::NotFound));
    assert_eq!(store.remove(id, at(2)).await, Ok(None));
    assert_eq!(store.get(id).await, Ok(None));
    assert_eq!(store.log(id).await, Ok(None));
}

pub(crate) async fn a_task_is_removed_in_any_state_with_all_it_has(place: &impl Place) {
    let store = place.open();
    let waiting = insert_one(&store).await;
    assert_eq!(store.remove(waiting, at(2)).await, Ok(Some(TaskState::Waiting)));
    let ended = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let log = wrote(&claimed.claim, "log");
    assert_eq!(store.finish(&claimed.claim, done(), log, at(2)).await, Ok(true));
    assert_eq!(store.remove(ended, at(2)).await, Ok(Some(TaskState::Completed)));
    assert_eq!(store.log(ended).await, Ok(None));
    let running = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    assert_eq!(store.save(&claimed.claim, vec![1]).await, Ok(true));
    assert_eq!(store.remove(running, at(2)).await, Ok(Some(TaskState::Running)));
    assert_eq!(store.restore(&claimed.claim).await, Ok(None));
    for id in [waiting, ended, running] {
        assert_eq!(store.get(id).await, Ok(None));
        assert_eq!(store.remove(id, at(2)).await, Ok(None));
    }
}

pub(crate) async fn a_late_finish_changes_nothing(place: &impl Place) {
    let store = place.open();
    let cancelled = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    store.cancel(cancelled, at(2)).await.expect("cancelled");
    let before = get(&store, cancelled).await;
    let log = |claimed: &Claimed| wrote(&claimed.claim, "late");
    assert_eq!(store.finish(&claimed.claim, done(), log(&claimed), at(3)).await, Ok(false));
    assert_eq!(store.save(&claimed.claim, vec![1]).await, Ok(false));
    assert_eq!(get(&store, cancelled).await, before);
    assert_eq!(store.log(cancelled).await, Ok(None));
    let removed = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    store.remove(removed, at(2)).await.expect("removed");
    assert_eq!(store.finish(&claimed.claim, done(), log(&claimed), at(3)).await, Ok(false));
    assert_eq!(store.save(&claimed.claim, vec![1]).await, Ok(false));
    assert_eq!(store.get(removed).await, Ok(None));
}

pub(crate) async fn a_late_claim_never_fits_another_task(place: &impl Place) {
    let store = place.open();
    let removed = insert_one(&store).await;
    let old = claim_one(&store, at(1)).await;
    store.remove(removed, at(2)).await.expect("removed");
    let other = insert_one(&store).await;
    claim_one(&store, at(1)).await;
    assert_eq!(store.finish(&old.claim, done(), None, at(2)).await, Ok(false));
    assert_eq!(get(&store, other).await.state, TaskState::Running);
}

pub(crate) async fn a_cancelled_task_keeps_the_digest_of_what_ran(place: &impl Place) {
    let store = place.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    store.pin(&claimed.claim, "abc".into());
    store.cancel(id, at(2)).await.expect("cancelled");
    assert_eq!(get(&store, id).await.plugin_digest.as_deref(), Some("abc"));
}
