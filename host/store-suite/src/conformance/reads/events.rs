//! Events that followers receive of the commits of a store.

use wasmill_model::{Progress, TaskId, Transition};
use wasmill_store::{Filter, Received, Store, Subscriber, TaskSubscriber};

use crate::fixture::{Fixture, StoreExt, at, claim_one, failure, get, insert_one, new_task};

fn words(received: Received) -> Vec<&'static str> {
    match received {
        Received::Events(events) => events.iter().map(|event| event.payload.kind.as_str()).collect(),
        Received::Lagged { .. } => vec!["missed"],
    }
}

fn now(follower: &mut TaskSubscriber) -> Vec<&'static str> {
    follower.now().map(words).unwrap_or_default()
}

async fn seqs(all: &mut Subscriber) -> Vec<u64> {
    match all.next().await {
        Received::Events(events) => events.iter().map(|event| event.seq).collect(),
        Received::Lagged { .. } => Vec::new(),
    }
}

fn progress(fraction: f64) -> Progress {
    Progress { fraction, note: String::new() }
}

pub async fn every_transition_is_published_after_its_commit(fixture: &impl Fixture) {
    let store = fixture.open();
    let task = new_task();
    let mut follower = store.subscribe(task.id);
    store.insert(vec![task]).await.expect("inserted");
    assert_eq!(now(&mut follower), ["created"]);
    for (next, word) in [
        (Transition::RetryAt(at(1), failure()), "retrying"),
        (Transition::Requeued, "retrying"),
        (Transition::Completed("".into()), "completed"),
    ] {
        let claimed = claim_one(&store, at(1)).await;
        assert_eq!(now(&mut follower), ["started"]);
        assert_eq!(store.finish(&claimed.claim, next, None, at(1)).await, Ok(true));
        assert_eq!(now(&mut follower), [word]);
    }
    let id = follower_task(&store).await;
    store.remove(id, at(2)).await.expect("removed");
    assert_eq!(now(&mut follower), ["deleted"]);
}

/// Returns the only task there is.
async fn follower_task(store: &Store) -> TaskId {
    let query = wasmill_store::ListQuery { limit: 2, before: None, filter: Filter::default() };
    let page = store.list(query).await.expect("listed");
    assert_eq!(page.tasks.len(), 1);
    page.tasks[0].id
}

pub async fn a_refused_operation_publishes_nothing(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let mut follower = store.subscribe(id);
    let other = new_task();
    let mut of_other = store.subscribe(other.id);
    let duplicate = wasmill_model::NewTask { id, ..new_task() };
    store.insert(vec![other, duplicate]).await.expect_err("a duplicate");
    store.cancel(id, at(2)).await.expect("cancelled");
    store.cancel(id, at(2)).await.expect("cancelled before");
    let late = store.finish(&claimed.claim, Transition::Completed("".into()), None, at(3)).await;
    assert_eq!(late, Ok(false));
    assert_eq!(now(&mut follower), ["cancelled"]);
    assert_eq!(now(&mut of_other), Vec::<&str>::new());
}

pub async fn progress_is_published_on_request(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let mut follower = store.subscribe(id);
    for n in 0..1_000 {
        claimed.claim.set_progress(progress(f64::from(n)));
    }
    assert_eq!(now(&mut follower), Vec::<&str>::new());
    store.wait_for_progress().await;
    store.publish_progress(at(2)).await;
    let Some(Received::Events(events)) = follower.now() else { panic!("there are events") };
    assert_eq!(events.len(), 1, "the latest alone");
    assert_eq!(events[0].payload.kind, wasmill_store::EventKind::Progress(progress(999.0)));
    store.publish_progress(at(3)).await;
    assert_eq!(now(&mut follower), Vec::<&str>::new(), "once");
    claimed.claim.set_progress(progress(1.0));
    store.finish(&claimed.claim, Transition::Completed("".into()), None, at(4)).await.expect("finished");
    store.publish_progress(at(5)).await;
    assert_eq!(now(&mut follower), ["completed"], "no progress after the end");
}

pub async fn event_numbers_are_never_reused_after_a_restart(fixture: &impl Fixture) {
    let mut newest = 0;
    for _ in 0..3 {
        let store = fixture.open();
        let mut all = store.subscribe_all();
        insert_one(&store).await;
        insert_one(&store).await;
        let mut received = seqs(&mut all).await;
        while received.len() < 2 {
            received.extend(seqs(&mut all).await);
        }
        assert!(received[0] > newest && received[1] == received[0] + 1, "{received:?} after {newest}");
        newest = received[1];
        all.resume_from(newest.wrapping_sub(5));
        assert!(matches!(all.next().await, Received::Lagged { .. }), "of an earlier host");
        store.close().await;
    }
}

pub async fn get_after_events_waits_for_published_events(fixture: &impl Fixture) {
    let store = fixture.open();
    let id = insert_one(&store).await;
    let mut follower = store.subscribe(id);
    let claim = store.clone();
    let claiming = tokio::spawn(async move { claim_one(&claim, at(1)).await });
    while store.get_after_events(id).await.expect("read").expect("there").started_at.is_none() {}
    assert_eq!(now(&mut follower), ["started"]);
    claiming.await.expect("claimed");
    get(&store, id).await;
}
