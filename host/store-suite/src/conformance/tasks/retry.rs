//! Attempts that are kept, tasks that are done once more, and what is paused.

use std::time::Duration;

use wasmill_model::{
    Backoff, Cause, Failure, KeySpace, NewTask, OnConflict, Priority, TaskId, TaskState, Transition, Unique,
};
use wasmill_store::{Attempt, Filter};

use crate::conformance::webhook::hook;
use crate::fixture::{Fixture, StoreExt, at, claim_one, failure, get, insert_one, new_task, plugin};

pub async fn every_attempt_is_stored_with_its_outcome(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let retry = |second, failure| Transition::RetryAt(at(second), failure);
    let first = claim_one(&store, at(1)).await;
    first.claim.set_digest("old".into());
    let long = Failure::new(Cause::Trap, "ä".repeat(10_000));
    assert_eq!(store.finish(&first.claim, retry(3, failure()), None, at(2)).await, Ok(true));
    assert_eq!(store.finish(&first.claim, retry(9, long.clone()), None, at(2)).await, Ok(false));
    // A drain is no attempt.
    let drained = claim_one(&store, at(3)).await;
    assert_eq!(store.finish(&drained.claim, Transition::Requeued, None, at(4)).await, Ok(true));
    let second = claim_one(&store, at(5)).await;
    second.claim.set_digest("new".into());
    assert_eq!(store.finish(&second.claim, retry(7, long), None, at(6)).await, Ok(true));
    claim_one(&store, at(7)).await;
    store.close().await;
    let (store, _) = fixture.open_at(9, at(8));
    let attempts = store.attempts(id).await.expect("read");
    let kept = |attempt, cause, message: &str, started, finished, digest: Option<&str>| Attempt {
        attempt,
        cause,
        message: Some(message.to_owned()).filter(|message| !message.is_empty()),
        started_at: Some(at(started)),
        finished_at: at(finished),
        plugin_digest: digest.map(Into::into),
    };
    let expected = [
        kept(1, Cause::Io, &failure().message, 1, 2, Some("old")),
        kept(2, Cause::Trap, &"ä".repeat(512), 5, 6, Some("new")),
        kept(3, Cause::HostCrash, "", 7, 8, None),
    ];
    assert_eq!(attempts, expected);
    let last = claim_one(&store, at(9)).await;
    assert_eq!(store.finish(&last.claim, Transition::Completed("1".into()), None, at(9)).await, Ok(true));
    assert_eq!(store.attempts(id).await.expect("read"), expected, "the last stands in the task");
    store.remove(id, at(9)).await.expect("removed");
    assert_eq!(store.attempts(id).await, Ok(vec![]));
}

pub async fn attempts_are_removed_with_their_task(fixture: &impl Fixture) {
    for cancel in [false, true] {
        let store = fixture.open();
        let gone = insert_one(&store).await;
        let claimed = claim_one(&store, at(1)).await;
        let retry = Transition::RetryAt(at(2), failure());
        assert_eq!(store.finish(&claimed.claim, retry, None, at(1)).await, Ok(true));
        assert_eq!(store.attempts(gone).await.expect("read").len(), 1);
        if cancel {
            store.cancel(gone, at(2)).await.expect("cancelled");
        }
        store.remove(gone, at(9)).await.expect("removed");
        store.close().await;
        // After a restart, the next takes the place of the one that is gone.
        let store = fixture.open();
        let next = insert_one(&store).await;
        assert_eq!((store.attempts(next).await, store.attempts(gone).await), (Ok(vec![]), Ok(vec![])));
        store.remove(next, at(9)).await.expect("removed");
        store.close().await;
    }
}

pub async fn a_retry_copies_the_request_of_its_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let backoff =
        Backoff { first: Duration::from_millis(7), factor: 1.5, max: Duration::from_secs(9), jitter: 0.25 };
    let unique = Unique {
        key: "k".parse().expect("a key"),
        on_conflict: OnConflict::Refuse,
        space: KeySpace::default(),
    };
    let task = NewTask {
        input: Some("{\"n\":1}".to_owned()),
        timeout: Duration::from_millis(1_500),
        backoff: Some(backoff),
        run_at: Some(at(5)),
        priority: Priority::of(-3).expect("in range"),
        tags: vec!["a".parse().expect("a tag"), "b".parse().expect("a tag")],
        unique: Some(unique),
        webhook: Some(hook(&[TaskState::Failed])),
        group: "g".parse().ok(),
        submitted_by: Some("7f3k9q2m".into()),
        ..new_task()
    };
    store.insert(vec![task.clone()]).await.expect("inserted");
    let id = TaskId::new();
    let (state, again) = store.clone_for_retry(task.id, id, at(9)).await.expect("read").expect("there");
    assert_eq!(state, TaskState::Scheduled);
    let expected = NewTask {
        id,
        created_at: at(9),
        run_at: None,
        retry_of: Some(task.id),
        submitted_by: None,
        ..task.clone()
    };
    assert_eq!(again, expected);
    store.cancel(task.id, at(9)).await.expect("cancelled");
    store.insert(vec![again]).await.expect("inserted");
    assert_eq!(get(&store, id).await.retry_of, Some(task.id));
    assert_eq!(store.clone_for_retry(TaskId::new(), id, at(9)).await, Ok(None));
}

pub async fn a_pause_lasts_until_it_is_resumed(fixture: &impl Fixture) {
    let store = fixture.open();
    assert_eq!(store.paused().await, Ok(vec![]));
    for _ in 0..2 {
        store.pause(Some(plugin("a")), true).await.expect("stored");
        store.pause(None, true).await.expect("stored");
    }
    store.close().await;
    let store = fixture.open();
    let mut paused = store.paused().await.expect("read");
    paused.sort();
    assert_eq!(paused, [None, Some(plugin("a"))]);
    store.pause(None, false).await.expect("stored");
    store.pause(Some(plugin("b")), false).await.expect("stored");
    assert_eq!(store.paused().await, Ok(vec![Some(plugin("a"))]));
}

pub async fn tasks_are_found_page_by_page_while_others_arrive(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut failed = Vec::new();
    for second in 0..7 {
        let id = insert_one(&store).await;
        let claimed = claim_one(&store, at(second)).await;
        let next =
            if second == 3 { Transition::Completed("1".into()) } else { Transition::Failed(failure()) };
        assert_eq!(store.finish(&claimed.claim, next, None, at(second)).await, Ok(true));
        if second != 3 {
            failed.push(id);
        }
    }
    failed.reverse();
    let filter = Filter { states: vec![TaskState::Failed], ..Filter::default() };
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let (ids, next) = store.find(filter.clone(), before, 2).await.expect("found");
        assert!(ids.len() <= 2);
        found.extend(ids);
        let claimed = {
            insert_one(&store).await;
            claim_one(&store, at(9)).await
        };
        assert_eq!(store.finish(&claimed.claim, Transition::Failed(failure()), None, at(9)).await, Ok(true));
        before = next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, failed);
}
