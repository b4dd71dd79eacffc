//! Limits of keys: how many of their tasks wait and run, and how much is stored of them.

use std::collections::HashMap;
use std::sync::Arc;

use wasmill_model::{
    KeyLimits, LimitedKey, NewDependencies, NewTask, OnFailure, TaskState, Transition, WakeOn,
};
use wasmill_store::{Store, StoreError};

use crate::fixture::{
    Fixture, StoreExt, at, claim, claim_one, end_stopped, failure, ids, new_task, plugin, prune, since,
    suspended, wrote,
};

/// A task of a key with these limits of waiting tasks and of stored bytes.
fn of_key(name: &str, waiting_max: Option<u64>, stored_bytes_max: Option<u64>) -> NewTask {
    let limits = KeyLimits { waiting_max, running_max: None, stored_bytes_max };
    let limited_by = Some(Arc::new(LimitedKey { name: name.into(), limits }));
    NewTask { limited_by, ..new_task() }
}

/// A task of the key `ci`, of which two may wait.
fn of_two() -> NewTask {
    of_key("ci", Some(2), None)
}

fn full(index: usize, waiting: u64) -> Result<(), StoreError> {
    Err(StoreError::KeyQueueFull { index, key: "ci".into(), waiting, waiting_max: 2 })
}

pub async fn a_key_has_at_most_its_limit_of_waiting_tasks(fixture: &impl Fixture) {
    let store = fixture.open();
    let many = vec![of_two(), new_task(), of_two(), of_key("other", Some(1), None), of_two()];
    assert_eq!(store.insert(many).await, full(4, 0));
    assert_eq!(store.counts().await.expect("counted").waiting, 0, "none of them is stored");
    // Of all plugins, and however they wait.
    let scheduled = NewTask { plugin: plugin("b"), run_at: Some(at(50)), ..of_two() };
    store.insert(vec![of_two(), new_task(), scheduled]).await.expect("two fit");
    assert_eq!(store.insert(vec![of_two()]).await, full(0, 2));
    store.insert(vec![new_task(), of_key("other", Some(1), None)]).await.expect("others have room");
    // The count outlives the store.
    store.close().await;
    let (store, _) = fixture.open_at(100, at(0));
    assert_eq!(store.insert(vec![of_two()]).await, full(0, 2));
    let claimed = claim(&store, 9, at(0)).await.claimed;
    assert_eq!(claimed.len(), 4, "one of the key, three of others");
    store.insert(vec![of_two()]).await.expect("one runs, so one fits");
    assert_eq!(store.insert(vec![of_two()]).await, full(0, 2));
    // What was accepted is never refused later.
    let retry = Transition::RetryAt(at(1), failure());
    assert_eq!(store.finish(&claimed[0].claim, retry, None, at(0)).await, Ok(true));
    assert_eq!(store.insert(vec![of_two()]).await, full(0, 3));
    // A lower limit holds at once.
    let lower = store.insert(vec![of_key("ci", Some(1), None)]).await;
    assert!(matches!(lower, Err(StoreError::KeyQueueFull { waiting: 3, waiting_max: 1, .. })), "{lower:?}");
    let open = store.find_open(Default::default()).await.expect("found");
    store.cancel_many(open, Default::default(), at(1)).await.expect("cancelled");
    store.insert(vec![of_two(), of_two()]).await.expect("there is room again");
}

