//! Turns: plugins and groups take them, whatever stands in the line of another one.

use wasmill_model::{NewTask, PluginName, Priority, TaskId, TaskState, Transition};
use wasmill_store::{ClaimQuota, Store};

use crate::fixture::{Fixture, StoreExt, at, claim, claim_one, failure, get, ids, new_task, plugin};

fn of(name: &str, group: &str, second: i64) -> NewTask {
    let group = group.parse().ok();
    NewTask { plugin: plugin(name), created_at: at(second), group, ..new_task() }
}

/// Stores these and returns their ids.
async fn insert(store: &Store, tasks: impl IntoIterator<Item = NewTask>) -> Vec<TaskId> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let ids = tasks.iter().map(|task| task.id).collect();
    store.insert(tasks).await.expect("inserted");
    ids
}

/// Claims one after another and returns their ids.
async fn one_by_one(store: &Store, names: &[&str], tasks: usize, second: i64) -> Vec<TaskId> {
    let names: Vec<PluginName> = names.iter().map(|name| plugin(name)).collect();
    let mut order = Vec::new();
    for _ in 0..tasks {
        order.extend(ids(&store.claim(&names, 1, at(second)).await.expect("claimed")));
    }
    order
}

pub async fn plugins_are_served_round_robin(fixture: &impl Fixture) {
    let store = fixture.open();
    let many = insert(&store, (0..50).map(|_| of("a", "", 0))).await;
    let one = insert(&store, [of("b", "", 90)]).await;
    assert_eq!(one_by_one(&store, &["a", "b"], 3, 90).await, [many[0], one[0], many[1]]);
    // One that comes seldom does not wait for its turn.
    let another = insert(&store, [of("b", "", 91)]).await;
    let both = store.claim(&[plugin("a"), plugin("b")], 3, at(91)).await.expect("claimed");
    assert_eq!(ids(&both), [another[0], many[2], many[3]]);
}

pub async fn groups_are_served_round_robin(fixture: &impl Fixture) {
    let store = fixture.open();
    let x = insert(&store, (0..50).map(|_| of("a", "x", 0))).await;
    let none = insert(&store, (0..2).map(|_| of("a", "", 1))).await;
    let y = insert(&store, (0..2).map(|_| of("a", "y", 2))).await;
    assert_eq!(get(&store, y[0]).await.group, "y".parse().ok());
    let mut order = one_by_one(&store, &["a"], 2, 2).await;
    order.extend(ids(&claim(&store, 5, at(2)).await));
    assert_eq!(order, [none[0], x[0], y[0], none[1], x[1], y[1], x[2]]);
    assert_eq!(ids(&claim(&store, 99, at(2)).await), x[3..]);
    // The same name in another plugin is another group.
    insert(&store, [of("a", "x", 3), of("b", "x", 3)]).await;
    assert_eq!(one_by_one(&store, &["a"], 2, 3).await.len(), 1);
}

pub async fn a_priority_counts_within_its_group(fixture: &impl Fixture) {
    let store = fixture.open();
    let with = |group, second, number| NewTask {
        priority: Priority::of(number).expect("in range"),
        ..of("a", group, second)
    };
    let x = insert(&store, [with("x", 0, 0), with("x", 1, 0), with("x", 61, 2), with("x", 0, -1)]).await;
    let y = insert(&store, [with("y", 60, -1_000), with("y", 0, -1_000)]).await;
    let order = one_by_one(&store, &["a"], 6, 61).await;
    assert_eq!(order, [x[2], y[1], x[0], y[0], x[1], x[3]]);
}

pub async fn a_group_waits_for_one_task_of_a_longer_queue(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(1_000_000, at(0));
    for _ in 0..10 {
        insert(&store, (0..1_000).map(|_| of("a", "many", 0))).await;
    }
    for second in 1..5 {
        one_by_one(&store, &["a"], 7, second).await;
        let one = insert(&store, [of("a", "one", second)]).await;
        let next = one_by_one(&store, &["a"], 2, second).await;
        assert!(next.contains(&one[0]), "it starts with one of the next two");
    }
}

pub async fn a_scheduled_task_of_a_group_waits_until_its_time(fixture: &impl Fixture) {
    let store = fixture.open();
    let later = NewTask { run_at: Some(at(7)), ..of("a", "x", 0) };
    let id = insert(&store, [later]).await[0];
    let early = claim(&store, 9, at(6)).await;
    assert_eq!((ids(&early), early.next_ready_at), (vec![], Some(at(7))));
    assert_eq!(claim_one(&store, at(7)).await.claim.id, id);
}

