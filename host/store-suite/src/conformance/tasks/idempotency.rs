//! Requests that come again, and tasks of which there may be only one.

use std::time::Duration;

use wasmill_model::{KeySpace, MissedPolicy, NewTask, OnConflict, TaskId, Timing, Transition, Unique};
use wasmill_store::{
    Filter, IdempotencyKey, NewSchedule, RunNowOutcome, Store, StoreError, StoredSteps, Submitted,
};

use crate::fixture::{Fixture, StoreExt, at, claim_one, failure, get, new_task};

const DAY: i64 = 86_400;

fn request(key: &str, body: u8) -> IdempotencyKey {
    IdempotencyKey { key: key.to_owned(), digest: [body; 32] }
}

async fn submit(store: &Store, tasks: usize, key: IdempotencyKey, now: i64) -> Result<Submitted, StoreError> {
    let tasks = (0..tasks).map(|_| new_task()).collect();
    store.submit(tasks, Some((key, at(now)))).await
}

fn ids(submitted: &Submitted) -> Vec<TaskId> {
    submitted.tasks.iter().map(|task| task.id).collect()
}

async fn waiting(store: &Store) -> u64 {
    store.counts().await.expect("counted").waiting
}

pub async fn a_repeated_request_gets_its_first_answer(fixture: &impl Fixture) {
    let store = fixture.open();
    assert_eq!(store.find_submitted(request("k", 1), at(0)).await, Ok(None));
    let first = submit(&store, 3, request("k", 1), 0).await.expect("stored");
    assert_eq!((first.tasks.len(), first.replayed, waiting(&store).await), (3, false, 3));
    assert!(first.tasks.iter().all(|task| task.holder.is_none() && task.created_at == at(0)));
    let again = Submitted { replayed: true, ..first.clone() };
    assert_eq!(submit(&store, 3, request("k", 1), 9).await, Ok(again.clone()));
    assert_eq!(store.find_submitted(request("k", 1), at(9)).await, Ok(Some(again.clone())));
    // Also when its tasks are gone, and after a restart.
    for id in ids(&first) {
        store.remove(id, at(9)).await.expect("removed");
    }
    store.close().await;
    let (store, _) = fixture.open_at(9, at(10));
    assert_eq!(submit(&store, 3, request("k", 1), 11).await, Ok(again));
    assert_eq!(waiting(&store).await, 0);
}

pub async fn an_idempotency_key_used_for_another_request_is_refused(fixture: &impl Fixture) {
    let store = fixture.open();
    submit(&store, 1, request("k", 1), 0).await.expect("stored");
    let reused = StoreError::KeyReused { key: "k".to_owned() };
    assert_eq!(submit(&store, 1, request("k", 2), 1).await, Err(reused.clone()));
    assert_eq!(store.find_submitted(request("k", 2), at(1)).await, Err(reused));
    submit(&store, 1, request("K", 2), 1).await.expect("another key");
    assert_eq!(waiting(&store).await, 2);
}

pub async fn a_refused_request_does_not_use_its_key(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(2, at(0));
    let full = Err(StoreError::Full { waiting_max: 2 });
    assert_eq!(submit(&store, 3, request("k", 1), 0).await, full);
    let stored = submit(&store, 2, request("k", 2), 1).await.expect("stored");
    // A full line is no reason to refuse what was accepted before.
    assert_eq!(ids(&submit(&store, 2, request("k", 2), 1).await.expect("answered")), ids(&stored));
}

pub async fn an_idempotency_key_expires_after_a_day(fixture: &impl Fixture) {
    let store = fixture.open();
    let first = submit(&store, 1, request("a", 1), 0).await.expect("stored");
    submit(&store, 1, request("b", 1), 60).await.expect("stored");
    assert_eq!(store.prune_keys(at(DAY)).await, Ok(0));
    assert!(submit(&store, 1, request("a", 1), DAY).await.expect("answered").replayed);
    // It is over before it is pruned.
    let second = submit(&store, 1, request("a", 2), DAY + 1).await.expect("stored");
    assert!(!second.replayed && ids(&second) != ids(&first));
    assert_eq!(store.prune_keys(at(DAY + 61)).await, Ok(1));
    assert_eq!(store.find_submitted(request("b", 1), at(61)).await, Ok(None));
    assert!(submit(&store, 1, request("a", 2), DAY + 2).await.expect("answered").replayed);
    // The clock was ahead by a year when it came: it must not stay for so long.
    assert_eq!(store.prune_keys(at(-DAY)).await, Ok(1));
    assert_eq!(store.prune_keys(at(-DAY)).await, Ok(0));
}

