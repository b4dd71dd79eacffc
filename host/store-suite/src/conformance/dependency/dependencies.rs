//! Tasks that wait for others: when they start, when they do not, and the results that they receive.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use wasmill_model::{
    Cause, KeySpace, NewDependencies, NewTask, OnConflict, OnFailure, Priority, Task, TaskId, TaskState,
    Transition, Unique,
};
use wasmill_store::{Dependency, EventKind, Filter, IdempotencyKey, Received, Store, StoreError};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, end_stopped, failure, get, ids, insert_one, new_task, plugin,
};

pub fn after(on: &[TaskId]) -> NewTask {
    let dependencies = NewDependencies {
        on: on.to_vec(),
        on_failure: OnFailure::Cancel,
        pass_results: false,
        files_from: None,
    };
    NewTask { dependencies: Some(dependencies), ..new_task() }
}

pub fn with(on: &[TaskId], on_failure: OnFailure, pass_results: bool) -> NewTask {
    NewTask {
        dependencies: Some(NewDependencies { on: on.to_vec(), on_failure, pass_results, files_from: None }),
        ..new_task()
    }
}

pub async fn insert(store: &Store, task: NewTask) -> TaskId {
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    id
}

/// Claims the one task that is ready, and ends it.
pub async fn end(store: &Store, next: Transition, second: i64) -> TaskId {
    let claimed = claim_one(store, at(second)).await;
    assert_eq!(store.finish(&claimed.claim, next, None, at(second)).await, Ok(true));
    claimed.claim.id
}

pub fn completed() -> Transition {
    Transition::Completed("1".into())
}

pub async fn ready(store: &Store, second: i64) -> Vec<TaskId> {
    ids(&claim(store, 99, at(second)).await)
}

/// Says how a task was cancelled that waited for this one.
pub fn blames(task: &Task, on: TaskId, how: &str) -> bool {
    let message = format!("it depends on task {on}, which {how}");
    let blamed = task
        .failure
        .as_ref()
        .is_some_and(|failure| failure.cause == Cause::Dependency && failure.message == message);
    task.state == TaskState::Cancelled && task.pending_dependencies == Some(0) && blamed
}

/// Waits until a task has this state: dependents beyond the limit of one batch are resolved in further ones.
pub async fn until(store: &Store, id: TaskId, state: TaskState) -> Task {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let task = get(store, id).await;
        if task.state == state {
            return task;
        }
        assert!(std::time::Instant::now() < deadline, "{task:?} is not {state}");
        tokio::task::yield_now().await;
    }
}

pub async fn a_task_waits_until_the_last_one_it_depends_on_has_completed(fixture: &impl Fixture) {
    let store = fixture.open();
    let top = insert_one(&store).await;
    let (left, right) = (insert(&store, after(&[top])).await, insert(&store, after(&[top])).await);
    let bottom = insert(&store, after(&[left, right, top])).await;
    assert_eq!(get(&store, bottom).await.pending_dependencies, Some(3));
    assert_eq!(get(&store, top).await.pending_dependencies, None);
    assert_eq!(end(&store, completed(), 5).await, top, "it alone is ready");
    let task = get(&store, left).await;
    assert_eq!(
        (task.state, task.pending_dependencies, task.ready_at),
        (TaskState::Available, Some(0), at(5))
    );
    let sides = claim(&store, 9, at(6)).await;
    assert_eq!(ids(&sides), [left, right]);
    assert_eq!(sides.claimed[0].queue, Duration::from_secs(1));
    for (second, claimed) in (7..).zip(&sides.claimed) {
        assert_eq!(ready(&store, second).await, []);
        assert_eq!(store.finish(&claimed.claim, completed(), None, at(second)).await, Ok(true));
    }
    assert_eq!(get(&store, bottom).await.ready_at, at(8));
    let dependencies = store.dependencies(bottom).await.expect("read").expect("it depends");
    let on = |id| Dependency { id, outcome: Some(TaskState::Completed) };
    assert_eq!(dependencies.on, [on(left), on(right), on(top)]);
    assert_eq!((dependencies.on_failure, dependencies.pass_results), (OnFailure::Cancel, false));
    assert_eq!(ready(&store, 8).await, [bottom]);
    assert_eq!(store.dependencies(top).await, Ok(None));
}

