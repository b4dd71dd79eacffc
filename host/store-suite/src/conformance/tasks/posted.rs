//! Events that somebody posts to a task.

use std::time::Duration;

use wasmill_model::{
    EventName, NewEvent, POSTED_EVENTS_MAX, PluginName, TaskId, TaskState, Transition, WakeOn,
};
use wasmill_store::{Claim, IdempotencyKey, PostOutcome, Store, StoreError};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, failure, get, insert_one, new_task, plugin, suspended,
};

const ON_EVENT: WakeOn = WakeOn { event: true, any_child: false, all_children: false };

fn event(task: TaskId, payload: &str) -> NewEvent {
    NewEvent { task, name: None, payload: payload.to_owned() }
}

/// Posts an event without a name, which is taken.
async fn post(store: &Store, task: TaskId, payload: &str, second: i64) {
    let posted = store.post_event(event(task, payload), None, at(second)).await;
    assert_eq!(posted, Ok(PostOutcome::Posted { at: at(second), replayed: false }));
}

/// Takes the events of a run, as a guest does.
async fn take_all(store: &Store, claim: &Claim) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some(event) = store.next_event(claim).await.expect("read") {
        claim.take_events(event.number);
        payloads.push(event.payload);
    }
    payloads
}

/// Suspends the one task that is ready until an event, or for a hundred seconds.
async fn wait_for_event(store: &Store, second: i64) {
    let claimed = claim_one(store, at(second)).await;
    let next = suspended(at(second + 100), b"waits", ON_EVENT);
    assert_eq!(store.finish(&claimed.claim, next, None, at(second)).await, Ok(true));
}

pub async fn an_event_wakes_a_task_that_waits_for_one(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    wait_for_event(&store, 1).await;
    let task = get(&store, id).await;
    assert_eq!((task.state, task.wake_on, task.ready_at), (TaskState::Suspended, ON_EVENT, at(101)));
    let name = "approved".parse().ok();
    let named = NewEvent { name, ..event(id, "{\"by\":\"Ada\"}") };
    let posted = store.post_event(named, None, at(5)).await;
    assert_eq!(posted, Ok(PostOutcome::Posted { at: at(5), replayed: false }));
    let task = get(&store, id).await;
    assert_eq!((task.state, task.ready_at, task.events_posted), (TaskState::Available, at(5), 1));
    assert_eq!(task.wake_on, WakeOn::default(), "it waits no longer");
    let resumed = claim_one(&store, at(5)).await;
    let event = store.next_event(&resumed.claim).await.expect("read").expect("posted");
    assert_eq!(event.name.as_ref().map(EventName::as_str), Some("approved"));
    assert_eq!((event.number, event.payload.as_str()), (1, "{\"by\":\"Ada\"}"));
}

pub async fn an_event_leaves_a_task_that_waits_for_time_suspended(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let next = suspended(at(50), b"waits", WakeOn::default());
    assert_eq!(store.finish(&claimed.claim, next, None, at(1)).await, Ok(true));
    post(&store, id, "1", 2).await;
    assert!(claim(&store, 1, at(49)).await.claimed.is_empty());
    let resumed = claim_one(&store, at(50)).await;
    assert_eq!(take_all(&store, &resumed.claim).await, ["1"]);
}

pub async fn a_task_that_gets_no_event_resumes_at_its_time(fixture: &impl Fixture) {
    let store = fixture.open();
    insert_one(&store).await;
    wait_for_event(&store, 1).await;
    assert!(claim(&store, 1, at(100)).await.claimed.is_empty());
    let resumed = claim_one(&store, at(101)).await;
    assert_eq!(store.next_event(&resumed.claim).await, Ok(None));
}

