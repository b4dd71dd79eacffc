//! Children: tasks that a task submits while it runs.

use std::time::Duration;

use wasmill_model::{
    Cause, Child, ChildBounds, ChildOf, NewDependencies, NewTask, OnFailure, TaskId, TaskState, Transition,
    WakeOn,
};
use wasmill_store::{CancelOutcome, ChildrenOutcome, Claim, Filter, ListQuery, Store, StoreError};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, end_stopped, failure, get, insert_one, new_task, plugin, prune,
    since, suspended,
};

const ANY: WakeOn = WakeOn { event: false, any_child: true, all_children: false };
const ALL: WakeOn = WakeOn { event: false, any_child: false, all_children: true };
const BOUNDS: ChildBounds = ChildBounds { children_max: 10_000, depth_max: 3 };

/// A child of plugin `b`, so that a claim of `a` leaves it alone.
fn child(parent: TaskId, name: &str) -> NewTask {
    let child_of = ChildOf { parent, name: name.parse().expect("a name"), depth: 1 };
    NewTask { plugin: plugin("b"), child_of: Some(child_of), ..new_task() }
}

/// Submits children of a run, which are stored.
async fn submit(store: &Store, claim: &Claim, names: &[&str]) -> Vec<TaskId> {
    let children = names.iter().map(|name| child(claim.id, name)).collect();
    match store.submit_children(claim, children, BOUNDS).await {
        Ok(ChildrenOutcome::Submitted(ids)) => ids,
        outcome => panic!("{outcome:?}"),
    }
}

/// Suspends a run for a hundred seconds, or until its children wake it.
async fn suspend(store: &Store, claim: &Claim, wake_on: WakeOn, second: i64) {
    let next = suspended(at(second + 100), b"waits", wake_on);
    assert_eq!(store.finish(claim, next, None, at(second)).await, Ok(true));
}

/// Claims and ends the child that is first in the queue.
async fn end_first(store: &Store, next: Transition, second: i64) -> TaskId {
    let mut claims = store.claim(&[plugin("b")], 1, at(second)).await.expect("claimed");
    let claimed = claims.claimed.pop().expect("a child is available");
    assert_eq!(store.finish(&claimed.claim, next, None, at(second)).await, Ok(true));
    claimed.claim.id
}

fn completed() -> Transition {
    Transition::Completed("1".into())
}

async fn outcomes(store: &Store, claim: &Claim) -> Vec<Option<TaskState>> {
    store.children(claim, 0).await.expect("read").into_iter().map(|child| child.outcome).collect()
}

pub async fn children_are_tasks_of_their_own(fixture: &impl Fixture) {
    let store = fixture.open();
    let parent = insert_one(&store).await;
    let run = claim_one(&store, at(1)).await;
    let ids = submit(&store, &run.claim, &["x", "y"]).await;
    let task = get(&store, ids[1]).await;
    assert_eq!((task.state, task.parent, task.depth), (TaskState::Available, Some(parent), 1));
    assert_eq!(task.child_name.as_ref().map(ToString::to_string).as_deref(), Some("y"));
    let task = get(&store, parent).await;
    assert_eq!((task.children, task.children_ended, task.pending_dependencies), (2, 0, None));
    assert_eq!(store.dependencies(parent).await, Ok(None), "they are no dependencies of its request");
    let listed = |filter| async {
        let query = ListQuery { limit: 10, before: None, filter };
        let page = store.list(query).await.expect("listed");
        page.tasks.into_iter().map(|task| task.id).collect::<Vec<_>>()
    };
    let of_parent = Filter { parent: Some(parent), ..Filter::default() };
    assert_eq!(listed(of_parent.clone()).await, [ids[1], ids[0]]);
    assert_eq!(listed(Filter { states: vec![TaskState::Running], ..of_parent }).await, []);
    assert_eq!(listed(Filter { parent: Some(ids[0]), ..Filter::default() }).await, []);
}

pub async fn a_name_is_submitted_once(fixture: &impl Fixture) {
    let store = fixture.open();
    insert_one(&store).await;
    let first = claim_one(&store, at(1)).await;
    let ids = submit(&store, &first.claim, &["x", "y"]).await;
    drop(store);

    let store = fixture.open();
    let second = claim_one(&store, at(2)).await;
    let again = submit(&store, &second.claim, &["y", "z", "x"]).await;
    assert_eq!((again[0], again[2]), (ids[1], ids[0]), "a run that begins again submits nothing twice");
    assert_eq!(get(&store, second.claim.id).await.children, 3);
    store.remove(ids[0], at(3)).await.expect("removed");
    assert_eq!(submit(&store, &second.claim, &["x"]).await, [ids[0]], "also once it was deleted");
    assert_eq!(store.counts().await.expect("read").waiting, 2);
    let other = insert_one(&store).await;
    let of_other = claim_one(&store, at(4)).await;
    assert_ne!(submit(&store, &of_other.claim, &["x"]).await, [ids[0]]);
    assert_eq!(get(&store, other).await.children, 1, "names are those of one task");
}

