//! Filters: which tasks a list shows, which a cancel of many stops, and what retention removes.

use wasmill_model::{NewDependencies, NewTask, OnFailure, TaskId, TaskState, Transition, WakeOn};
use wasmill_store::{CancelledMany, Filter, ListQuery, PruneCursor, RetentionBounds, Stopping, Store};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, end_stopped, failure, get, insert_one, new_task, plugin, prune,
    since, suspended,
};

fn done() -> Transition {
    Transition::Completed("1".into())
}

fn states(states: &[TaskState]) -> Filter {
    Filter { states: states.to_vec(), ..Filter::default() }
}

/// Follows the pages to the end.
async fn listed(store: &Store, filter: &Filter, limit: usize) -> Vec<TaskId> {
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(ListQuery { limit, before, filter: filter.clone() }).await.expect("listed");
        assert!(page.tasks.len() <= limit);
        ids.extend(page.tasks.iter().map(|task| task.id));
        before = page.next;
        if before.is_none() {
            return ids;
        }
    }
}

/// Stores a task at this second that waits for this one, for its time or for its resumption.
async fn waiting_task(store: &Store, state: TaskState, on: TaskId, second: i64) -> TaskId {
    let task = NewTask { created_at: at(second), ..new_task() };
    let id = task.id;
    let blocked =
        NewDependencies { on: vec![on], on_failure: OnFailure::Run, pass_results: false, files_from: None };
    let task = match state {
        TaskState::Blocked => NewTask { dependencies: Some(blocked), ..task },
        TaskState::Scheduled => NewTask { run_at: Some(at(1_000)), ..task },
        _ => task,
    };
    store.insert(vec![task]).await.expect("inserted");
    if state == TaskState::Suspended {
        let claim = claim_one(store, at(second)).await.claim;
        let next = suspended(at(1_000), &[], WakeOn::default());
        assert_eq!(store.finish(&claim, next, None, at(second)).await, Ok(true));
    }
    id
}

/// Stores a task at this second and brings it into this state: one of plugin `b` if it is to be available, else of
/// plugin `a`.
async fn task_in(store: &Store, state: TaskState, second: i64) -> TaskId {
    let task = NewTask { created_at: at(second), ..new_task() };
    let id = task.id;
    if state == TaskState::Available {
        store.insert(vec![NewTask { plugin: plugin("b"), ..task }]).await.expect("inserted");
        return id;
    }
    store.insert(vec![task]).await.expect("inserted");
    let claim = claim_one(store, at(second)).await.claim;
    match state {
        TaskState::Completed => assert_eq!(store.finish(&claim, done(), None, at(second)).await, Ok(true)),
        TaskState::Failed => {
            assert_eq!(store.finish(&claim, Transition::Failed(failure()), None, at(second)).await, Ok(true));
        }
        TaskState::Cancelled => {
            store.cancel(id, at(second)).await.expect("asked");
            end_stopped(store, &claim, at(second)).await;
        }
        _ => {}
    }
    id
}

pub async fn a_list_filters_by_state(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut all = vec![(TaskState::Available, task_in(&store, TaskState::Available, 0).await)];
    let on = all[0].1;
    for second in 0..4 {
        for state in TaskState::ALL {
            let is_special = state.is_waiting() && state != TaskState::Available;
            let id = match is_special {
                true => waiting_task(&store, state, on, second).await,
                false => task_in(&store, state, second).await,
            };
            all.push((state, id));
        }
    }
    all.reverse();
    for some in 0..256_u32 {
        let wanted: Vec<_> = TaskState::ALL
            .into_iter()
            .enumerate()
            .filter(|(n, _)| some & (1 << n) != 0)
            .map(|(_, s)| s)
            .collect();
        let expected: Vec<_> = all
            .iter()
            .filter(|(state, _)| wanted.is_empty() || wanted.contains(state))
            .map(|(_, id)| *id)
            .collect();
        for limit in [1, 3, 100] {
            assert_eq!(listed(&store, &states(&wanted), limit).await, expected, "{wanted:?} by {limit}");
        }
    }
}