pub async fn a_failure_cancels_all_transitive_dependents(fixture: &impl Fixture) {
    let store = fixture.open();
    let (failing, other) =
        (insert_one(&store).await, insert(&store, NewTask { plugin: plugin("b"), ..new_task() }).await);
    let next = insert(&store, after(&[other, failing])).await;
    let last = insert(&store, after(&[next])).await;
    let all_the_same = insert(&store, with(&[failing, next], OnFailure::Run, false)).await;
    let mut all = store.subscribe_all();
    assert_eq!(end(&store, Transition::RetryAt(at(3), failure()), 1).await, failing);
    assert_eq!(get(&store, next).await.state, TaskState::Blocked, "one that is tried again has not ended");
    assert_eq!(end(&store, Transition::Failed(failure()), 4).await, failing);
    let cancelled = get(&store, next).await;
    assert!(blames(&cancelled, failing, "failed"), "{cancelled:?}");
    assert_eq!((cancelled.finished_at, cancelled.attempt), (Some(at(4)), 0));
    assert!(blames(&get(&store, last).await, next, "was cancelled"));
    assert_eq!(ready(&store, 4).await, [all_the_same]);
    let outcomes: Vec<_> = store
        .dependencies(all_the_same)
        .await
        .expect("read")
        .expect("it depends")
        .on
        .iter()
        .map(|on| on.outcome)
        .collect();
    assert_eq!(outcomes, [Some(TaskState::Failed), Some(TaskState::Cancelled)]);
    let on = store.dependencies(next).await.expect("read").expect("it depends").on;
    assert_eq!(on[0], Dependency { id: other, outcome: None }, "nobody waits for it any more");
    let mut received = Vec::new();
    while received.len() < 2 {
        let Received::Events(events) = all.next().await else { panic!("nothing is missed") };
        let cancelled = events.into_iter().filter(|event| event.payload.kind == EventKind::Cancelled);
        received.extend(cancelled.map(|event| event.payload.task));
    }
    assert_eq!(received, [next, last]);
}

pub async fn a_finished_dependency_counts_like_a_later_one(fixture: &impl Fixture) {
    let store = fixture.open();
    let good = insert_one(&store).await;
    end(&store, completed(), 1).await;
    let bad = insert_one(&store).await;
    end(&store, Transition::Failed(failure()), 1).await;
    let gone = insert_one(&store).await;
    store.cancel(gone, at(1)).await.expect("cancelled");
    let later = |task| NewTask { created_at: at(5), ..task };
    let after_good = insert(&store, later(after(&[good, good]))).await;
    let after_bad = insert(&store, later(after(&[good, bad]))).await;
    let after_gone = insert(&store, later(after(&[gone]))).await;
    let all_the_same = insert(&store, later(with(&[bad, gone], OnFailure::Run, false))).await;
    assert!(blames(&get(&store, after_bad).await, bad, "failed"));
    assert!(blames(&get(&store, after_gone).await, gone, "was cancelled"));
    assert_eq!(ready(&store, 5).await, [after_good, all_the_same]);
}

pub async fn outcomes_are_stored_for_a_task_cancelled_at_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let bad = insert_one(&store).await;
    end(&store, Transition::Failed(failure()), 1).await;
    let good = insert_one(&store).await;
    end(&store, completed(), 1).await;
    let open = insert_one(&store).await;
    let after = insert(&store, after(&[good, open, bad])).await;
    assert!(blames(&get(&store, after).await, bad, "failed"));
    let on = store.dependencies(after).await.expect("read").expect("it depends").on;
    let outcomes: Vec<_> = on.iter().map(|on| on.outcome).collect();
    assert_eq!(outcomes, [Some(TaskState::Completed), None, Some(TaskState::Failed)]);
}