pub async fn the_end_of_a_child_wakes_its_parent(fixture: &impl Fixture) {
    let store = fixture.open();
    let parent = insert_one(&store).await;
    let run = claim_one(&store, at(1)).await;
    let ids = submit(&store, &run.claim, &["x", "y"]).await;
    suspend(&store, &run.claim, ANY, 1).await;
    assert_eq!(get(&store, parent).await.state, TaskState::Suspended);
    let woken = store.wait_for_ready();
    assert_eq!(end_first(&store, completed(), 5).await, ids[0]);
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), woken).await, Ok(()));
    let task = get(&store, parent).await;
    assert_eq!((task.state, task.ready_at, task.children_ended), (TaskState::Available, at(5), 1));
    let run = claim_one(&store, at(6)).await;
    let children = store.children(&run.claim, 0).await.expect("read");
    let (name, outcome, text) = ("x".to_owned(), Some(TaskState::Completed), "1".to_owned());
    assert_eq!(children[0], Child { name, id: ids[0], outcome, text });
    assert_eq!((children[1].outcome, children.len()), (None, 2));
    assert_eq!(store.children(&run.claim, 2).await, Ok(Vec::new()));
    suspend(&store, &run.claim, ANY, 7).await;
    assert_eq!(get(&store, parent).await.state, TaskState::Suspended, "the first one is known");
    end_first(&store, Transition::Failed(failure()), 8).await;
    let run = claim_one(&store, at(8)).await;
    let failed = &store.children(&run.claim, 1).await.expect("read")[0];
    assert_eq!((failed.outcome, &*failed.text), (Some(TaskState::Failed), "connection refused"));
}

pub async fn the_end_of_the_last_child_wakes_its_parent(fixture: &impl Fixture) {
    let store = fixture.open();
    let parent = insert_one(&store).await;
    let run = claim_one(&store, at(1)).await;
    let ids = submit(&store, &run.claim, &["x", "y", "z"]).await;
    suspend(&store, &run.claim, ALL, 1).await;
    end_first(&store, completed(), 2).await;
    store.remove(ids[1], at(3)).await.expect("removed");
    assert_eq!(get(&store, parent).await.state, TaskState::Suspended);
    store.cancel(ids[2], at(4)).await.expect("cancelled");
    assert_eq!(get(&store, parent).await.state, TaskState::Available);
    let run = claim_one(&store, at(4)).await;
    let (done, gone) = (Some(TaskState::Completed), Some(TaskState::Cancelled));
    assert_eq!(outcomes(&store, &run.claim).await, [done, gone, gone]);
    store.remove(ids[0], at(5)).await.expect("removed");
    assert_eq!(outcomes(&store, &run.claim).await, [gone; 3], "nobody has its result any more");
}

pub async fn a_child_that_ends_before_the_suspension_wakes_at_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let parent = insert_one(&store).await;
    for (wake_on, second) in [(ANY, 10), (ALL, 20)] {
        let run = claim_one(&store, at(second)).await;
        submit(&store, &run.claim, &[&second.to_string()]).await;
        end_first(&store, completed(), second + 1).await;
        suspend(&store, &run.claim, wake_on, second + 2).await;
        let task = get(&store, parent).await;
        assert_eq!(task.ready_at, at(second + 2), "{wake_on:?}");
    }
    let run = claim_one(&store, at(30)).await;
    suspend(&store, &run.claim, ANY, 30).await;
    assert!(claim(&store, 1, at(100)).await.claimed.is_empty(), "it has seen them when it began");
    let run = claim_one(&store, at(130)).await;
    suspend(&store, &run.claim, ALL, 131).await;
    claim_one(&store, at(131)).await;
}