pub async fn a_list_filters_by_plugin_and_creation_time(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut ids = Vec::new();
    for second in 0..6 {
        let state = if second % 2 == 0 { TaskState::Running } else { TaskState::Available };
        ids.push(task_in(&store, state, second).await);
    }
    let b = Filter { plugin: Some(plugin("b")), ..Filter::default() };
    assert_eq!(listed(&store, &b, 2).await, [ids[5], ids[3], ids[1]]);
    let page = store.list(ListQuery { limit: 3, before: None, filter: b.clone() }).await.expect("listed");
    assert_eq!((page.tasks.len(), page.next), (3, None), "a full page may be the last");
    let span = |after, before| Filter {
        created_after: Some(at(after)),
        created_before: Some(at(before)),
        ..Filter::default()
    };
    assert_eq!(
        listed(&store, &span(2, 4), 9).await,
        [ids[3], ids[2]],
        "the first moment counts, the last not"
    );
    assert_eq!(listed(&store, &Filter { plugin: Some(plugin("b")), ..span(2, 4) }, 9).await, [ids[3]]);
    assert_eq!(listed(&store, &Filter { states: vec![TaskState::Failed], ..span(0, 9) }, 9).await, []);
}

pub async fn a_filtered_list_finds_every_match_among_many_tasks(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(200_000, at(0));
    let mut rare = Vec::new();
    for _ in 0..3 {
        rare.push(task_in(&store, TaskState::Available, 0).await);
        let tasks: Vec<_> = (0..15_000).map(|_| new_task()).collect();
        store.insert(tasks).await.expect("inserted");
    }
    rare.reverse();
    // More tasks wait than one page looks at.
    let filter = Filter { plugin: Some(plugin("b")), ..states(&[TaskState::Available]) };
    let page =
        store.list(ListQuery { limit: 10, before: None, filter: filter.clone() }).await.expect("listed");
    assert_eq!(page.tasks.len(), 2, "the third is too far away for the first page");
    assert_eq!(listed(&store, &filter, 10).await, rare);
}

pub async fn a_bulk_cancel_affects_matching_tasks_only(fixture: &impl Fixture) {
    let store = fixture.open();
    let waiting = task_in(&store, TaskState::Available, 0).await;
    let running = NewTask { created_at: at(1), ..new_task() };
    let id = running.id;
    store.insert(vec![running]).await.expect("inserted");
    let claim = claim_one(&store, at(1)).await.claim;
    let ended = task_in(&store, TaskState::Completed, 2).await;
    let late = task_in(&store, TaskState::Available, 9).await;
    let filter = Filter { created_before: Some(at(5)), ..Filter::default() };
    let found = store.find_open(filter.clone()).await.expect("found");
    assert_eq!(found.len(), 2);
    let stopping = |was_requested| Stopping { id, token: claim.token(), was_requested };
    let cancelled = store.cancel_many(found.clone(), filter.clone(), at(3)).await;
    assert_eq!(cancelled, Ok(CancelledMany { waiting: 1, running: vec![stopping(false)] }));
    let again = store.cancel_many(found.clone(), filter.clone(), at(3)).await;
    assert_eq!(again, Ok(CancelledMany { waiting: 0, running: vec![stopping(true)] }));
    assert_eq!(get(&store, id).await.state, TaskState::Running, "its guest is still there");
    end_stopped(&store, &claim, at(4)).await;
    for (id, state) in [
        (waiting, TaskState::Cancelled),
        (id, TaskState::Cancelled),
        (ended, TaskState::Completed),
        (late, TaskState::Available),
    ] {
        assert_eq!(get(&store, id).await.state, state);
    }
    assert_eq!(get(&store, waiting).await.finished_at, Some(at(3)));
    let again = store.cancel_many(found, filter, at(4)).await;
    assert_eq!(again, Ok(CancelledMany::default()), "nothing is cancelled twice");
    let counts = store.counts().await.expect("counted");
    assert_eq!((counts.waiting, counts.running), (1, 0));
}