pub async fn concurrent_requests_with_one_key_are_stored_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let submits = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { submit(&store, 2, request("k", 1), 0).await.expect("answered") })
    });
    let (mut answers, mut new) = (Vec::new(), 0);
    for submit in submits.collect::<Vec<_>>() {
        let submitted = submit.await.expect("ran");
        new += usize::from(!submitted.replayed);
        answers.push(ids(&submitted));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!((new, waiting(&store).await), (1, 2));
}

pub async fn the_steps_of_a_request_are_added_up(fixture: &impl Fixture) {
    let store = fixture.open();
    let key = |key: &str| request(key, 1);
    let submit = async |name: &str, tasks| {
        store.submit(tasks, Some((key(name), at(1)))).await.expect("submitted");
    };
    store.insert(vec![unique("u", OnConflict::Refuse)]).await.expect("inserted");
    submit("k", vec![]).await;
    submit("k\n2", vec![new_task(), unique("u", OnConflict::Return)]).await;
    submit("k\n1", vec![new_task(), new_task()]).await;
    submit("kk\n1", vec![new_task()]).await;
    submit("k1", vec![new_task()]).await;
    let names = vec!["1".to_owned(), "2".to_owned()];
    assert_eq!(store.steps(key("k"), at(2)).await, Ok(StoredSteps { names, stored: 3, held: 1 }));
    assert_eq!(store.steps(key("other"), at(2)).await, Ok(StoredSteps::default()));
    assert_eq!(store.steps(key("k"), at(1_000_000)).await, Ok(StoredSteps::default()), "they are over");
}

pub async fn a_manual_run_with_a_key_starts_once(fixture: &impl Fixture) {
    let store = fixture.open();
    let timing = Timing::of("@yearly", "UTC").expect("a time");
    let new = NewSchedule {
        name: "a".parse().expect("a name"),
        from_manifest: false,
        timing,
        missed: MissedPolicy::One,
        overlap: false,
        task: "{}".to_owned(),
        plugin: new_task().plugin,
    };
    store.put_schedule(new, 9, at(0)).await.expect("a schedule");
    let run = async |digest| {
        store.run_now("a".parse().expect("a name"), new_task(), Some(request("k", digest)), at(1)).await
    };
    let Ok(RunNowOutcome::Started(task)) = run(1).await else { panic!("it runs") };
    // It waits, so that without the key the schedule were busy.
    assert_eq!(run(1).await, Ok(RunNowOutcome::Replayed(Submitted { tasks: vec![task], replayed: true })));
    assert!(matches!(run(2).await, Err(StoreError::KeyReused { .. })));
}

fn unique(key: &str, on_conflict: OnConflict) -> NewTask {
    let unique = Unique { key: key.parse().expect("a key"), on_conflict, space: KeySpace::default() };
    NewTask { unique: Some(unique), ..new_task() }
}

async fn refusal(store: &Store, tasks: Vec<NewTask>) -> (usize, TaskId) {
    match store.submit(tasks, None).await {
        Err(StoreError::KeyTaken { index, holder, .. }) => (index, holder),
        other => panic!("not refused: {other:?}"),
    }
}

pub async fn a_unique_key_has_one_unfinished_task(fixture: &impl Fixture) {
    let store = fixture.open();
    let refuse = || unique("k", OnConflict::Refuse);
    let first = refuse();
    store.insert(vec![first.clone(), unique("other", OnConflict::Refuse)]).await.expect("inserted");
    let stored = get(&store, first.id).await;
    assert_eq!(stored.unique_key, first.unique.as_ref().map(|unique| unique.key.clone()));
    // All or nothing, also of those before it.
    let before = new_task();
    let lost = before.id;
    assert_eq!(refusal(&store, vec![before, refuse()]).await, (1, first.id));
    assert_eq!((store.get(lost).await, waiting(&store).await), (Ok(None), 2));
    // Nobody holds a key that is only asked for twice.
    let twice = vec![new_task(), unique("new", OnConflict::Refuse), unique("new", OnConflict::Refuse)];
    let refused = store.submit(twice, None).await;
    assert_eq!(refused, Err(StoreError::KeyTwice { index: 2, earlier: 1, key: "new".to_owned() }));
    store.close().await;
    let (store, _) = fixture.open_at(9, at(1));
    assert_eq!(refusal(&store, vec![refuse()]).await, (0, first.id));
}