pub async fn the_end_of_a_parent_cancels_its_children(fixture: &impl Fixture) {
    let store = fixture.open();
    for (next, words) in [
        (Some(completed()), "has completed"),
        (Some(Transition::Failed(failure())), "has failed"),
        (None, "was cancelled"),
    ] {
        let parent = insert_one(&store).await;
        let run = claim_one(&store, at(1)).await;
        let ids = submit(&store, &run.claim, &["x", "y", "z"]).await;
        end_first(&store, completed(), 2).await;
        let running = store.claim(&[plugin("b")], 1, at(2)).await.expect("claimed").claimed.remove(0);
        assert_eq!(running.claim.id, ids[1]);
        let stops = store.wait_for_stops();
        if let Some(next) = next {
            assert_eq!(store.finish(&run.claim, next, None, at(3)).await, Ok(true));
        } else {
            suspend(&store, &run.claim, ALL, 3).await;
            let cancelled = store.cancel(parent, at(3)).await;
            assert_eq!(cancelled, Ok(CancelOutcome::Cancelled { was: TaskState::Suspended }));
        }
        let told = tokio::time::timeout(Duration::from_secs(10), stops).await.expect("it is told");
        assert_eq!((told[0].task, told[0].token), (running.claim.id, running.claim.token()));
        let waiting = get(&store, ids[2]).await;
        let failure = waiting.failure.expect("it says why");
        assert_eq!((waiting.state, failure.cause), (TaskState::Cancelled, Cause::Parent));
        assert_eq!(failure.message, format!("its parent, task {parent}, {words}"));
        assert!(get(&store, ids[1]).await.stop_requested_at.is_some());
        end_stopped(&store, &running.claim, at(4)).await;
        let states = [get(&store, ids[0]).await.state, get(&store, ids[1]).await.state];
        assert_eq!(states, [TaskState::Completed, TaskState::Cancelled], "what is done stays done");
    }
}

pub async fn the_removal_of_a_parent_cancels_children_and_theirs(fixture: &impl Fixture) {
    let store = fixture.open();
    let parent = insert_one(&store).await;
    let run = claim_one(&store, at(1)).await;
    let ids = submit(&store, &run.claim, &["x", "y"]).await;
    suspend(&store, &run.claim, ALL, 1).await;
    let below = store.claim(&[plugin("b")], 1, at(2)).await.expect("claimed").claimed.remove(0);
    let grandchildren = submit(&store, &below.claim, &["x"]).await;
    suspend(&store, &below.claim, ALL, 2).await;
    store.remove(parent, at(3)).await.expect("removed");
    for id in [ids[0], ids[1], grandchildren[0]] {
        assert_eq!(get(&store, id).await.state, TaskState::Cancelled);
    }
    assert_eq!(get(&store, ids[0]).await.parent, Some(parent), "which is gone");
    assert_eq!(store.counts().await.expect("read").waiting, 0);
}