pub async fn every_end_of_a_wait_is_room_for_its_key(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = new_task();
    let dependencies = |on_failure| {
        let on = vec![first.id];
        Some(NewDependencies { on, on_failure, pass_results: false, files_from: None })
    };
    let cancelled = NewTask { dependencies: dependencies(OnFailure::Cancel), ..of_two() };
    let released = NewTask { dependencies: dependencies(OnFailure::Run), ..of_two() };
    store.insert(vec![first.clone(), cancelled.clone(), released.clone()]).await.expect("two fit");
    assert_eq!(store.insert(vec![of_two()]).await, full(0, 2));
    let claimed = claim_one(&store, at(0)).await;
    let failed = Transition::Failed(failure());
    assert_eq!(store.finish(&claimed.claim, failed, None, at(1)).await, Ok(true));
    // One was cancelled, the other one is available now.
    let one = of_two();
    store.insert(vec![one.clone()]).await.expect("one fits");
    assert_eq!(store.insert(vec![of_two()]).await, full(0, 2));
    store.remove(one.id, at(2)).await.expect("removed");
    let due = NewTask { run_at: Some(at(5)), ..of_two() };
    store.insert(vec![due]).await.expect("one fits");
    assert_eq!(store.insert(vec![of_two()]).await, full(0, 2));
    // Promoted and claimed.
    let claims = claim(&store, 9, at(6)).await;
    assert_eq!(claims.claimed.len(), 2);
    store.insert(vec![of_two(), of_two()]).await.expect("two fit");
    // A crash puts back what ran.
    drop(claims);
    store.close().await;
    let (store, _) = fixture.open_at(100, at(7));
    assert_eq!(store.insert(vec![of_two()]).await, full(0, 4));
    assert_eq!(claim(&store, 9, at(7)).await.claimed.len(), 4);
    store.insert(vec![of_two(), of_two()]).await.expect("two fit");
}

pub async fn no_limit_of_a_key_is_exceeded_by_a_thousand_at_once(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(10_000, at(0));
    let of_ten = |number: usize| {
        let input = Some(format!("{number:04}"));
        if number.is_multiple_of(2) {
            NewTask { input, ..of_key("ci", Some(10), None) }
        } else {
            NewTask { input, ..of_key("bytes", None, Some(42)) }
        }
    };
    let inserts = (0..1_000).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.insert(vec![of_ten(number)]).await.is_ok() })
    });
    let mut stored = 0;
    for insert in inserts.collect::<Vec<_>>() {
        stored += usize::from(insert.await.expect("answered"));
    }
    assert_eq!((stored, store.counts().await.expect("counted").waiting), (20, 20));
}

/// A task of a key that may store a hundred bytes, with an input of so many.
fn of_hundred(input_bytes: usize) -> NewTask {
    NewTask { input: Some("1".repeat(input_bytes)), ..of_key("ci", None, Some(100)) }
}

/// Returns how many bytes the tasks of the key take up, which is what another key limit says.
async fn stored_bytes(store: &Store) -> u64 {
    match store.insert(vec![of_key("ci", None, Some(0))]).await {
        Err(StoreError::KeyStorageFull { stored_bytes, stored_bytes_max: 0, .. }) => stored_bytes,
        other => panic!("{other:?}"),
    }
}

pub async fn a_key_stores_at_most_its_bytes(fixture: &impl Fixture) {
    let store = fixture.open();
    let refused = store.insert(vec![of_hundred(40), of_hundred(61)]).await;
    let expected =
        StoreError::KeyStorageFull { index: 1, key: "ci".into(), stored_bytes: 0, stored_bytes_max: 100 };
    assert_eq!((refused, stored_bytes(&store).await), (Err(expected), 0));
    let (a, b) = (of_hundred(40), of_hundred(50));
    store.insert(vec![a.clone(), b.clone()]).await.expect("they fit");
    assert!(store.insert(vec![of_hundred(11)]).await.is_err());
    // The result and the log of an ended task count, whatever the limit says.
    let claims = claim(&store, 9, at(0)).await;
    let log = wrote(&claims.claimed[0].claim, "0123456789\n");
    let done = Transition::Completed("1".repeat(30).into());
    assert_eq!(store.finish(&claims.claimed[0].claim, done, log, at(1)).await, Ok(true));
    let with_log = stored_bytes(&store).await;
    assert!(with_log > 120 && with_log < 220, "{with_log}");
    assert!(store.insert(vec![of_key("ci", None, Some(100))]).await.is_err(), "not even without an input");
    store.close().await;
    let (store, _) = fixture.open_at(9, at(2));
    assert_eq!(stored_bytes(&store).await, with_log);
    // What is deleted or pruned is room again.
    store.remove(a.id, at(3)).await.expect("removed");
    assert_eq!(stored_bytes(&store).await, 50);
    let again = claim_one(&store, at(3)).await;
    store.cancel(b.id, at(3)).await.expect("it is to stop");
    end_stopped(&store, &again.claim, at(4)).await;
    let ended = stored_bytes(&store).await;
    assert!(ended >= 50, "{ended}");
    assert_eq!(prune(&store, since(100)).await, 1);
    assert_eq!(stored_bytes(&store).await, 0);
    store.insert(vec![of_hundred(100)]).await.expect("there is room again");
}