pub async fn a_cancelled_or_removed_task_cancels_its_dependents(fixture: &impl Fixture) {
    let store = fixture.open();
    for delete in [false, true] {
        for is_running in [false, true] {
            let first = insert_one(&store).await;
            let second = insert(&store, after(&[first])).await;
            let claimed = if is_running { Some(claim_one(&store, at(1)).await) } else { None };
            if delete {
                store.remove(first, at(2)).await.expect("removed");
            } else {
                store.cancel(first, at(2)).await.expect("cancelled");
            }
            if let Some(claimed) = claimed {
                assert_eq!(get(&store, second).await.state, TaskState::Blocked, "its guest is still there");
                end_stopped(&store, &claimed.claim, at(2)).await;
            }
            assert!(blames(&get(&store, second).await, first, "was cancelled"), "{delete} {is_running}");
        }
    }
    let ended = insert_one(&store).await;
    end(&store, completed(), 3).await;
    let (one, other) = (insert_one(&store).await, insert_one(&store).await);
    let second = insert(&store, after(&[ended, one, other])).await;
    store.remove(ended, at(4)).await.expect("removed");
    assert_eq!(get(&store, second).await.state, TaskState::Blocked, "it had ended well");
    let found = store.find_open(Filter::default()).await.expect("found");
    assert_eq!(found.len(), 3);
    let many = store.cancel_many(found, Filter::default(), at(5)).await.expect("cancelled");
    assert_eq!(many.waiting, 3, "each by itself");
    assert_eq!(get(&store, second).await.failure, None);
}

pub async fn a_blocked_task_can_be_cancelled_and_removed(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = insert_one(&store).await;
    let (cancelled, deleted) = (insert(&store, after(&[first])).await, insert(&store, after(&[first])).await);
    store.cancel(cancelled, at(1)).await.expect("cancelled");
    store.remove(deleted, at(1)).await.expect("removed");
    assert_eq!(store.dependencies(deleted).await, Ok(None));
    end(&store, completed(), 2).await;
    assert_eq!(get(&store, cancelled).await.state, TaskState::Cancelled);
    assert_eq!((ready(&store, 3).await, store.counts().await.expect("counted").waiting), (vec![], 0));
}

pub async fn an_unknown_dependency_is_refused(fixture: &impl Fixture) {
    let store = fixture.open();
    let there = insert_one(&store).await;
    let missing = TaskId::new();
    let tasks = vec![after(&[there]), after(&[there, missing])];
    let refused = StoreError::UnknownDependency { index: 1, dependency_index: 1, id: missing };
    assert_eq!(store.submit(tasks, None).await, Err(refused.clone()));
    // Of the same batch only those before it.
    let (one, other) = (new_task(), new_task());
    let (mut first, second) = (after(&[other.id]), other);
    first.id = one.id;
    let refused = StoreError::UnknownDependency { index: 0, dependency_index: 0, id: second.id };
    assert_eq!(store.submit(vec![first, second], None).await, Err(refused));
    assert_eq!(store.counts().await.expect("counted").waiting, 1);
    // A refused request leaves no end that could be resolved.
    end(&store, completed(), 1).await;
    let ended_already = vec![after(&[there]), after(&[missing])];
    assert!(store.submit(ended_already, None).await.is_err());
    assert_eq!(ready(&store, 2).await, []);
    let last = insert(&store, after(&[there])).await;
    assert_eq!(ready(&store, 2).await, [last]);
}

pub async fn a_batch_may_depend_on_its_own_tasks_and_on_key_holders(fixture: &impl Fixture) {
    let store = fixture.open();
    let unique = Unique {
        key: "k".parse().expect("a key"),
        on_conflict: OnConflict::Return,
        space: KeySpace::default(),
    };
    let keyed = || NewTask { unique: Some(unique.clone()), ..new_task() };
    let holder = insert(&store, keyed()).await;
    let again = keyed();
    let second = after(&[again.id]);
    let third = after(&[second.id, again.id]);
    let (second_id, third_id) = (second.id, third.id);
    let request = IdempotencyKey { key: "r".to_owned(), digest: [1; 32] };
    let tasks = vec![again, second, third];
    store.submit(tasks, Some((request, at(0)))).await.expect("stored");
    let on = store.dependencies(third_id).await.expect("read").expect("it depends").on;
    assert_eq!(on.iter().map(|on| on.id).collect::<Vec<_>>(), [second_id, holder]);
    for expected in [holder, second_id, third_id] {
        assert_eq!(end(&store, completed(), 1).await, expected);
    }
}

