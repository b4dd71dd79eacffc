//! The results that a task gets of its dependencies.

use wasmill_model::{
    DEPENDENCY_RESULTS_BYTES_MAX, DependencyResult, NewTask, OnFailure, TaskResult, TaskState, Transition,
};
use wasmill_store::{DependencyResults, PruneCursor, RetentionBounds, Store};

use crate::conformance::dependency::dependencies::{after, completed, end, insert, with};
use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, end_stopped, failure, get, insert_one, plugin, prune, since,
};

async fn dependency_results(store: &Store, second: i64) -> DependencyResults {
    let claimed = claim_one(store, at(second)).await;
    assert!(claimed.pass_results);
    store.dependency_results(&claimed.claim).await.expect("read")
}

fn bytes() -> TaskResult {
    TaskResult { text: "/w==".to_owned(), r#type: Some("image/png;base64".parse().expect("valid")) }
}

pub async fn dependency_results_are_in_request_order(fixture: &impl Fixture) {
    let store = fixture.open();
    let tasks = [insert_one(&store).await, insert_one(&store).await, insert_one(&store).await];
    let on = [tasks[2], tasks[0], tasks[1]];
    let second = insert(&store, with(&on, OnFailure::Run, true)).await;
    let claims = claim(&store, 3, at(1)).await;
    assert!(!claims.claimed[0].pass_results);
    for (claimed, next) in claims.claimed.iter().zip([
        completed(),
        Transition::Failed(failure()),
        Transition::Completed(bytes()),
    ]) {
        assert_eq!(store.finish(&claimed.claim, next, None, at(2)).await, Ok(true));
    }
    let of = |id, outcome, result| DependencyResult { id, outcome, result };
    let expected = DependencyResults::Results(vec![
        of(tasks[2], TaskState::Completed, Some(bytes())),
        of(tasks[0], TaskState::Completed, Some("1".into())),
        of(tasks[1], TaskState::Failed, None),
    ]);
    let claimed = claim_one(&store, at(3)).await;
    assert_eq!(store.dependency_results(&claimed.claim).await, Ok(expected.clone()));
    assert_eq!(
        store.finish(&claimed.claim, Transition::RetryAt(at(5), failure()), None, at(4)).await,
        Ok(true)
    );
    assert_eq!(
        store.dependency_results(&claimed.claim).await,
        Ok(DependencyResults::Results(vec![])),
        "to whom it is due alone"
    );
    // The next attempt gets them as well, though they would be forgotten by now.
    let all = since(100);
    assert_eq!(prune(&store, all).await, 1, "the one that failed has nothing to hand over");
    assert_eq!(dependency_results(&store, 5).await, expected);
    let dependencies = store.dependencies(second).await.expect("read").expect("it depends");
    assert!(dependencies.pass_results);
}

pub async fn needed_dependency_results_are_not_pruned(fixture: &impl Fixture) {
    let store = fixture.open();
    let (first, other) = (insert_one(&store).await, insert_one(&store).await);
    let second = insert(&store, with(&[first], OnFailure::Cancel, true)).await;
    let plain = insert(&store, NewTask { plugin: plugin("b"), ..after(&[other]) }).await;
    for _ in 0..2 {
        let claimed = claim(&store, 1, at(1)).await.claimed.remove(0);
        assert_eq!(store.finish(&claimed.claim, completed(), None, at(1)).await, Ok(true));
    }
    let all = since(100);
    assert_eq!(prune(&store, all).await, 1, "one that only has to have ended may go");
    assert_eq!((prune(&store, all).await, store.get(other).await), (0, Ok(None)));
    assert_eq!(get(&store, plain).await.pending_dependencies, Some(0));
    store.close().await;
    let (store, _) = fixture.open_at(9, at(2));
    assert_eq!(prune(&store, all).await, 0);
    let claimed = claim_one(&store, at(2)).await;
    assert!(matches!(store.dependency_results(&claimed.claim).await, Ok(DependencyResults::Results(_))));
    store.cancel(second, at(3)).await.expect("asked");
    assert_eq!(prune(&store, all).await, 0, "its guest is still there");
    end_stopped(&store, &claimed.claim, at(3)).await;
    assert_eq!(prune(&store, all).await, 2, "nobody waits for it any more");
    assert_eq!(store.get(first).await, Ok(None));
}

pub async fn a_missing_dependency_result_is_named(fixture: &impl Fixture) {
    let store = fixture.open();
    let (first, large) = (insert_one(&store).await, insert_one(&store).await);
    insert(&store, with(&[first], OnFailure::Cancel, true)).await;
    let too_much = usize::try_from(DEPENDENCY_RESULTS_BYTES_MAX / 2 + 1).expect("fits");
    insert(&store, NewTask { plugin: plugin("b"), ..with(&[large, large], OnFailure::Cancel, true) }).await;
    let claims = claim(&store, 2, at(1)).await;
    for (claimed, bytes) in claims.claimed.iter().zip([1, too_much]) {
        let next = Transition::Completed("x".repeat(bytes).into());
        assert_eq!(store.finish(&claimed.claim, next, None, at(1)).await, Ok(true));
    }
    store.remove(first, at(2)).await.expect("removed");
    assert_eq!(dependency_results(&store, 2).await, DependencyResults::Gone(first));
    let claims = store.claim(&[plugin("b")], 1, at(2)).await.expect("claimed");
    let bytes = 2 * too_much as u64;
    assert_eq!(
        store.dependency_results(&claims.claimed[0].claim).await,
        Ok(DependencyResults::TooLarge { bytes })
    );
}

pub async fn tasks_kept_for_dependents_count_and_hide_no_others(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(9_000, at(0));
    let mut waiting = Vec::new();
    for second in 0..3 {
        let first = insert_one(&store).await;
        let next = NewTask { plugin: plugin("b"), ..with(&[first], OnFailure::Cancel, true) };
        waiting.push((first, insert(&store, next).await));
        end(&store, completed(), second).await;
    }
    let mut plain = Vec::new();
    for second in 3..6 {
        plain.push(insert_one(&store).await);
        end(&store, completed(), second).await;
    }
    // Six are stored. The newest four stay, and the two before them are wanted.
    let newest = |limit| RetentionBounds { tasks_max: Some(limit), ..RetentionBounds::default() };
    assert_eq!(prune(&store, newest(4)).await, 0);
    assert_eq!(prune(&store, newest(2)).await, 1, "the first that nobody wants");
    assert_eq!(store.get(plain[0]).await, Ok(None));
    assert_eq!((prune(&store, newest(2)).await, store.finished_count()), (0, 5));
    // While a walk continues, what it has passed by still counts.
    let mut walk = store.excess(newest(2), PruneCursor::default(), 9).await.expect("read");
    assert!(walk.is_all && walk.steps.is_empty());
    plain.push(insert_one(&store).await);
    end(&store, completed(), 6).await;
    walk = store.excess(newest(2), walk.cursor, 9).await.expect("read");
    assert_eq!(walk.steps.len(), 1);
    assert_eq!(store.prune(walk.steps.remove(0)).await.expect("pruned").tasks, 1);
    assert_eq!((store.get(plain[1]).await, store.finished_count()), (Ok(None), 5));
    // Somebody comes to want a result between the look and the write.
    let mut found = store.excess(newest(0), PruneCursor::default(), 9).await.expect("read");
    insert(&store, NewTask { plugin: plugin("b"), ..with(&[plain[2]], OnFailure::Cancel, true) }).await;
    assert_eq!(store.prune(found.steps.remove(0)).await.expect("pruned").tasks, 1);
    assert!(store.get(plain[2]).await.expect("read").is_some() && store.get(plain[3]).await == Ok(None));
    for (_, waits) in waiting {
        store.cancel(waits, at(7)).await.expect("cancelled");
    }
    assert!(prune(&store, newest(4)).await >= 3, "nobody wants them any more");
}