pub async fn a_unique_key_is_unique_within_its_space(fixture: &impl Fixture) {
    let store = fixture.open();
    let task = |space: &str| {
        let mut task = unique("k", OnConflict::Refuse);
        if let Some(unique) = &mut task.unique {
            unique.space = KeySpace::new(space);
        }
        task
    };
    let mut holders = Vec::new();
    for space in ["", "one", "other"] {
        let first = task(space);
        holders.push(first.id);
        store.insert(vec![first]).await.expect("nobody holds it there");
    }
    for (space, holder) in ["", "one", "other"].into_iter().zip(&holders) {
        assert_eq!(refusal(&store, vec![task(space)]).await, (0, *holder), "{space}");
    }
    // All are found by it, and a retry stays in its space.
    let filter = Filter { unique_key: "k".parse().ok(), ..Filter::default() };
    let (found, _) = store.find(filter, None, 9).await.expect("found");
    assert_eq!(found.len(), 3);
    store.cancel(holders[1], at(1)).await.expect("cancelled");
    let again = store.clone_for_retry(holders[1], TaskId::new(), at(2)).await.expect("read");
    let (_, again) = again.expect("it exists");
    assert_eq!(again.unique.as_ref().map(|unique| unique.space.as_str()), Some("one"));
    store.insert(vec![again]).await.expect("it is free there");
}

pub async fn a_submit_can_return_the_holder_of_a_unique_key(fixture: &impl Fixture) {
    let (store, _) = fixture.open_at(2, at(0));
    let ask = || unique("k", OnConflict::Return);
    let task = ask();
    let id = task.id;
    let submitted = store.submit(vec![task, ask()], None).await.expect("stored");
    assert_eq!(ids(&submitted), [id, id], "the second got the first of the same request");
    assert_eq!(waiting(&store).await, 1);
    claim_one(&store, at(5)).await;
    // A holder that runs, and a line that is full.
    store.insert(vec![new_task(), new_task()]).await.expect("inserted");
    let late = NewTask { created_at: at(9), ..ask() };
    let submitted = store.submit(vec![late], None).await.expect("answered");
    let answer = submitted.tasks[0];
    assert_eq!((answer.id, answer.created_at, answer.holder), (id, at(0), Some(Duration::from_secs(4))));
    let full = StoreError::Full { waiting_max: 2 };
    assert_eq!(store.submit(vec![unique("new", OnConflict::Return)], None).await, Err(full));
}

pub async fn a_unique_key_is_free_once_its_task_has_finished(fixture: &impl Fixture) {
    let store = fixture.open();
    let insert = async || {
        let task = unique("k", OnConflict::Refuse);
        let id = task.id;
        store.insert(vec![task]).await.expect("the key is free");
        id
    };
    let cancelled = insert().await;
    store.cancel(cancelled, at(1)).await.expect("cancelled");
    let removed = insert().await;
    store.remove(removed, at(9)).await.expect("removed");
    for next in [Transition::Completed("1".into()), Transition::Failed(failure())] {
        insert().await;
        let claimed = claim_one(&store, at(1)).await;
        assert_eq!(store.finish(&claimed.claim, next, None, at(2)).await, Ok(true));
    }
    // Between two attempts it is held.
    let id = insert().await;
    let claimed = claim_one(&store, at(3)).await;
    let retry = Transition::RetryAt(at(9), failure());
    assert_eq!(store.finish(&claimed.claim, retry, None, at(3)).await, Ok(true));
    assert_eq!(refusal(&store, vec![unique("k", OnConflict::Refuse)]).await, (0, id));
}