pub async fn a_delay_and_a_priority_apply_once_dependencies_finish(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = insert_one(&store).await;
    let late = insert(&store, NewTask { run_at: Some(at(60)), ..after(&[first]) }).await;
    let early = insert(&store, NewTask { run_at: Some(at(3)), ..after(&[first]) }).await;
    let high =
        insert(&store, NewTask { priority: Priority::of(5).expect("in range"), ..after(&[first]) }).await;
    assert_eq!(get(&store, late).await.ready_at, at(60));
    assert_eq!(ready(&store, 61).await, [first], "those that wait for others are not ready at their time");
    store.close().await;
    let (store, _) = fixture.open_at(9, at(1));
    assert_eq!(store.oldest_waiting().await.expect("read"), [(plugin("a"), at(0))]);
    end(&store, completed(), 10).await;
    assert_eq!(get(&store, early).await.ready_at, at(10));
    let plain = insert(&store, NewTask { created_at: at(9), ..new_task() }).await;
    assert_eq!(ids(&claim(&store, 1, at(10)).await), [high]);
    assert_eq!(ready(&store, 10).await, [plain, early]);
    assert_eq!(ready(&store, 59).await, []);
    assert_eq!(ready(&store, 60).await, [late]);
}

pub async fn a_blocked_task_is_not_claimed(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = insert_one(&store).await;
    let high = NewTask { priority: Priority::of(1_000).expect("in range"), ..after(&[first]) };
    store.insert(vec![after(&[first]), high]).await.expect("inserted");
    let claimed = claim(&store, 9, at(1)).await;
    assert_eq!((ids(&claimed), claimed.next_ready_at), (vec![first], None));
    assert_eq!(store.oldest_waiting().await, Ok(vec![]), "nothing waits that could run");
    let waiting = store.waiting(vec![plugin("a")], 9).await;
    assert_eq!((waiting, store.counts().await.expect("counted").waiting), (Ok(vec![2]), 2));
}

/// A chain of cancels and one task with many dependents: both are resolved, also by the next host.
pub async fn a_long_chain_and_many_dependents_are_resolved(fixture: &impl Fixture) {
    const MANY: usize = 4_000;
    let (store, _) = fixture.open_at(3 * MANY as u64, at(0));
    let head = insert_one(&store).await;
    let mut chain = vec![new_task()];
    for _ in 1..MANY {
        let before = chain.last().expect("one").id;
        chain.push(after(&[before]));
    }
    chain[0] = NewTask { id: chain[0].id, ..after(&[head]) };
    let crowd: Vec<_> = (0..MANY).map(|_| with(&[head], OnFailure::Run, false)).collect();
    let (chained, crowded) = (chain.last().expect("one").id, crowd.last().expect("one").id);
    let middle = chain[MANY / 2].id;
    store.insert(chain).await.expect("inserted");
    store.insert(crowd).await.expect("inserted");
    end(&store, Transition::Failed(failure()), 1).await;
    // The host goes away in the midst of it, and the next one continues.
    store.close().await;
    let (store, recovery) = fixture.open_at(3 * MANY as u64, at(2));
    assert_eq!(recovery.requeued, 0);
    let last = until(&store, chained, TaskState::Cancelled).await;
    assert_eq!(last.finished_at, Some(at(1)), "each is cancelled with the first");
    assert!(store.get(middle).await.expect("read").is_some_and(|task| task.state == TaskState::Cancelled));
    while get(&store, crowded).await.pending_dependencies != Some(0) {
        tokio::task::yield_now().await;
    }
    // Readers see what is committed before the counts do.
    while store.counts().await.expect("counted").waiting != MANY as u64 {
        tokio::task::yield_now().await;
    }
    assert_eq!(claim(&store, 2 * MANY, at(2)).await.claimed.len(), MANY);
}