pub async fn an_event_before_the_suspension_wakes_at_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    post(&store, id, "0", 0).await;
    let first = claim_one(&store, at(1)).await;
    assert_eq!(take_all(&store, &first.claim).await, ["0"], "it came before the task started");
    post(&store, id, "1", 2).await;
    let next = suspended(at(100), b"knows of 0", ON_EVENT);
    assert_eq!(store.finish(&first.claim, next, None, at(3)).await, Ok(true));
    let second = claim_one(&store, at(3)).await;
    assert_eq!(take_all(&store, &second.claim).await, ["1"], "it came while the task ran");
    let next = suspended(at(100), b"knows of 1", ON_EVENT);
    assert_eq!(store.finish(&second.claim, next, None, at(4)).await, Ok(true));
    assert!(claim(&store, 1, at(5)).await.claimed.is_empty(), "all are taken");
}

pub async fn events_survive_a_crash_until_a_run_has_saved(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    for payload in ["1", "2", "3"] {
        post(&store, id, payload, 1).await;
    }
    let first = claim_one(&store, at(1)).await;
    assert_eq!(take_all(&store, &first.claim).await, ["1", "2", "3"]);
    drop(store);

    let store = fixture.open();
    let second = claim_one(&store, at(2)).await;
    let taken = store.next_event(&second.claim).await.expect("read").expect("posted");
    assert_eq!(taken.payload, "1", "the run that took it saved nothing");
    second.claim.take_events(taken.number);
    assert_eq!(store.save(&second.claim, b"knows of 1".to_vec()).await, Ok(true));
    assert_eq!(take_all(&store, &second.claim).await, ["2", "3"]);
    drop(store);

    let store = fixture.open();
    let third = claim_one(&store, at(3)).await;
    assert_eq!(store.restore(&third.claim).await, Ok(Some(b"knows of 1".to_vec())));
    assert_eq!(take_all(&store, &third.claim).await, ["2", "3"], "the checkpoint knows of the first");
    post(&store, id, "4", 4).await;
    assert_eq!(take_all(&store, &third.claim).await, ["4"], "numbers are never given out twice");
}

pub async fn a_retry_gets_the_events_of_the_attempt_before(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    wait_for_event(&store, 1).await;
    post(&store, id, "1", 2).await;
    let failed = claim_one(&store, at(2)).await;
    assert_eq!(take_all(&store, &failed.claim).await, ["1"]);
    let next = Transition::RetryAt(at(10), failure());
    assert_eq!(store.finish(&failed.claim, next, None, at(3)).await, Ok(true));
    post(&store, id, "2", 4).await;
    assert!(claim(&store, 1, at(9)).await.claimed.is_empty(), "an event shortens no backoff");
    let again = claim_one(&store, at(10)).await;
    assert_eq!(take_all(&store, &again.claim).await, ["1", "2"]);
    assert_eq!(store.finish(&again.claim, Transition::Requeued, None, at(11)).await, Ok(true));
    let last = claim_one(&store, at(12)).await;
    assert_eq!(take_all(&store, &last.claim).await, ["1", "2"]);
}

pub async fn a_revoked_claim_takes_no_event(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    post(&store, id, "1", 0).await;
    let first = claim_one(&store, at(1)).await;
    assert_eq!(take_all(&store, &first.claim).await, ["1"]);
    assert_eq!(store.finish(&first.claim, Transition::Requeued, None, at(2)).await, Ok(true));
    assert_eq!(store.next_event(&first.claim).await, Ok(None));
    assert_eq!(store.save(&first.claim, b"late".to_vec()).await, Ok(false));
    let second = claim_one(&store, at(3)).await;
    assert_eq!(take_all(&store, &second.claim).await, ["1"]);
}

