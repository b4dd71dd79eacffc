//! Cancelled, removed, and what comes too late.

use wasmill_model::{
    KeySpace, NewDependencies, NewTask, OnConflict, OnFailure, TaskId, TaskState, Transition, Unique, WakeOn,
};
use wasmill_store::{CancelOutcome, RemoveOutcome, StoreError};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, end_stopped, failure, get, ids, insert_one, new_task, suspended,
    wrote,
};

fn done() -> Transition {
    Transition::Completed("1".into())
}

pub async fn a_waiting_task_is_cancelled(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    assert_eq!(store.cancel(id, at(2)).await, Ok(CancelOutcome::Cancelled { was: TaskState::Available }));
    let task = get(&store, id).await;
    assert_eq!((task.state, task.started_at), (TaskState::Cancelled, None));
    assert_eq!(task.finished_at, Some(at(2)));
    assert!(claim(&store, 1, at(9)).await.claimed.is_empty());
}

pub async fn a_running_task_is_cancelled_when_its_run_ends(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let token = claimed.claim.token();
    assert_eq!(store.cancel(id, at(2)).await, Ok(CancelOutcome::Stopping { token }));
    let task = get(&store, id).await;
    assert_eq!((task.state, task.finished_at), (TaskState::Running, None), "its guest is still there");
    assert_eq!(task.stop_requested_at, Some(at(2)));
    assert_eq!(store.cancel(id, at(3)).await, Ok(CancelOutcome::Stopping { token }), "asked twice");
    end_stopped(&store, &claimed.claim, at(4)).await;
    let task = get(&store, id).await;
    assert_eq!((task.state, task.started_at), (TaskState::Cancelled, Some(at(1))));
    assert_eq!((task.stop_requested_at, task.finished_at), (Some(at(2)), Some(at(4))));
    assert_eq!(store.cancel(id, at(5)).await, Ok(CancelOutcome::AlreadyFinal(TaskState::Cancelled)));
    assert_eq!(store.finish_stopped(&claimed.claim, None, at(6)).await, Ok(false));
    assert_eq!(get(&store, id).await, task, "once");
}

pub async fn a_stop_request_wins_over_any_outcome(fixture: &impl Fixture) {
    let store = fixture.open();
    let resume = suspended(at(9), &[1], WakeOn::default());
    let retry = Transition::RetryAt(at(9), failure());
    for next in
        [done(), Transition::Failed(failure()), retry, resume, Transition::Requeued, Transition::Recovered]
    {
        let id = insert_one(&store).await;
        let claimed = claim_one(&store, at(1)).await;
        store.cancel(id, at(2)).await.expect("asked");
        let log = wrote(&claimed.claim, "bye\n");
        assert_eq!(store.finish(&claimed.claim, next.clone(), log, at(3)).await, Ok(false), "{next:?}");
        let task = get(&store, id).await;
        assert_eq!((task.state, task.result, task.failure), (TaskState::Cancelled, None, None), "{next:?}");
        assert_eq!(task.finished_at, Some(at(3)));
        assert_eq!(store.log(id).await.expect("read").as_deref(), Some("bye\n"));
        assert_eq!((store.attempts(id).await, store.restore(&claimed.claim).await), (Ok(vec![]), Ok(None)));
        assert!(claim(&store, 9, at(99)).await.claimed.is_empty());
    }
}

pub async fn a_stop_request_survives_a_host_crash(fixture: &impl Fixture) {
    let store = fixture.open();
    let [cancelled, removed] = [insert_one(&store).await, insert_one(&store).await];
    assert_eq!(claim(&store, 2, at(1)).await.claimed.len(), 2);
    store.cancel(cancelled, at(2)).await.expect("asked");
    store.remove(removed, at(2)).await.expect("asked");
    store.close().await;
    let (store, recovery) = fixture.open_at(9, at(5));
    assert_eq!((recovery.stopped, recovery.requeued, recovery.failed), (2, 0, 0));
    let task = get(&store, cancelled).await;
    assert_eq!((task.state, task.finished_at, task.host_crashes), (TaskState::Cancelled, Some(at(5)), 0));
    assert_eq!(store.get(removed).await, Ok(None));
    assert!(claim(&store, 9, at(9)).await.claimed.is_empty());
}