pub async fn thousands_of_children_are_cancelled_also_after_a_crash(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(10_000, at(0));
    let parent = insert_one(&store).await;
    let run = claim_one(&store, at(1)).await;
    let names: Vec<_> = (0..1_200).map(|number| number.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    submit(&store, &run.claim, &names).await;
    store.cancel(parent, at(2)).await.expect("asked");
    drop(store);

    let (store, recovery) = fixture.open_at(10_000, at(3));
    assert_eq!(recovery.stopped, 1);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while store.counts().await.expect("read").waiting > 0 {
        assert!(std::time::Instant::now() < deadline, "they are cancelled in steps");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn a_revoked_claim_submits_and_reads_nothing(fixture: &impl Fixture) {
    let store = fixture.open();
    let parent = insert_one(&store).await;
    let run = claim_one(&store, at(1)).await;
    submit(&store, &run.claim, &["x"]).await;
    store.cancel(parent, at(2)).await.expect("asked");
    let children = || vec![child(parent, "y")];
    let outcome = store.submit_children(&run.claim, children(), BOUNDS).await;
    assert_eq!(outcome, Ok(ChildrenOutcome::Revoked), "nothing would cancel them");
    end_stopped(&store, &run.claim, at(3)).await;
    let outcome = store.submit_children(&run.claim, children(), BOUNDS).await;
    assert_eq!(outcome, Ok(ChildrenOutcome::Revoked));
    assert_eq!(store.children(&run.claim, 0).await, Ok(Vec::new()));
}

pub async fn children_are_bounded_in_number_and_depth(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(6, at(0));
    let parent = insert_one(&store).await;
    let run = claim_one(&store, at(1)).await;
    let children = |names: &[&str]| names.iter().map(|name| child(parent, name)).collect::<Vec<_>>();
    let bounds = ChildBounds { children_max: 2, depth_max: 1 };
    let submit = |names: &[&str], bounds| store.submit_children(&run.claim, children(names), bounds);
    let outcome = submit(&["1", "2", "3"], bounds).await;
    assert_eq!(outcome, Ok(ChildrenOutcome::TooMany { all: 3 }));
    assert!(matches!(submit(&["1", "2"], bounds).await, Ok(ChildrenOutcome::Submitted(_))));
    assert!(matches!(submit(&["2", "1"], bounds).await, Ok(ChildrenOutcome::Submitted(_))));
    assert_eq!(submit(&["1", "3"], bounds).await, Ok(ChildrenOutcome::TooMany { all: 3 }));
    let outcome = submit(&["3"], ChildBounds { depth_max: 0, ..bounds }).await;
    assert_eq!(outcome, Ok(ChildrenOutcome::TooDeep));
    let outcome = submit(&["3", "4", "5", "6", "7"], BOUNDS).await;
    assert_eq!(outcome, Err(StoreError::Full { waiting_max: 6 }));
    assert_eq!(get(&store, parent).await.children, 2, "all or none");
    assert_eq!(store.counts().await.expect("read").waiting, 2);
    let below = store.claim(&[plugin("b")], 1, at(2)).await.expect("claimed").claimed.remove(0);
    let grandchild = vec![child(below.claim.id, "1")];
    let outcome = store.submit_children(&below.claim, grandchild, bounds).await;
    assert_eq!(outcome, Ok(ChildrenOutcome::TooDeep));
}

pub async fn an_ended_child_is_kept_until_its_parent_has_ended(fixture: &impl Fixture) {
    let store = fixture.open();
    let parent = insert_one(&store).await;
    let run = claim_one(&store, at(1)).await;
    submit(&store, &run.claim, &["x", "y", "z"]).await;
    end_first(&store, completed(), 2).await;
    end_first(&store, Transition::Failed(failure()), 2).await;
    assert_eq!(prune(&store, since(1_000)).await, 0);
    let (done, failed) = (Some(TaskState::Completed), Some(TaskState::Failed));
    assert_eq!(outcomes(&store, &run.claim).await, [done, failed, None]);
    assert_eq!(store.finish(&run.claim, completed(), None, at(3)).await, Ok(true));
    assert_eq!(prune(&store, since(1_000)).await, 4);
    assert_eq!(store.get(parent).await, Ok(None));
}

pub async fn one_look_at_children_is_bounded(fixture: &impl Fixture) {
    let store = fixture.open_at(10_000, at(0)).0;
    insert_one(&store).await;
    let run = claim_one(&store, at(1)).await;
    let names: Vec<_> = (0..1_003).map(|number| number.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let ids = submit(&store, &run.claim, &names).await;
    for _ in 0..3 {
        end_first(&store, Transition::Completed("x".repeat(2 << 20).as_str().into()), 2).await;
    }
    let look = |start| store.children(&run.claim, start);
    assert_eq!(look(0).await.expect("read").len(), 2, "by the bytes of their results");
    let children = look(2).await.expect("read");
    assert_eq!((children.len(), children[0].id), (1_000, ids[2]));
    let rest: Vec<_> = look(1_002).await.expect("read").iter().map(|child| child.id).collect();
    assert_eq!(rest, [ids[1_002]]);
}

pub async fn a_parent_may_have_dependencies_and_dependents(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = insert_one(&store).await;
    let on = |id| {
        Some(NewDependencies {
            on: vec![id],
            on_failure: OnFailure::Cancel,
            pass_results: true,
            files_from: None,
        })
    };
    let parent = NewTask { dependencies: on(first), ..new_task() };
    let parent_id = parent.id;
    let last = NewTask { dependencies: on(parent_id), ..new_task() };
    let last_id = last.id;
    store.insert(vec![parent, last]).await.expect("inserted");
    let run = claim_one(&store, at(1)).await;
    assert_eq!(store.finish(&run.claim, completed(), None, at(1)).await, Ok(true));
    let run = claim_one(&store, at(2)).await;
    assert_eq!(run.claim.id, parent_id);
    let ids = submit(&store, &run.claim, &["x"]).await;
    suspend(&store, &run.claim, ALL, 2).await;
    end_first(&store, Transition::Failed(failure()), 3).await;
    let run = claim_one(&store, at(3)).await;
    assert_eq!(outcomes(&store, &run.claim).await, [Some(TaskState::Failed)], "which cancels nothing");
    let on = store.dependencies(parent_id).await.expect("read").expect("it has some").on;
    assert_eq!(on.iter().map(|on| on.id).collect::<Vec<_>>(), [first]);
    let dependents = store.dependents(ids[0], None, 10).await.expect("read");
    assert!(dependents.tasks.is_empty(), "its parent is none");
    assert_eq!(store.finish(&run.claim, completed(), None, at(4)).await, Ok(true));
    assert_eq!(claim_one(&store, at(4)).await.claim.id, last_id);
}
