//! Waiting without a guest.

use std::time::Duration;

use wasmill_model::{TaskState, Transition, Usage, WakeOn};
use wasmill_store::{CancelOutcome, Checkpoint, Store};

use crate::fixture::{Fixture, StoreExt, at, claim, claim_one, failure, get, insert_one, suspended, wrote};

fn resume_at(second: i64, state: &str) -> Transition {
    suspended(at(second), state.as_bytes(), WakeOn::default())
}

/// Claims the one task that is ready and parks it for ten seconds.
async fn park(store: &Store, second: i64, state: &str) {
    let claimed = claim_one(store, at(second)).await;
    let next = resume_at(second + 10, state);
    assert_eq!(store.finish(&claimed.claim, next, None, at(second)).await, Ok(true));
}

pub async fn a_suspended_task_resumes_at_its_time_with_its_state(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    park(&store, 1, "one").await;
    let task = get(&store, id).await;
    assert_eq!(
        (task.state, task.ready_at, task.attempt, task.suspensions),
        (TaskState::Suspended, at(11), 1, 1)
    );
    assert_eq!((task.started_at, task.failure), (Some(at(1)), None));
    let early = claim(&store, 1, at(10)).await;
    assert!(early.claimed.is_empty());
    assert_eq!(early.next_ready_at, Some(at(11)));

    store.close().await;
    drop(store);
    let store = fixture.open();
    let resumed = claim_one(&store, at(11)).await;
    assert_eq!(resumed.attempt, 1, "it is the same one");
    assert_eq!(resumed.checkpoint, Checkpoint::State(b"one".to_vec()), "a claim brings it along");
    assert_eq!(store.restore(&resumed.claim).await, Ok(Some(b"one".to_vec())));
    let large = "two".repeat(100_000);
    assert_eq!(store.finish(&resumed.claim, resume_at(21, &large), None, at(12)).await, Ok(true));
    let last = claim_one(&store, at(21)).await;
    assert_eq!(last.checkpoint, Checkpoint::NotLoaded, "it is read when it is asked for");
    assert_eq!(store.restore(&last.claim).await, Ok(Some(large.into_bytes())));
    assert_eq!(get(&store, id).await.suspensions, 2);
    assert_eq!(store.finish(&last.claim, Transition::Completed("3".into()), None, at(22)).await, Ok(true));
    let task = get(&store, id).await;
    assert_eq!((task.state, task.attempt, task.started_at), (TaskState::Completed, 1, Some(at(1))));
    assert_eq!(store.attempts(id).await.expect("read"), [], "there was but one");
}

pub async fn steps_share_an_attempt_with_its_usage_and_log(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    for (second, text) in [(1, "one\n"), (11, ""), (21, "three\n")] {
        let claimed = claim_one(&store, at(second)).await;
        let meter = claimed.claim.meter();
        meter.set_cpu(Duration::from_millis(5));
        meter.set_memory_bytes(second.unsigned_abs() << 10);
        meter.add_http_request();
        let own = claimed.claim.usage(at(second + 1));
        assert_eq!(
            (own.cpu, own.wall),
            (Duration::from_millis(5), Duration::from_secs(1)),
            "that of the run"
        );
        let log = wrote(&claimed.claim, text);
        let next = resume_at(second + 10, "on");
        assert_eq!(store.finish(&claimed.claim, next, log, at(second + 1)).await, Ok(true));
    }
    let used = Usage {
        cpu: Duration::from_millis(15),
        // From the start of the first step to the end of the third.
        wall: Duration::from_secs(21),
        queue: Duration::from_secs(1),
        memory_bytes: 21 << 10,
        http_requests: 3,
        ..Usage::default()
    };
    assert_eq!(get(&store, id).await.usage, Some(used));
    let lines = store.lines(id, 0, 10).await.expect("read").expect("there").lines;
    let texts: Vec<_> = lines.iter().map(|line| (line.attempt, line.text.as_str())).collect();
    assert_eq!(texts, [(1, "one"), (1, "three")]);
}

pub async fn a_failed_step_is_retried_from_its_initial_state(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    park(&store, 1, "one").await;
    let failed = claim_one(&store, at(11)).await;
    assert_eq!(
        store.finish(&failed.claim, Transition::RetryAt(at(20), failure()), None, at(12)).await,
        Ok(true)
    );
    let task = get(&store, id).await;
    assert_eq!((task.attempt, task.suspensions, task.started_at), (1, 0, None));
    let again = claim_one(&store, at(20)).await;
    assert_eq!(again.attempt, 2);
    assert_eq!(store.restore(&again.claim).await, Ok(Some(b"one".to_vec())));
    assert_eq!(get(&store, id).await.started_at, Some(at(20)));
}

pub async fn a_requeued_step_does_not_count(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    park(&store, 1, "one").await;
    let drained = claim_one(&store, at(11)).await;
    assert_eq!(store.finish(&drained.claim, Transition::Requeued, None, at(12)).await, Ok(true));
    let task = get(&store, id).await;
    assert_eq!((task.attempt, task.suspensions, task.started_at), (1, 1, Some(at(1))));
    let resumed = claim_one(&store, at(12)).await;
    assert_eq!(resumed.attempt, 1);
    assert_eq!(store.restore(&resumed.claim).await, Ok(Some(b"one".to_vec())));
}

pub async fn a_step_that_a_crash_ended_runs_again(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    park(&store, 1, "one").await;
    claim_one(&store, at(11)).await;
    drop(store);
    let store = fixture.open();
    let task = get(&store, id).await;
    assert_eq!((task.state, task.attempt, task.host_crashes), (TaskState::Available, 1, 1));
    let again = claim_one(&store, at(12)).await;
    assert_eq!(again.attempt, 2, "the attempt that a crash ended is over");
    assert_eq!(store.restore(&again.claim).await, Ok(Some(b"one".to_vec())));
}

pub async fn a_suspended_task_can_be_cancelled(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    park(&store, 1, "one").await;
    let was = TaskState::Suspended;
    assert_eq!(store.cancel(id, at(2)).await, Ok(CancelOutcome::Cancelled { was }));
    assert!(claim(&store, 1, at(11)).await.claimed.is_empty());
}

pub async fn a_revoked_claim_suspends_nothing(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    store.cancel(id, at(2)).await.expect("asked");
    assert_eq!(store.finish(&claimed.claim, resume_at(11, "late"), None, at(3)).await, Ok(false));
    assert_eq!(get(&store, id).await.state, TaskState::Cancelled);
}
