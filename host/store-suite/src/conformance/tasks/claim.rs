//! Waiting to running.

use std::collections::HashSet;
use std::task::{Context, Waker};
use std::time::Duration;

use wasmill_model::{Backoff, NewTask, PluginName, TaskState, Transition};
use wasmill_store::ClaimQuota;

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, failure, get, ids, insert_one, new_task, plugin,
};

pub async fn the_longest_available_task_of_each_plugin_is_claimed_first(fixture: &impl Fixture) {
    let store = fixture.open();
    let ready = [("a", 5), ("b", 3), ("a", 3), ("b", 1), ("a", 9)];
    let tasks: Vec<_> = ready
        .map(|(name, second)| NewTask { plugin: plugin(name), created_at: at(second), ..new_task() })
        .into();
    // The last was accepted in the future, by a clock that went back since: it waits for its turn only.
    let order = [3, 2, 1, 0, 4].map(|fixture| tasks[fixture].id);
    store.insert(tasks).await.expect("inserted");
    let both = [plugin("a"), plugin("b")];
    let first = store.claim(&both, 3, at(5)).await.expect("claimed");
    assert_eq!((ids(&first).as_slice(), first.next_ready_at), (&order[..3], None));
    let second = store.claim(&both, 3, at(5)).await.expect("claimed");
    assert_eq!((ids(&second).as_slice(), second.next_ready_at), (&order[3..], None));
}

pub async fn only_requested_plugins_are_claimed(fixture: &impl Fixture) {
    let store = fixture.open();
    let other = NewTask { plugin: plugin("b"), ..new_task() };
    store.insert(vec![other]).await.expect("inserted");
    let id = insert_one(&store).await;
    let none = store.claim::<PluginName>(&[], 9, at(0)).await.expect("claimed");
    assert!(none.claimed.is_empty() && none.next_ready_at.is_none());
    let twice = store.claim(&[plugin("a"), plugin("a"), plugin("c")], 9, at(0)).await.expect("claimed");
    assert_eq!((ids(&twice), twice.next_ready_at), (vec![id], None));
}

pub async fn no_task_is_claimed_twice(fixture: &impl Fixture) {
    let store = fixture.open();
    store.insert((0..50).map(|_| new_task()).collect()).await.expect("inserted");
    let claims = (0..10).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { ids(&claim(&store, 7, at(0)).await) })
    });
    let mut seen = HashSet::new();
    for claimed in claims.collect::<Vec<_>>() {
        assert!(claimed.await.expect("claimed").into_iter().all(|id| seen.insert(id)));
    }
    assert_eq!(seen.len(), 50);
}

pub async fn a_claim_returns_everything_its_run_needs(fixture: &impl Fixture) {
    let store = fixture.open();
    let input = Some("{\"wait\":1}".to_owned());
    let backoff =
        Backoff { first: Duration::from_millis(7), factor: 1.5, max: Duration::from_secs(9), jitter: 0.25 };
    let timeout = Duration::from_millis(1_500);
    let new = NewTask { input: input.clone(), timeout, backoff: Some(backoff), ..new_task() };
    store.insert(vec![new.clone()]).await.expect("inserted");
    let claimed = claim_one(&store, at(4)).await;
    assert_eq!((claimed.claim.id, &claimed.plugin), (new.id, &new.plugin));
    assert_eq!((claimed.attempt, claimed.attempts_max, claimed.host_crashes), (1, 3, 0));
    assert_eq!((claimed.timeout, claimed.input), (new.timeout, input));
    assert_eq!(claimed.backoff, Some(backoff));
    let task = get(&store, new.id).await;
    assert_eq!(task.backoff, Some(backoff));
    assert_eq!((task.state, task.started_at, task.attempt), (TaskState::Running, Some(at(4)), 1));
}

pub async fn a_plugin_gets_at_most_its_quota(fixture: &impl Fixture) {
    let store = fixture.open();
    let of = |name| move |_| NewTask { plugin: plugin(name), ..new_task() };
    store.insert((0..5).map(of("a")).chain((0..5).map(of("b"))).collect()).await.expect("inserted");
    let quotas =
        [ClaimQuota { tasks_max: 2, ..ClaimQuota::from(plugin("a")) }, ClaimQuota::from(plugin("b"))];
    let claims = store.claim(&quotas, 6, at(0)).await.expect("claimed");
    let plugins: Vec<_> = claims.claimed.iter().map(|claimed| claimed.plugin.as_str()).collect();
    assert_eq!(plugins, ["a", "b", "a", "b", "b", "b"]);
    let none = [ClaimQuota { tasks_max: 0, ..ClaimQuota::from(plugin("a")) }];
    assert!(store.claim(&none, 9, at(0)).await.expect("claimed").claimed.is_empty());
}

pub async fn a_claim_stops_at_the_first_task_beyond_available_memory(fixture: &impl Fixture) {
    let store = fixture.open();
    let of = |name| NewTask { plugin: plugin(name), ..new_task() };
    store.insert(["a", "b", "a", "a"].map(of).into()).await.expect("inserted");
    let quotas = [
        ClaimQuota { memory_bytes: 1, ..ClaimQuota::from(plugin("a")) },
        ClaimQuota { memory_bytes: 5, ..ClaimQuota::from(plugin("b")) },
    ];
    // The second needs more than is left, and those behind it do not pass it.
    for (available_memory, claimed, lacked_memory) in
        [(5, 1, true), (0, 0, true), (6, 2, false), (0, 0, true), (9, 1, false)]
    {
        let tasks_max = claimed.max(2);
        let claims =
            (*store).claim(quotas.to_vec(), tasks_max, available_memory, at(0)).await.expect("claimed");
        assert_eq!(
            (claims.claimed.len(), claims.lacked_memory),
            (claimed, lacked_memory),
            "room {available_memory}"
        );
    }
}

pub async fn a_short_claim_returns_when_the_next_task_is_due(fixture: &impl Fixture) {
    let store = fixture.open();
    insert_one(&store).await;
    let claimed = claim_one(&store, at(0)).await;
    let retry = Transition::RetryAt(at(7), failure());
    assert!(store.finish(&claimed.claim, retry, None, at(1)).await.expect("finished"));
    let early = claim(&store, 1, at(6)).await;
    assert!(early.claimed.is_empty());
    assert_eq!(early.next_ready_at, Some(at(7)));
    let ready = claim(&store, 1, at(7)).await;
    assert_eq!((ready.claimed.len(), ready.next_ready_at), (1, None));
    assert_eq!(claim(&store, 1, at(7)).await.next_ready_at, None);
}

pub async fn a_dropped_claim_is_requeued(fixture: &impl Fixture) {
    let store = fixture.open();
    let names = [plugin("a")];
    let id = loop {
        let id = insert_one(&store).await;
        let mut dropped = Box::pin(store.claim(&names, 1, at(0)));
        if dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            break id;
        }
        // The store was so quick that the claim was delivered; once more.
        drop(dropped);
        store.remove(id, at(2)).await.expect("removed");
    };
    // A command behind the dropped claim: with its answer, that one has run.
    insert_one(&store).await;
    let claims = claim(&store, 9, at(1)).await;
    assert_eq!(ids(&claims)[0], id);
    assert_eq!(claims.claimed[0].attempt, 1);
}
