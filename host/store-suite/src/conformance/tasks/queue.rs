//! The order of the line: tasks that were put off, and priorities.

use std::time::Duration;

use wasmill_model::{NewTask, Priority, TaskId, TaskState, Transition};
use wasmill_store::{CancelOutcome, ClaimQuota, Store};

use crate::fixture::{Fixture, StoreExt, at, claim, claim_one, failure, get, ids, new_task, plugin};

fn priority(number: i64) -> Priority {
    Priority::of(number).expect("in range")
}

/// Stores a task of this priority that comes at this second.
async fn insert(store: &Store, number: i64, second: i64) -> TaskId {
    let task = NewTask { created_at: at(second), priority: priority(number), ..new_task() };
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    id
}

async fn insert_later(store: &Store, number: i64, second: i64) -> TaskId {
    let task = NewTask { run_at: Some(at(second)), priority: priority(number), ..new_task() };
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    id
}

pub async fn a_scheduled_task_waits_until_its_time(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_later(&store, 0, 7).await;
    let task = get(&store, id).await;
    assert_eq!((task.state, task.created_at, task.ready_at), (TaskState::Scheduled, at(0), at(7)));
    let early = claim(&store, 9, at(6)).await;
    assert_eq!((ids(&early), early.next_ready_at), (vec![], Some(at(7))));
    store.close().await;
    let (store, _) = fixture.open_at(9, at(1));
    assert_eq!(ids(&claim(&store, 9, at(6)).await), []);
    assert_eq!(claim_one(&store, at(7)).await.claim.id, id);
    let past = insert_later(&store, 0, -5).await;
    assert_eq!(get(&store, past).await.ready_at, at(0), "never before it was asked for");
    assert_eq!(ids(&claim(&store, 9, at(0)).await), [past]);
}

pub async fn a_scheduled_task_can_be_cancelled(fixture: &impl Fixture) {
    let store = fixture.open();
    for number in [0, 5] {
        let id = insert_later(&store, number, 7).await;
        let cancelled = store.cancel(id, at(1)).await;
        assert_eq!(cancelled, Ok(CancelOutcome::Cancelled { was: TaskState::Scheduled }));
        assert_eq!(ids(&claim(&store, 9, at(9)).await), []);
    }
}

pub async fn a_step_of_priority_is_worth_a_minute_of_waiting(fixture: &impl Fixture) {
    let store = fixture.open();
    let plain = insert(&store, 0, 0).await;
    let too_late = insert(&store, 1, 61).await;
    let high = insert(&store, 2, 61).await;
    let low = insert(&store, -1, 0).await;
    let after_low = insert(&store, 0, 59).await;
    let order = [high, plain, too_late, after_low, low];
    assert_eq!(get(&store, low).await.priority, priority(-1));
    for id in order {
        assert_eq!(ids(&claim(&store, 1, at(61)).await), [id]);
    }
}

pub async fn a_low_priority_task_runs_at_once_in_an_empty_queue(fixture: &impl Fixture) {
    let store = fixture.open();
    let low = insert(&store, -1_000, 0).await;
    assert_eq!(claim_one(&store, at(0)).await.claim.id, low);
}

/// A task that comes every second, each ahead of the one that waits: it comes through all the same.
pub async fn no_task_starves_behind_higher_priorities(fixture: &impl Fixture) {
    let store = fixture.open();
    let low = insert(&store, -2, 0).await;
    let mut second = 0;
    insert(&store, 3, second).await;
    loop {
        insert(&store, 3, second).await;
        if ids(&claim(&store, 1, at(second)).await) == [low] {
            break;
        }
        second += 1;
        assert!(second < 1_000, "it waits for ever");
    }
    assert!((299..=302).contains(&second), "five steps are five minutes, not {second} s");
}

pub async fn one_priority_is_served_in_order_in_each_plugin(fixture: &impl Fixture) {
    let store = fixture.open();
    let new = |name, number| NewTask { plugin: plugin(name), priority: priority(number), ..new_task() };
    let tasks = vec![new("a", 0), new("b", 7), new("a", 7), new("b", 0), new("b", 7), new("a", -1)];
    // The plugins take turns; of those that have the same right to one, the first by name.
    let order = [2, 1, 0, 4, 5, 3].map(|fixture| tasks[fixture].id);
    store.insert(tasks).await.expect("inserted");
    let both = [plugin("a"), plugin("b")];
    let first = store.claim(&both, 4, at(0)).await.expect("claimed");
    assert_eq!(ids(&first), order[..4]);
    let only_b =
        [ClaimQuota { tasks_max: 1, ..ClaimQuota::from(plugin("b")) }, ClaimQuota::from(plugin("a"))];
    let rest = store.claim(&only_b, 9, at(0)).await.expect("claimed");
    assert_eq!(ids(&rest), order[4..]);
}