pub async fn a_bulk_cancel_rechecks_tasks_that_changed(fixture: &impl Fixture) {
    let store = fixture.open();
    let [gone, ran, started] = [insert_one(&store).await, insert_one(&store).await, insert_one(&store).await];
    let filter = states(&[TaskState::Available]);
    let found = store.find_open(filter.clone()).await.expect("found");
    store.remove(gone, at(2)).await.expect("removed");
    let claims = claim(&store, 2, at(1)).await.claimed;
    assert_eq!(store.finish(&claims[0].claim, done(), None, at(1)).await, Ok(true));
    let cancelled = store.cancel_many(found.clone(), filter, at(2)).await;
    assert_eq!(cancelled, Ok(CancelledMany::default()), "none of them waits any more");
    let cancelled = store.cancel_many(found, Filter::default(), at(2)).await;
    let stopping = Stopping { id: started, token: claims[1].claim.token(), was_requested: false };
    assert_eq!(cancelled, Ok(CancelledMany { waiting: 0, running: vec![stopping] }));
    assert_eq!(store.finish(&claims[1].claim, done(), None, at(3)).await, Ok(false), "it was asked to stop");
    assert_eq!(get(&store, ran).await.state, TaskState::Completed);
}

pub async fn tasks_beyond_the_age_bound_are_pruned(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut ended = Vec::new();
    for (second, state) in
        [TaskState::Completed, TaskState::Failed, TaskState::Cancelled].into_iter().enumerate()
    {
        ended.push(task_in(&store, state, second as i64).await);
    }
    let running = task_in(&store, TaskState::Running, 0).await;
    assert_eq!(prune(&store, since(0)).await, 0, "the moment itself is kept");
    assert_eq!(prune(&store, since(2)).await, 2);
    assert_eq!(prune(&store, since(2)).await, 0);
    assert_eq!(listed(&store, &Filter::default(), 9).await, [running, ended[2]]);
}

pub async fn tasks_beyond_the_count_bound_are_pruned(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut ended = Vec::new();
    for _ in 0..5 {
        // All at the same moment.
        ended.push(task_in(&store, TaskState::Completed, 0).await);
    }
    let waiting = task_in(&store, TaskState::Available, 0).await;
    let newest = |limit| RetentionBounds { tasks_max: Some(limit), ..RetentionBounds::default() };
    assert_eq!((store.finished_count(), prune(&store, newest(5)).await), (5, 0));
    assert_eq!(prune(&store, newest(2)).await, 3);
    assert_eq!((store.finished_count(), prune(&store, newest(2)).await), (2, 0));
    assert_eq!(listed(&store, &Filter::default(), 9).await, [waiting, ended[4], ended[3]]);
}

pub async fn a_prune_step_is_bounded(fixture: &impl Fixture) {
    let store = fixture.open();
    store.insert((0..1_000).map(|_| new_task()).collect()).await.expect("inserted");
    for claimed in claim(&store, 1_000, at(0)).await.claimed {
        assert_eq!(store.finish(&claimed.claim, done(), None, at(0)).await, Ok(true));
    }
    let excess = store.excess(since(1), PruneCursor::default(), 900).await.expect("read");
    assert!(!excess.is_all && excess.steps.len() > 3, "{excess:?}");
    let (mut left, mut steps) = (1_000, excess.steps.into_iter());
    for step in steps.by_ref().take(2) {
        let pruned = store.prune(step).await.expect("pruned").tasks;
        assert!((1..=200).contains(&pruned), "{pruned}");
        left -= pruned;
    }
    assert_eq!(store.finished_count(), left);
    // The steps that were found and not taken are found again from the front, and the rest behind the cursor.
    let rest = store.excess(since(1), excess.cursor, 900).await.expect("read");
    assert!(rest.is_all && rest.steps.len() == 1);
    for step in steps.chain(rest.steps) {
        left -= store.prune(step).await.expect("pruned").tasks;
    }
    assert_eq!((left, store.finished_count()), (0, 0));
}

pub async fn large_results_shorten_a_prune_step(fixture: &impl Fixture) {
    let store = fixture.open();
    for _ in 0..4 {
        insert_one(&store).await;
        let claim = claim_one(&store, at(0)).await.claim;
        let large = Transition::Completed("x".repeat(3 << 20).into());
        assert_eq!(store.finish(&claim, large, None, at(0)).await, Ok(true));
    }
    let excess = store.excess(since(1), PruneCursor::default(), 9).await.expect("read");
    let tasks = async |step| store.prune(step).await.expect("pruned").tasks;
    let mut pruned = Vec::new();
    for step in excess.steps {
        pruned.push(tasks(step).await);
    }
    assert_eq!(pruned, [2, 2]);
}