pub async fn a_checkpoint_does_not_count_and_a_removed_run_leaves_nothing(fixture: &impl Fixture) {
    let store = fixture.open();
    let task = of_hundred(10);
    store.insert(vec![task.clone()]).await.expect("inserted");
    let claimed = claim_one(&store, at(0)).await;
    let suspended = suspended(at(1), &[0; 500], WakeOn::default());
    assert_eq!(store.finish(&claimed.claim, suspended, None, at(0)).await, Ok(true));
    assert_eq!(stored_bytes(&store).await, 10);
    let claimed = claim_one(&store, at(1)).await;
    store.remove(task.id, at(2)).await.expect("it is to stop");
    end_stopped(&store, &claimed.claim, at(2)).await;
    assert_eq!((store.get(task.id).await, stored_bytes(&store).await), (Ok(None), 0));
}

/// A task of this plugin and group.
fn of_group(name: &str, group: &str) -> NewTask {
    NewTask { plugin: plugin(name), group: group.parse().ok(), ..new_task() }
}

pub async fn a_group_at_its_limit_of_running_tasks_delays_no_other(fixture: &impl Fixture) {
    let store = fixture.open();
    let limits = HashMap::from([("x".parse().expect("valid"), 3)]);
    store.limit_groups(limits);
    let x: Vec<_> = (0..20).map(|number| of_group(if number % 2 == 0 { "a" } else { "b" }, "x")).collect();
    store.insert(x).await.expect("inserted");
    store.insert((0..5).map(|_| of_group("a", "y")).collect()).await.expect("inserted");
    store.insert((0..5).map(|_| of_group("b", "")).collect()).await.expect("inserted");
    let plugins = [plugin("a"), plugin("b")];
    let mut running = Vec::new();
    let groups = async |claimed: &[wasmill_store::Claimed]| {
        let mut groups = Vec::new();
        for claimed in claimed {
            let task = store.get(claimed.claim.id).await.expect("read").expect("stored");
            assert_eq!(task.state, TaskState::Running);
            groups.push(task.group.map(|group| group.as_str().to_owned()).unwrap_or_default());
        }
        groups.sort();
        groups
    };
    let first = store.claim(&plugins, 100, at(1)).await.expect("claimed");
    assert_eq!(groups(&first.claimed).await.concat(), "xxxyyyyy", "three of x, and all others");
    running.extend(first.claimed);
    assert!(store.claim(&plugins, 100, at(1)).await.expect("claimed").claimed.is_empty());
    // One ends, one starts; a task of another group is not held back meanwhile.
    let is_x = async |claimed: &wasmill_store::Claimed| groups(std::slice::from_ref(claimed)).await == ["x"];
    let mut index = 0;
    while !is_x(&running[index]).await {
        index += 1;
    }
    let ended = running.remove(index);
    let done = Transition::Completed("1".into());
    assert_eq!(store.finish(&ended.claim, done, None, at(2)).await, Ok(true));
    store.insert(vec![of_group("b", "z")]).await.expect("inserted");
    let next = store.claim(&plugins, 100, at(2)).await.expect("claimed");
    assert_eq!(groups(&next.claimed).await, ["x", "z"]);
    // A higher limit holds from the next claim on, and none is no limit.
    store.limit_groups(HashMap::from([("x".parse().expect("valid"), 5)]));
    assert_eq!(store.claim(&plugins, 100, at(2)).await.expect("claimed").claimed.len(), 2);
    store.limit_groups(HashMap::new());
    assert_eq!(ids(&store.claim(&plugins, 100, at(2)).await.expect("claimed")).len(), 14);
}
