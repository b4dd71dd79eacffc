//! Running to whatever comes next.

use std::time::Duration;

use wasmill_model::{Cause, Failure, ResultType, TaskResult, TaskState, Transition, Usage};
use wasmill_store::CancelOutcome;

use crate::fixture::{Fixture, StoreExt, at, claim, claim_one, failure, get, insert_one, wrote};

pub async fn a_result_is_stored(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let next = Transition::Completed("{\"ok\":true}".into());
    assert_eq!(store.finish(&claimed.claim, next, wrote(&claimed.claim, "hello\n"), at(3)).await, Ok(true));
    let task = get(&store, id).await;
    assert_eq!((task.state, task.result.as_deref()), (TaskState::Completed, Some("{\"ok\":true}")));
    assert_eq!((task.started_at, task.finished_at), (Some(at(1)), Some(at(3))));
    assert_eq!(task.result_type, None);
    assert_eq!(store.log(id).await, Ok(Some("hello\n".to_owned())));
}

pub async fn the_type_of_a_result_is_stored(fixture: &impl Fixture) {
    let store = fixture.open();
    for kind in ["image/png;base64", "text/csv"] {
        let id = insert_one(&store).await;
        let claimed = claim_one(&store, at(1)).await;
        let r#type = Some(kind.parse::<ResultType>().expect("valid"));
        let result = TaskResult { text: "eA==".to_owned(), r#type: r#type.clone() };
        assert_eq!(store.finish(&claimed.claim, Transition::Completed(result), None, at(2)).await, Ok(true));
        let task = get(&store, id).await;
        assert_eq!((task.result.as_deref(), task.result_type), (Some("eA=="), r#type));
    }
}

pub async fn a_permanent_failure_is_stored(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let failure = Failure::new(Cause::Exit(3), "left");
    assert_eq!(
        store.finish(&claimed.claim, Transition::Failed(failure.clone()), None, at(3)).await,
        Ok(true)
    );
    let task = get(&store, id).await;
    assert_eq!((task.state, task.failure), (TaskState::Failed, Some(failure)));
    assert_eq!((task.result, task.finished_at), (None, Some(at(3))));
    assert_eq!(store.log(id).await, Ok(None));
}

pub async fn a_retry_waits_until_its_time(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let next = Transition::RetryAt(at(9), failure());
    assert_eq!(store.finish(&claimed.claim, next, None, at(2)).await, Ok(true));
    let task = get(&store, id).await;
    assert_eq!((task.state, task.ready_at, task.attempt), (TaskState::Scheduled, at(9), 1));
    assert_eq!((task.started_at, task.finished_at), (None, None));
    assert_eq!(task.failure, Some(failure()));
    assert!(claim(&store, 1, at(8)).await.claimed.is_empty());
    assert_eq!(claim_one(&store, at(9)).await.attempt, 2);
    assert_eq!(get(&store, id).await.failure, Some(failure()), "kept while the next attempt runs");
}

pub async fn a_success_clears_the_previous_failure(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    for next in [Transition::RetryAt(at(1), failure()), Transition::Completed("1".into())] {
        let claimed = claim_one(&store, at(1)).await;
        assert_eq!(store.finish(&claimed.claim, next, None, at(1)).await, Ok(true));
    }
    assert_eq!(get(&store, id).await.failure, None);
}

pub async fn a_requeue_does_not_count_the_attempt(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let first = claim_one(&store, at(1)).await;
    assert_eq!(store.finish(&first.claim, Transition::Requeued, None, at(2)).await, Ok(true));
    let task = get(&store, id).await;
    assert_eq!((task.state, task.attempt, task.ready_at), (TaskState::Available, 0, at(0)));
    assert_eq!((task.started_at, task.failure), (None, None));
    let second = claim_one(&store, at(3)).await;
    assert_eq!(second.attempt, 1);
    // The attempts are alike, the claims are not.
    assert_eq!(store.finish(&first.claim, Transition::Requeued, None, at(4)).await, Ok(false));
    assert_eq!(get(&store, id).await.state, TaskState::Running);
}

pub async fn a_claim_finishes_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let done = |result: &str| Transition::Completed(result.into());
    assert_eq!(store.finish(&claimed.claim, done("1"), None, at(2)).await, Ok(true));
    let log = wrote(&claimed.claim, "late");
    assert_eq!(store.finish(&claimed.claim, done("2"), log, at(3)).await, Ok(false));
    assert_eq!(get(&store, id).await.result.as_deref(), Some("1"));
    assert_eq!(store.log(id).await, Ok(None));
}

pub async fn a_log_belongs_to_the_newest_attempt(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let retry = || Transition::RetryAt(at(1), failure());
    let steps = [
        (retry(), "first", Some("first")),
        (retry(), "second", Some("second")),
        (Transition::Requeued, "", Some("second")),
        (retry(), "", None),
        (Transition::Requeued, "drained", Some("drained")),
    ];
    for (next, log, kept) in steps {
        let claimed = claim_one(&store, at(1)).await;
        let log = wrote(&claimed.claim, log);
        assert_eq!(store.finish(&claimed.claim, next, log, at(1)).await, Ok(true));
        assert_eq!(store.log(id).await.expect("read").as_deref(), kept);
    }
}

pub async fn a_task_keeps_the_digest_of_its_newest_attempt(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let digest = async || get(&store, id).await.plugin_digest;
    assert_eq!(digest().await, None);
    let retry = || Transition::RetryAt(at(1), failure());
    for (pinned, next) in [("old", retry()), ("new", retry()), ("newer", Transition::Completed("".into()))] {
        let before = digest().await;
        let claimed = claim_one(&store, at(1)).await;
        assert_eq!(digest().await, before, "until the next attempt has a version");
        claimed.claim.set_digest(pinned.into());
        assert_eq!(digest().await.as_deref(), Some(pinned));
        assert_eq!(store.finish(&claimed.claim, next, None, at(1)).await, Ok(true));
        claimed.claim.set_digest("late".into());
        assert_eq!(digest().await.as_deref(), Some(pinned));
    }
    store.close().await;
    drop(store);
    assert_eq!(get(&fixture.open(), id).await.plugin_digest.as_deref(), Some("newer"));
}

pub async fn a_task_keeps_the_usage_of_its_newest_attempt(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let usage = async || get(&store, id).await.usage;
    assert_eq!(usage().await, None, "it never ran");
    let first = claim_one(&store, at(2)).await;
    assert_eq!(first.queue, Duration::from_secs(2));
    first.claim.meter().set_cpu(Duration::from_millis(7));
    first.claim.meter().add_log_bytes(3);
    let so_far = Usage {
        queue: Duration::from_secs(2),
        cpu: Duration::from_millis(7),
        log_bytes: 3,
        ..Usage::default()
    };
    assert_eq!(usage().await, Some(so_far), "seen while it runs");
    let next = Transition::RetryAt(at(9), failure());
    assert_eq!(store.finish(&first.claim, next, None, at(5)).await, Ok(true));
    first.claim.meter().add_log_bytes(99);
    let kept = Usage { wall: Duration::from_secs(3), ..so_far };
    assert_eq!(usage().await, Some(kept));

    let drained = claim_one(&store, at(9)).await;
    drained.claim.meter().add_checkpoint();
    assert_eq!(store.finish(&drained.claim, Transition::Requeued, None, at(10)).await, Ok(true));
    assert_eq!(usage().await, Some(kept), "an attempt that a drain ended was none");

    let last = claim_one(&store, at(11)).await;
    last.claim.meter().add_http_request();
    let Ok(CancelOutcome::Stopping { .. }) = store.cancel(id, at(11)).await else {
        panic!("it is asked to stop")
    };
    crate::fixture::end_stopped(&store, &last.claim, at(12)).await;
    let seconds = Duration::from_secs;
    let used = Usage { queue: seconds(2), wall: seconds(1), http_requests: 1, ..Usage::default() };
    assert_eq!(usage().await, Some(used));
    store.close().await;
    drop(store);
    assert_eq!(get(&fixture.open(), id).await.usage, Some(used));
}
