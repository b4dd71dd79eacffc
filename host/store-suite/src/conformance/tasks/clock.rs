//! The clock of the machine goes back or forth: no task may wait for it.

use std::time::Duration;

use wasmill_model::{Backoff, NewTask, TimeDelta, Transition, WakeOn};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, failure, get, ids, insert_one, new_task, suspended,
};

const YEAR: i64 = 31_536_000;

pub async fn a_task_created_in_the_future_runs_after_the_clock_went_back(fixture: &impl Fixture) {
    let store = fixture.open();
    let future = NewTask { created_at: at(YEAR), ..new_task() };
    let past = new_task();
    let expected = [past.id, future.id];
    store.insert(vec![future, past]).await.expect("inserted");
    assert_eq!(ids(&claim(&store, 9, at(1)).await), expected, "those that are ready by the clock come first");
}

pub async fn a_task_created_in_the_future_runs_after_a_restart(fixture: &impl Fixture) {
    let store = fixture.open();
    let future = NewTask { created_at: at(YEAR), ..new_task() };
    let id = future.id;
    store.insert(vec![future]).await.expect("inserted");
    store.close().await;
    for second in [1, 2, 1] {
        let (store, _) = fixture.open_at(9, at(second));
        store.close().await;
    }
    let (store, _) = fixture.open_at(9, at(2));
    assert_eq!(claim_one(&store, at(2)).await.claim.id, id);
}

pub async fn a_recovered_task_created_in_the_future_runs_again(fixture: &impl Fixture) {
    let store = fixture.open();
    store.insert(vec![NewTask { created_at: at(YEAR), ..new_task() }]).await.expect("inserted");
    claim_one(&store, at(YEAR)).await;
    store.close().await;
    let (store, recovery) = fixture.open_at(9, at(1));
    assert_eq!(recovery.requeued, 1);
    claim_one(&store, at(1)).await;
}

pub async fn a_backoff_never_grows_when_the_clock_goes_back(fixture: &impl Fixture) {
    let store = fixture.open();
    let backoff =
        Backoff { first: Duration::from_secs(10), factor: 2.0, max: Duration::from_secs(20), jitter: 0.25 };
    for own in [Some(backoff), None] {
        let task = NewTask { backoff: own, ..new_task() };
        let id = task.id;
        store.insert(vec![task]).await.expect("inserted");
        let claimed = claim_one(&store, at(YEAR)).await;
        let retry = Transition::RetryAt(at(YEAR + 10), failure());
        assert_eq!(store.finish(&claimed.claim, retry, None, at(YEAR)).await, Ok(true));
        // The clock goes back by a year; the next look at the line sees that.
        assert_eq!(ids(&claim(&store, 9, at(5)).await), []);
        let ready = at(15);
        assert_eq!(get(&store, id).await.ready_at, ready);
        assert_eq!(ids(&claim(&store, 9, ready - Duration::from_millis(1)).await), []);
        assert_eq!(ids(&claim(&store, 9, ready).await), [id]);
        store.remove(id, at(2)).await.expect("removed");
    }
}

pub async fn a_wait_that_is_too_long_is_shortened_on_open(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(YEAR)).await;
    let retry = Transition::RetryAt(at(YEAR + 10), failure());
    assert_eq!(store.finish(&claimed.claim, retry, None, at(YEAR)).await, Ok(true));
    store.close().await;
    let (store, recovery) = fixture.open_at(9, at(5));
    assert_eq!((recovery.shortened, recovery.waiting), (1, 1));
    assert_eq!(get(&store, id).await.ready_at, at(15));
}

pub async fn a_suspension_never_grows_when_the_clock_goes_back(fixture: &impl Fixture) {
    let mut store = fixture.open();
    for restarts in [false, true] {
        let id = insert_one(&store).await;
        let mut claimed = claim_one(&store, at(YEAR)).await;
        for start in [5, 15] {
            let park = suspended(at(YEAR + 10), &[7], WakeOn::default());
            assert_eq!(store.finish(&claimed.claim, park, None, at(YEAR)).await, Ok(true));
            if restarts {
                store.close().await;
                store = fixture.open_at(9, at(start)).0;
            }
            assert_eq!(ids(&claim(&store, 9, at(start)).await), [], "{restarts}");
            assert_eq!(ids(&claim(&store, 9, at(start + 9)).await), []);
            claimed = claim_one(&store, at(start + 10)).await;
            assert_eq!((claimed.claim.id, claimed.attempt), (id, 1));
            // The clock is ahead once more.
            assert_eq!(ids(&claim(&store, 9, at(YEAR)).await), []);
        }
        let done = Transition::Completed("1".into());
        assert_eq!(store.finish(&claimed.claim, done, None, at(YEAR)).await, Ok(true));
    }
}

pub async fn a_delay_is_shortened_and_a_calendar_time_is_not(fixture: &impl Fixture) {
    let store = fixture.open();
    let later = |is_delayed, priority| NewTask {
        created_at: at(YEAR),
        run_at: Some(at(YEAR + 10)),
        is_delayed,
        priority: wasmill_model::Priority::of(priority).expect("in range"),
        ..new_task()
    };
    let tasks = [later(true, 0), later(true, 3), later(false, 0)];
    let delayed = [tasks[0].id, tasks[1].id];
    let moment = tasks[2].id;
    store.insert(tasks.to_vec()).await.expect("inserted");
    assert_eq!(ids(&claim(&store, 9, at(YEAR)).await), []);
    assert_eq!(ids(&claim(&store, 9, at(5)).await), []);
    assert_eq!(ids(&claim(&store, 9, at(14)).await), []);
    let mut claimed = ids(&claim(&store, 9, at(15)).await);
    claimed.sort();
    assert_eq!(claimed, delayed);
    assert_eq!(get(&store, moment).await.ready_at, at(YEAR + 10));
    assert_eq!(ids(&claim(&store, 9, at(YEAR + 10)).await), [moment]);
}

pub async fn a_requeued_task_is_available_after_the_clock_went_back(fixture: &impl Fixture) {
    let store = fixture.open();
    let delayed = NewTask { run_at: Some(at(10)), is_delayed: true, ..new_task() };
    store.insert(vec![delayed]).await.expect("inserted");
    let claimed = claim_one(&store, at(10)).await;
    assert_eq!(store.finish(&claimed.claim, Transition::Requeued, None, at(11)).await, Ok(true));
    claim_one(&store, at(11) - TimeDelta::days(1)).await;
}

pub async fn clock_jitter_changes_no_wait(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(10)).await;
    let retry = Transition::RetryAt(at(12), failure());
    assert_eq!(store.finish(&claimed.claim, retry, None, at(10)).await, Ok(true));
    for now in [at(10), at(9), at(10)] {
        assert_eq!(ids(&claim(&store, 9, now).await), []);
        assert_eq!(get(&store, id).await.ready_at, at(12));
    }
    store.close().await;
    let (store, recovery) = fixture.open_at(9, at(9));
    assert_eq!(recovery.shortened, 0);
    assert_eq!(get(&store, id).await.ready_at, at(12));
}