pub async fn a_group_survives_retries_requeues_and_restarts(fixture: &impl Fixture) {
    let store = fixture.open();
    let x = insert(&store, [of("a", "x", 0), of("a", "x", 1)]).await;
    let claimed = claim(&store, 1, at(1)).await.claimed.remove(0);
    assert_eq!(store.finish(&claimed.claim, Transition::Requeued, None, at(1)).await, Ok(true));
    let claimed = claim(&store, 9, at(1)).await;
    assert_eq!(ids(&claimed), x, "put back where it stood");
    for (claimed, second) in claimed.claimed.iter().zip([9, 8]) {
        let retry = Transition::RetryAt(at(second), failure());
        assert_eq!(store.finish(&claimed.claim, retry, None, at(2)).await, Ok(true));
    }
    let y = insert(&store, [of("a", "y", 3)]).await;
    store.close().await;
    let (store, _) = fixture.open_at(9, at(4));
    assert_eq!(ids(&claim(&store, 9, at(7)).await), y);
    // It runs when the host dies, and is ready at once.
    store.close().await;
    let (store, _) = fixture.open_at(9, at(8));
    let mut both = ids(&claim(&store, 2, at(8)).await);
    both.sort_unstable();
    assert_eq!(both, [x[1], y[0]]);
    assert_eq!(ids(&claim(&store, 9, at(9)).await), [x[0]]);
    let again = store.clone_for_retry(y[0], TaskId::new(), at(9)).await.expect("read").expect("there").1;
    assert_eq!(again.group, "y".parse().ok());
}

pub async fn a_plugin_at_its_quota_blocks_no_other(fixture: &impl Fixture) {
    let store = fixture.open();
    for group in 0..20 {
        insert(&store, (0..3).map(|_| of("a", &group.to_string(), 0))).await;
    }
    let b = insert(&store, (0..3).map(|_| of("b", "0", 1))).await;
    let one = [ClaimQuota { tasks_max: 1, ..ClaimQuota::from(plugin("a")) }, ClaimQuota::from(plugin("b"))];
    let claims = store.claim(&one, 99, at(1)).await.expect("claimed");
    assert_eq!(ids(&claims)[1..], b);
    assert_eq!(one_by_one(&store, &["a"], 99, 1).await.len(), 59);
}

pub async fn a_plugin_with_more_groups_than_its_quota_leaves_no_slot_empty(fixture: &impl Fixture) {
    let store = fixture.open();
    for group in 0..20 {
        insert(&store, [of("a", &group.to_string(), 0)]).await;
    }
    let b = insert(&store, (0..3).map(|_| of("b", "0", 1))).await;
    let one = [ClaimQuota { tasks_max: 1, ..ClaimQuota::from(plugin("a")) }, ClaimQuota::from(plugin("b"))];
    // Fewer tasks than there are groups of the plugin that comes first.
    let claims = store.claim(&one, 4, at(1)).await.expect("claimed");
    assert_eq!(ids(&claims)[1..], b);
}

pub async fn a_group_without_available_tasks_is_skipped(fixture: &impl Fixture) {
    let store = fixture.open();
    let x = insert(&store, [of("a", "x", 0), of("a", "y", 0), of("a", "x", 0)]).await;
    for id in [x[0], x[2]] {
        store.cancel(id, at(0)).await.expect("cancelled");
    }
    assert_eq!(ids(&claim(&store, 9, at(0)).await), [x[1]]);
    let next = insert(&store, [of("a", "x", 1)]).await;
    assert_eq!(ids(&claim(&store, 9, at(1)).await), next);
    assert_eq!(get(&store, x[1]).await.state, TaskState::Running);
}

pub async fn a_task_of_a_group_runs_after_the_clock_went_back(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert(&store, [of("a", "x", 1_000)]).await[0];
    let claimed = claim_one(&store, at(0)).await;
    assert_eq!(claimed.claim.id, id);
    assert_eq!(store.finish(&claimed.claim, Transition::Requeued, None, at(0)).await, Ok(true));
    assert_eq!(claim_one(&store, at(0)).await.claim.id, id);
    store.close().await;
    let (store, _) = fixture.open_at(9, at(0));
    assert_eq!(claim_one(&store, at(0)).await.claim.id, id);
}

pub async fn thousands_of_groups_are_all_served(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(9_000, at(0));
    for run_at in [None, Some(at(9))] {
        let task = |group: usize| NewTask { run_at, ..of("a", &group.to_string(), 0) };
        insert(&store, (0..3_000).map(task)).await;
    }
    let mut left = 6_000;
    while left > 0 {
        let claimed = claim(&store, 700, at(9)).await.claimed.len();
        assert!(claimed > 0, "{left} are left");
        left -= claimed;
    }
}