pub async fn a_priority_counts_from_when_a_task_is_available(fixture: &impl Fixture) {
    let store = fixture.open();
    let later = insert_later(&store, 1_000, 7).await;
    let plain = insert(&store, 0, 0).await;
    let other = insert(&store, 0, 1).await;
    let early = claim(&store, 1, at(6)).await;
    assert_eq!(ids(&early), [plain], "it is not ready yet");
    assert_eq!(ids(&claim(&store, 1, at(7)).await), [later]);
    assert_eq!(ids(&claim(&store, 1, at(7)).await), [other]);
    let next = insert_later(&store, -1, 9).await;
    assert_eq!(claim(&store, 1, at(8)).await.next_ready_at, Some(at(9)));
    assert_eq!(ids(&claim(&store, 1, at(9)).await), [next]);
}

pub async fn a_priority_survives_retries_requeues_and_restarts(fixture: &impl Fixture) {
    let store = fixture.open();
    let high = insert(&store, 5, 10).await;
    let plain = insert(&store, 0, 0).await;
    let claimed = claim(&store, 1, at(10)).await.claimed.remove(0);
    assert_eq!(claimed.claim.id, high);
    assert_eq!(store.finish(&claimed.claim, Transition::Requeued, None, at(11)).await, Ok(true));
    let claimed = claim(&store, 1, at(11)).await.claimed.remove(0);
    assert_eq!(claimed.claim.id, high, "put back where it stood");
    let retry = Transition::RetryAt(at(20), failure());
    assert_eq!(store.finish(&claimed.claim, retry, None, at(12)).await, Ok(true));
    let early = claim(&store, 0, at(19)).await;
    assert_eq!((early.claimed.len(), get(&store, high).await.ready_at), (0, at(20)));
    store.close().await;
    let (store, _) = fixture.open_at(9, at(19));
    let order = [high, plain];
    assert_eq!(ids(&claim(&store, 2, at(20)).await), order);
    // Both were running when the host died.
    store.close().await;
    let (store, _) = fixture.open_at(9, at(30));
    assert_eq!(ids(&claim(&store, 2, at(30)).await), order);
}

pub async fn many_tasks_promoted_at_once_are_all_claimed(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(9_000, at(0));
    let later = || NewTask { run_at: Some(at(9)), priority: priority(1), ..new_task() };
    store.insert((0..3_000).map(|_| later()).collect()).await.expect("inserted");
    let mut left = 3_000;
    while left > 0 {
        let claimed = claim(&store, 2_000, at(9) + Duration::from_secs(1)).await.claimed.len();
        assert!(claimed > 0, "{left} are left");
        left -= claimed;
    }
}

pub async fn the_tasks_ahead_are_counted_in_the_order_of_claims(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut order = vec![insert(&store, 5, 9).await];
    for _ in 0..3 {
        order.push(insert(&store, 0, 2).await);
    }
    let of_group = NewTask { group: "x".parse().ok(), ..new_task() };
    let of_other = NewTask { plugin: plugin("b"), ..new_task() };
    let alone = [of_group.id, of_other.id];
    store.insert(vec![of_group, of_other]).await.expect("inserted");
    let later = insert_later(&store, 0, 90).await;
    for (ahead, id) in (0..).zip(&order) {
        assert_eq!(store.tasks_ahead(*id, 99).await, Ok(Some(ahead)));
        assert_eq!(store.tasks_ahead(*id, 2).await, Ok(Some(ahead.min(2))), "bounded");
    }
    for id in alone {
        assert_eq!(store.tasks_ahead(id, 99).await, Ok(Some(0)), "a queue of its own");
    }
    for id in [later, TaskId::new()] {
        assert_eq!(store.tasks_ahead(id, 99).await, Ok(None));
    }
    let claimed = claim(&store, 1, at(9)).await.claimed.remove(0);
    assert_eq!(store.tasks_ahead(claimed.claim.id, 99).await, Ok(None), "it runs");
}