pub async fn dependents_wait_until_the_run_of_a_cancelled_task_ends(fixture: &impl Fixture) {
    for removes in [false, true] {
        let store = fixture.open();
        let unique = |on_conflict| Unique {
            key: "k".parse().expect("a key"),
            on_conflict,
            space: KeySpace::default(),
        };
        let keyed = || NewTask { unique: Some(unique(OnConflict::Refuse)), ..new_task() };
        let first = keyed();
        let id = first.id;
        store.insert(vec![first]).await.expect("inserted");
        let on = NewDependencies {
            on: vec![id],
            on_failure: OnFailure::Run,
            pass_results: false,
            files_from: None,
        };
        let after = NewTask { dependencies: Some(on), ..new_task() };
        let after_id = after.id;
        store.insert(vec![after]).await.expect("inserted");
        let claimed = claim_one(&store, at(1)).await;
        if removes {
            store.remove(id, at(2)).await.expect("asked");
        } else {
            store.cancel(id, at(2)).await.expect("asked");
        }
        let taken = store.insert(vec![keyed()]).await;
        assert!(matches!(taken, Err(StoreError::KeyTaken { holder, .. }) if holder == id), "{taken:?}");
        assert_eq!(get(&store, after_id).await.pending_dependencies, Some(1));
        assert_eq!(store.counts().await.expect("counted").running, 1);
        end_stopped(&store, &claimed.claim, at(3)).await;
        assert_eq!(store.counts().await.expect("counted").running, 0);
        let next = keyed();
        let next_id = next.id;
        store.insert(vec![next]).await.expect("the key is free");
        let mut ready: Vec<_> = ids(&claim(&store, 9, at(4)).await);
        ready.sort();
        assert_eq!(ready, [after_id, next_id]);
        for id in [after_id, next_id] {
            store.cancel(id, at(5)).await.expect("asked");
        }
        store.close().await;
        let store = fixture.open();
        assert_eq!(store.counts().await.expect("counted").running, 0);
        store.close().await;
    }
}

pub async fn a_remove_request_is_never_downgraded(fixture: &impl Fixture) {
    let store = fixture.open();
    for removes_first in [false, true] {
        let id = insert_one(&store).await;
        let claimed = claim_one(&store, at(1)).await;
        for removes in [removes_first, !removes_first] {
            if removes {
                let token = claimed.claim.token();
                assert_eq!(store.remove(id, at(2)).await, Ok(RemoveOutcome::Stopping { token }));
            } else {
                store.cancel(id, at(2)).await.expect("asked");
            }
        }
        assert!(store.get(id).await.expect("read").is_some(), "its guest is still there");
        end_stopped(&store, &claimed.claim, at(3)).await;
        assert_eq!(store.get(id).await, Ok(None));
    }
}

pub async fn a_finished_task_never_changes_state(fixture: &impl Fixture) {
    let store = fixture.open();
    for (next, state) in [(done(), TaskState::Completed), (Transition::Failed(failure()), TaskState::Failed)]
    {
        let id = insert_one(&store).await;
        let claimed = claim_one(&store, at(1)).await;
        assert_eq!(store.finish(&claimed.claim, next, None, at(2)).await, Ok(true));
        assert_eq!(store.cancel(id, at(3)).await, Ok(CancelOutcome::AlreadyFinal(state)));
        let task = get(&store, id).await;
        assert_eq!((task.state, task.finished_at), (state, Some(at(2))));
    }
    let id = insert_one(&store).await;
    store.cancel(id, at(3)).await.expect("cancelled");
    assert_eq!(store.cancel(id, at(4)).await, Ok(CancelOutcome::AlreadyFinal(TaskState::Cancelled)));
    assert_eq!(get(&store, id).await.finished_at, Some(at(3)));
}