pub async fn an_ended_task_takes_no_events_and_keeps_none(fixture: &impl Fixture) {
    let store = fixture.open();
    let completed = insert_one(&store).await;
    post(&store, completed, "1", 0).await;
    let claimed = claim_one(&store, at(1)).await;
    let next = Transition::Completed("1".into());
    assert_eq!(store.finish(&claimed.claim, next, None, at(2)).await, Ok(true));
    let cancelled = insert_one(&store).await;
    post(&store, cancelled, "1", 0).await;
    store.cancel(cancelled, at(3)).await.expect("cancelled");
    for (id, state) in [(completed, TaskState::Completed), (cancelled, TaskState::Cancelled)] {
        let posted = store.post_event(event(id, "2"), None, at(4)).await;
        assert_eq!(posted, Ok(PostOutcome::AlreadyFinal(state)));
        assert_eq!(get(&store, id).await.events_posted, 1);
        store.remove(id, at(5)).await.expect("removed");
    }
    let posted = store.post_event(event(completed, "3"), None, at(6)).await;
    assert_eq!(posted, Ok(PostOutcome::NotFound));
}

pub async fn a_task_keeps_a_bounded_number_of_events(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    for number in 0..POSTED_EVENTS_MAX {
        post(&store, id, &number.to_string(), 0).await;
    }
    assert_eq!(store.post_event(event(id, "too many"), None, at(1)).await, Ok(PostOutcome::Full));
    let claimed = claim_one(&store, at(1)).await;
    assert_eq!(take_all(&store, &claimed.claim).await.len(), POSTED_EVENTS_MAX);
    assert_eq!(store.post_event(event(id, "too many"), None, at(1)).await, Ok(PostOutcome::Full));
    assert_eq!(store.save(&claimed.claim, Vec::new()).await, Ok(true));
    post(&store, id, "fits", 2).await;
    assert_eq!(take_all(&store, &claimed.claim).await, ["fits"]);
}

pub async fn a_repeated_post_stores_one_event(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    wait_for_event(&store, 1).await;
    let key = |digest| Some(IdempotencyKey { key: "k".to_owned(), digest: [digest; 32] });
    let first = store.post_event(event(id, "1"), key(1), at(2)).await;
    assert_eq!(first, Ok(PostOutcome::Posted { at: at(2), replayed: false }));
    let again = store.post_event(event(id, "1"), key(1), at(3)).await;
    assert_eq!(again, Ok(PostOutcome::Posted { at: at(2), replayed: true }));
    let other = store.post_event(event(id, "2"), key(2), at(3)).await;
    assert_eq!(other, Err(StoreError::KeyReused { key: "k".to_owned() }));
    let resumed = claim_one(&store, at(4)).await;
    assert_eq!(take_all(&store, &resumed.claim).await, ["1"]);
    let next = Transition::Completed("1".into());
    assert_eq!(store.finish(&resumed.claim, next, None, at(5)).await, Ok(true));
    let late = store.post_event(event(id, "1"), key(1), at(6)).await;
    assert_eq!(late, Ok(PostOutcome::Posted { at: at(2), replayed: true }), "also once the task has ended");
    let unknown = TaskId::new();
    let refused = store.post_event(
        event(unknown, "1"),
        Some(IdempotencyKey { key: "n".to_owned(), digest: [3; 32] }),
        at(6),
    );
    assert_eq!(refused.await, Ok(PostOutcome::NotFound));
}

pub async fn a_woken_task_takes_its_turn_and_is_counted(fixture: &impl Fixture) {
    let store = fixture.open();
    let task = wasmill_model::NewTask { group: "g".parse().ok(), ..new_task() };
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    wait_for_event(&store, 1).await;
    let counts = |name: &PluginName| {
        let counts = store.plugin_counts().into_iter().find(|(plugin, _)| plugin == name);
        counts.map(|(_, counts)| (counts.suspended, counts.available)).expect("counted")
    };
    assert_eq!(counts(&plugin("a")), (1, 0));
    let woken = store.wait_for_ready();
    post(&store, id, "1", 2).await;
    let woken = tokio::time::timeout(Duration::from_secs(10), woken).await;
    assert_eq!(woken, Ok(()), "the dispatcher learns of it");
    assert_eq!(counts(&plugin("a")), (0, 1));
    assert_eq!(claim_one(&store, at(2)).await.claim.id, id);
}
