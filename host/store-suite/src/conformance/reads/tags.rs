//! Tasks that are found by their tags.

use wasmill_model::{NewTask, Tag, TaskId, TaskState, Transition};
use wasmill_store::{CancelledMany, Filter, ListQuery, Store, StoreError};

use crate::fixture::{Fixture, StoreExt, at, claim, get, new_task, plugin, prune, since};

fn tags(names: &str) -> Vec<Tag> {
    names.split_whitespace().map(|name| name.parse().expect("a tag")).collect()
}

fn tagged(names: &str) -> Filter {
    Filter { tags: tags(names), ..Filter::default() }
}

async fn insert(store: &Store, names: &str) -> TaskId {
    let task = NewTask { tags: tags(names), ..new_task() };
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    id
}

/// Follows the pages to the end.
async fn listed(store: &Store, filter: &Filter, limit: usize) -> Vec<TaskId> {
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(ListQuery { limit, before, filter: filter.clone() }).await.expect("listed");
        ids.extend(page.tasks.iter().map(|task| task.id));
        before = page.next;
        if before.is_none() {
            return ids;
        }
    }
}

pub async fn a_list_filters_by_tags(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut all = Vec::new();
    for names in ["a", "b", "", "a b", "a c", "c \"quoted\\", "a b c", "aa"] {
        all.push((names, insert(&store, names).await));
    }
    all.reverse();
    assert_eq!(get(&store, all[1].1).await.tags, tags("a b c"));
    assert_eq!(get(&store, all[2].1).await.tags, tags("c \"quoted\\"));
    for wanted in ["a", "b", "c", "a b", "b a c", "aa", "\"quoted\\", "none", "a none"] {
        let fits = |names: &str| wanted.split(' ').all(|tag| names.split(' ').any(|name| name == tag));
        let expected: Vec<_> = all.iter().filter(|(names, _)| fits(names)).map(|(_, id)| *id).collect();
        for limit in [1, 2, 9] {
            assert_eq!(listed(&store, &tagged(wanted), limit).await, expected, "{wanted} by {limit}");
        }
    }
    let other = Filter { plugin: Some(plugin("b")), ..tagged("a") };
    assert_eq!(listed(&store, &other, 9).await, []);
}

pub async fn tags_stay_with_a_task_in_every_state(fixture: &impl Fixture) {
    let store = fixture.open();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(insert(&store, "a").await);
    }
    let claims = claim(&store, 2, at(0)).await.claimed;
    let done = Transition::Completed("x".repeat(100_000).into());
    assert_eq!(store.finish(&claims[0].claim, done, None, at(1)).await, Ok(true));
    store.cancel(ids[2], at(1)).await.expect("cancelled");
    ids.reverse();
    assert_eq!(listed(&store, &tagged("a"), 3).await, ids);
    let state = |state| Filter { states: vec![state], ..tagged("a") };
    assert_eq!(listed(&store, &state(TaskState::Completed), 3).await, [ids[3]]);
    assert_eq!(listed(&store, &state(TaskState::Running), 3).await, [ids[2]]);
    assert_eq!(listed(&store, &state(TaskState::Cancelled), 3).await, [ids[1]]);
    store.remove(ids[3], at(9)).await.expect("removed");
    assert_eq!(prune(&store, since(9)).await, 1);
    assert_eq!(listed(&store, &tagged("a"), 3).await, [ids[0], ids[2]]);
}

pub async fn a_bulk_cancel_filters_by_tags(fixture: &impl Fixture) {
    let store = fixture.open();
    let both = insert(&store, "a b").await;
    let one = insert(&store, "a").await;
    let none = insert(&store, "").await;
    assert_eq!(claim(&store, 1, at(0)).await.claimed.len(), 1);
    let filter = tagged("b a");
    let found = store.find_open(filter.clone()).await.expect("found");
    let cancelled = store.cancel_many(found, filter, at(3)).await;
    assert!(matches!(cancelled, Ok(CancelledMany { waiting: 0, running }) if running[0].id == both));
    assert_eq!(store.find_open(tagged("a")).await.expect("found").len(), 2, "its guest is still there");
    for id in [one, none] {
        assert_eq!(get(&store, id).await.state, TaskState::Available);
    }
}

pub async fn tags_of_refused_tasks_are_not_stored(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert(&store, "a").await;
    let lost = NewTask { tags: tags("a lost"), ..new_task() };
    let refused = store.insert(vec![lost, NewTask { id, ..new_task() }]).await;
    assert_eq!(refused, Err(StoreError::Duplicate { id }));
    // The place in the order is given again.
    let next = insert(&store, "").await;
    assert_eq!(listed(&store, &tagged("lost"), 9).await, []);
    assert_eq!(listed(&store, &tagged("a"), 9).await, [id]);
    assert_eq!(get(&store, next).await.tags, []);
}