pub async fn the_dispatcher_is_woken_when_dependencies_release_tasks(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = insert_one(&store).await;
    insert(&store, after(&[first])).await;
    let woken = || pin!(store.wait_for_ready()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!(!woken(), "it waits");
    end(&store, completed(), 1).await;
    assert!(woken());
    assert!(!woken(), "once");
}

pub async fn concurrent_finishes_and_submits_lose_no_dependent(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(9_000, at(0));
    for round in 0..20 {
        let first = insert_one(&store).await;
        let claimed = claim_one(&store, at(round)).await;
        let submits: Vec<_> = (0..20)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { insert(&store, after(&[first])).await })
            })
            .collect();
        let finish = {
            let store = store.clone();
            tokio::spawn(async move { store.finish(&claimed.claim, completed(), None, at(round)).await })
        };
        let mut submitted = Vec::new();
        for submit in submits {
            submitted.push(submit.await.expect("ran"));
        }
        assert_eq!(finish.await.expect("ran"), Ok(true));
        // In the batch of the finish or of the submit, whichever was later.
        let mut ready = ready(&store, round).await;
        ready.sort_unstable();
        submitted.sort_unstable();
        assert_eq!(ready, submitted);
    }
}

pub async fn dependencies_survive_a_restart(fixture: &impl Fixture) {
    let store = fixture.open();
    let (first, other) = (insert_one(&store).await, insert_one(&store).await);
    let second = insert(&store, after(&[first, other])).await;
    let third = insert(&store, after(&[second])).await;
    let claims = claim(&store, 2, at(1)).await;
    assert_eq!(store.finish(&claims.claimed[0].claim, completed(), None, at(1)).await, Ok(true));
    store.close().await;
    // The other one runs again after the crash, and at the third is given up: that counts, too.
    for second in [2, 3] {
        let (store, _) = fixture.open_at(9, at(second));
        assert_eq!(ready(&store, second).await, [other]);
        store.close().await;
    }
    let (store, recovery) = fixture.open_at(9, at(4));
    assert_eq!(recovery.failed, 1);
    assert!(blames(&get(&store, second).await, other, "failed"));
    assert!(blames(&get(&store, third).await, second, "was cancelled"));
}

pub async fn a_retry_keeps_its_dependencies(fixture: &impl Fixture) {
    let store = fixture.open();
    let (good, bad) = (insert_one(&store).await, insert_one(&store).await);
    let open = insert(&store, NewTask { plugin: plugin("b"), ..new_task() }).await;
    let runs = insert(&store, with(&[good, bad, open], OnFailure::Run, false)).await;
    let cancels = insert(&store, after(&[good, bad])).await;
    let hands = insert(&store, with(&[good], OnFailure::Cancel, true)).await;
    let claims = claim(&store, 2, at(1)).await;
    for (claimed, next) in claims.claimed.iter().zip([completed(), Transition::Failed(failure())]) {
        assert_eq!(store.finish(&claimed.claim, next, None, at(1)).await, Ok(true));
    }
    for id in [runs, hands] {
        store.cancel(id, at(2)).await.expect("cancelled");
    }
    let again = async |id| {
        let (_, task) = store.clone_for_retry(id, TaskId::new(), at(3)).await.expect("read").expect("there");
        task.dependencies
    };
    assert_eq!(again(runs).await.expect("it depends").on, [good, bad, open]);
    assert_eq!(again(cancels).await.expect("it depends").on, [good, bad]);
    for id in [good, bad] {
        store.remove(id, at(3)).await.expect("removed");
    }
    let left =
        NewDependencies { on: vec![open], on_failure: OnFailure::Run, pass_results: false, files_from: None };
    assert_eq!(again(runs).await, Some(left), "the others ended as it asked for");
    assert_eq!(again(cancels).await.expect("it depends").on, [bad]);
    assert!(again(hands).await.expect("it depends").pass_results, "its results are gone");
    let (_, task) = store.clone_for_retry(hands, TaskId::new(), at(3)).await.expect("read").expect("there");
    let refused = StoreError::UnknownDependency { index: 0, dependency_index: 0, id: good };
    assert_eq!(store.submit(vec![task], None).await, Err(refused));
}

pub async fn a_released_task_is_available_after_the_clock_went_back(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = insert_one(&store).await;
    let second = insert(&store, after(&[first])).await;
    let later = insert(&store, NewTask { run_at: Some(at(50)), ..after(&[first]) }).await;
    end(&store, completed(), 1_000).await;
    assert_eq!(get(&store, later).await.ready_at, at(1_000));
    assert_eq!(ready(&store, 20).await, [second, later], "what is available stays so");
}