pub async fn an_unknown_task_is_neither_cancelled_nor_removed(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = TaskId::new();
    assert_eq!(store.cancel(id, at(1)).await, Ok(CancelOutcome::NotFound));
    assert_eq!(store.remove(id, at(2)).await, Ok(RemoveOutcome::NotFound));
    assert_eq!(store.get(id).await, Ok(None));
    assert_eq!(store.log(id).await, Ok(None));
}

pub async fn a_task_is_removed_in_any_state_with_all_its_rows(fixture: &impl Fixture) {
    let store = fixture.open();
    let waiting = insert_one(&store).await;
    let gone = |was| Ok(RemoveOutcome::Removed { was });
    assert_eq!(store.remove(waiting, at(2)).await, gone(TaskState::Available));
    let ended = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let log = wrote(&claimed.claim, "log");
    assert_eq!(store.finish(&claimed.claim, done(), log, at(2)).await, Ok(true));
    assert_eq!(store.remove(ended, at(2)).await, gone(TaskState::Completed));
    assert_eq!(store.log(ended).await, Ok(None));
    let running = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    assert_eq!(store.save(&claimed.claim, vec![1]).await, Ok(true));
    let token = claimed.claim.token();
    assert_eq!(store.remove(running, at(2)).await, Ok(RemoveOutcome::Stopping { token }));
    end_stopped(&store, &claimed.claim, at(2)).await;
    assert_eq!(store.restore(&claimed.claim).await, Ok(None));
    for id in [waiting, ended, running] {
        assert_eq!(store.get(id).await, Ok(None));
        assert_eq!(store.remove(id, at(2)).await, Ok(RemoveOutcome::NotFound));
    }
}

pub async fn a_late_finish_changes_nothing(fixture: &impl Fixture) {
    let store = fixture.open();
    let cancelled = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    store.cancel(cancelled, at(2)).await.expect("asked");
    end_stopped(&store, &claimed.claim, at(2)).await;
    let before = get(&store, cancelled).await;
    let late = wrote(&claimed.claim, "late");
    assert_eq!(store.finish(&claimed.claim, done(), late, at(3)).await, Ok(false));
    assert_eq!(store.save(&claimed.claim, vec![1]).await, Ok(false));
    assert_eq!(get(&store, cancelled).await, before);
    assert_eq!(store.log(cancelled).await, Ok(None));
    let removed = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    store.remove(removed, at(2)).await.expect("asked");
    end_stopped(&store, &claimed.claim, at(2)).await;
    let late = wrote(&claimed.claim, "late");
    assert_eq!(store.finish(&claimed.claim, done(), late, at(3)).await, Ok(false));
    assert_eq!(store.save(&claimed.claim, vec![1]).await, Ok(false));
    assert_eq!(store.get(removed).await, Ok(None));
}

pub async fn a_late_claim_never_fits_another_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let removed = insert_one(&store).await;
    let old = claim_one(&store, at(1)).await;
    store.remove(removed, at(2)).await.expect("asked");
    end_stopped(&store, &old.claim, at(2)).await;
    let other = insert_one(&store).await;
    claim_one(&store, at(1)).await;
    assert_eq!(store.finish(&old.claim, done(), None, at(2)).await, Ok(false));
    assert_eq!(get(&store, other).await.state, TaskState::Running);
}

pub async fn a_cancelled_task_keeps_the_digest_of_its_run(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    claimed.claim.set_digest("abc".into());
    store.cancel(id, at(2)).await.expect("asked");
    end_stopped(&store, &claimed.claim, at(3)).await;
    assert_eq!(get(&store, id).await.plugin_digest.as_deref(), Some("abc"));
}
