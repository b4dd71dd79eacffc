//! Several hosts on one database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_model::{KeyLimits, LimitedKey, NewTask, TaskState, Timestamp, Transition};
use wasmill_store::{
    CancelOutcome, ClaimQuota, DueOutcome, EventKind, Host, Received, RemoveOutcome, Store, StoreError,
};
use wasmill_store_postgres::PostgresConfig;
use wasmill_store_suite::Fixture;
use wasmill_store_suite::conformance::schedules;
use wasmill_store_suite::fixture::{
    StoreExt, at, claim, claim_one, end_stopped, get, ids, insert_one, new_task, plugin,
};

use crate::cluster::{Schema, start};

/// How long a lease is valid in these tests. A machine that is busy may take a while to renew one.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// Opens the store of a host at this place.
pub(crate) fn host(schema: &Schema, place: &str) -> Store {
    host_of(schema, place, 1_000)
}

fn host_of(schema: &Schema, place: &str, waiting_max: u64) -> Store {
    let config = schema.config(&schema.url(), place);
    start(PostgresConfig { lease: LEASE, waiting_max, ..config }, at(0)).0
}

fn done() -> Transition {
    Transition::Completed("1".into())
}

pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Claims until a claim finds something.
async fn claim_some(store: &Store, quota: &ClaimQuota, now: Timestamp) -> usize {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let claimed =
            store.claim(std::slice::from_ref(quota), 100, now).await.expect("claimed").claimed.len();
        if claimed > 0 {
            return claimed;
        }
        assert!(Instant::now() < deadline, "nothing is claimed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_one_host_stores_another_one_sees_and_runs() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    let id = insert_one(&a).await;
    assert_eq!(get(&b, id).await.state, TaskState::Available);
    eventually("b counts it", async || b.counts().await.expect("read").waiting == 1).await;
    let claimed = claim_one(&b, at(1)).await;
    assert_eq!(get(&a, id).await.state, TaskState::Running);
    eventually("a counts it", async || a.counts().await.expect("read").running == 1).await;
    assert_eq!(b.finish(&claimed.claim, done(), None, at(2)).await, Ok(true));
    eventually("a counts its end", async || a.finished_count() == 1).await;
    let hosts = a.hosts().await.expect("read");
    let count = |is_so: fn(&Host) -> bool| hosts.iter().filter(|host| is_so(host)).count();
    let counts = (count(|host| host.is_live), count(|host| host.is_self), count(|host| host.is_on_duty));
    assert_eq!(counts, (2, 1, 1), "{hosts:?}");
}

#[tokio::test]
async fn no_task_is_claimed_by_two_hosts() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    a.insert((0..100).map(|_| new_task()).collect()).await.expect("inserted");
    eventually("b counts them", async || b.counts().await.expect("read").waiting == 100).await;
    let mut all = Vec::new();
    while all.len() < 100 {
        let (of_a, of_b) = tokio::join!(claim(&a, 7, at(1)), claim(&b, 7, at(1)));
        all.extend(ids(&of_a));
        all.extend(ids(&of_b));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 100);
}

#[tokio::test]
async fn a_host_that_starts_leaves_the_tasks_of_living_hosts_alone() {
    let schema = Schema::new();
    let a = host(&schema, "a");
    let id = insert_one(&a).await;
    let claimed = claim_one(&a, at(1)).await;
    let b = host(&schema, "b");
    assert_eq!(get(&b, id).await.state, TaskState::Running);
    assert_eq!(a.finish(&claimed.claim, done(), None, at(2)).await, Ok(true));
    assert_eq!(get(&b, id).await.state, TaskState::Completed);
}

#[tokio::test]
async fn a_host_that_leaves_gives_its_tasks_to_others_at_once() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    let id = insert_one(&a).await;
    claim_one(&a, at(1)).await;
    a.close().await;
    eventually("b puts it back", async || get(&b, id).await.state == TaskState::Available).await;
    assert_eq!(get(&b, id).await.host_crashes, 1);
    eventually("the dead host is forgotten", async || b.hosts().await.expect("read").len() == 1).await;
    assert!(b.is_on_duty());
}

#[tokio::test]
async fn a_silent_host_is_taken_for_dead_and_learns_of_it() {
    let schema = Schema::new();
    let proxy = crate::proxy::Proxy::start(schema.folder());
    let config = schema.config(&proxy.url(), "a");
    let a = start(PostgresConfig { lease: LEASE, ..config }, at(0)).0;
    let b = host(&schema, "b");
    let id = insert_one(&a).await;
    let claimed = claim_one(&a, at(1)).await;
    let (term, began) = (a.lease().term(), Instant::now());
    proxy.set(crate::proxy::Mode::Refuse);
    eventually("its lease runs out", async || !a.lease().is_valid(term)).await;
    let frozen = began.elapsed();
    assert_eq!(get(&b, id).await.state, TaskState::Running, "nobody runs it before");
    eventually("b puts it back", async || get(&b, id).await.state == TaskState::Available).await;
    assert!(began.elapsed() > frozen);
    proxy.set(crate::proxy::Mode::Pass);
    eventually("a registers anew", async || a.lease().is_valid(a.lease().term())).await;
    assert_ne!(a.lease().term(), term);
    assert_eq!(a.finish(&claimed.claim, done(), None, at(2)).await, Ok(false));
    assert_eq!(a.save(&claimed.claim, vec![1]).await, Ok(false));
    let again = claim_one(&b, at(3)).await;
    assert_eq!(b.finish(&again.claim, done(), None, at(4)).await, Ok(true));
    insert_one(&a).await;
}

#[tokio::test]
async fn a_host_that_stops_with_the_turn_delays_the_others_by_a_second() {
    let schema = Schema::new();
    let proxy = crate::proxy::Proxy::start(schema.folder());
    let a = start(PostgresConfig { lease: LEASE, ..schema.config(&proxy.url(), "a") }, at(0)).0;
    let b = host(&schema, "b");
    eventually("a knows b", async || {
        insert_one(&a).await;
        a.hosts().await.expect("read").len() == 2
    })
    .await;
    tokio::time::sleep(LEASE / 2).await;
    proxy.set(crate::proxy::Mode::StopBeforeCommit);
    let stopped = tokio::spawn(async move { insert_one(&a).await });
    eventually("it holds the turn", async || proxy.cuts() == 1).await;
    let began = Instant::now();
    insert_one(&b).await;
    let waited = began.elapsed();
    println!("a write waited for a host that was stopped with the turn: {waited:?}");
    assert!(waited > Duration::from_millis(100), "it did not wait: {waited:?}");
    let id = stopped.await.expect("it is done again");
    assert_eq!(get(&b, id).await.state, TaskState::Available);
    let of_writer = b.commit_stats().turn_seconds;
    assert!(of_writer.sum() >= waited.as_secs_f64() / 2.0, "{of_writer:?}");
}

#[tokio::test]
async fn a_stop_reaches_the_host_that_runs_the_task() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    let id = insert_one(&a).await;
    eventually("b counts it", async || b.counts().await.expect("read").waiting == 1).await;
    let claimed = claim_one(&b, at(1)).await.claim;
    let Ok(CancelOutcome::Stopping { token }) = a.cancel(id, at(2)).await else { panic!("it runs") };
    assert_eq!(token, claimed.token());
    assert_eq!(a.is_claimed(id, token).await, Ok(true));
    let stops = b.wait_for_stops().await;
    assert_eq!((stops[0].task, stops[0].token, stops[0].kill_at), (id, token, at(2)));
    end_stopped(&b, &claimed, at(3)).await;
    assert_eq!(a.is_claimed(id, token).await, Ok(false));
    assert_eq!(get(&a, id).await.state, TaskState::Cancelled);
    assert_eq!(b.remove(id, at(4)).await, Ok(RemoveOutcome::Removed { was: TaskState::Cancelled }));
}

#[tokio::test]
async fn the_concurrency_of_a_plugin_holds_over_all_hosts() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    a.insert((0..20).map(|_| new_task()).collect()).await.expect("inserted");
    let quota = ClaimQuota { concurrency: Some(3), ..ClaimQuota::from(plugin("a")) };
    eventually("b counts them", async || b.counts().await.expect("read").waiting == 20).await;
    let one = ClaimQuota { tasks_max: 1, ..quota.clone() };
    let first = a.claim(&[one], 100, at(1)).await.expect("claimed").claimed.remove(0);
    assert_eq!(claim_some(&b, &quota, at(1)).await, 2);
    for store in [&a, &b] {
        assert!(
            store.claim(std::slice::from_ref(&quota), 100, at(1)).await.expect("claimed").claimed.is_empty()
        );
    }
    assert_eq!(a.finish(&first.claim, done(), None, at(2)).await, Ok(true));
    assert_eq!(claim_some(&b, &quota, at(2)).await, 1);
}

#[tokio::test]
async fn the_limits_of_a_key_hold_over_all_hosts() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    let limits = KeyLimits { waiting_max: Some(10), running_max: None, stored_bytes_max: Some(1_000) };
    let of = |number: u32| {
        let limited_by = Some(Arc::new(LimitedKey { name: format!("key-{}", number % 2).into(), limits }));
        NewTask { limited_by, input: Some("1".repeat(60)), ..new_task() }
    };
    let inserts = (0..400).map(|number| {
        let (store, task) = (if number % 4 < 2 { a.clone() } else { b.clone() }, of(number));
        tokio::spawn(async move { store.insert(vec![task]).await.is_ok() })
    });
    let mut stored = 0;
    for insert in inserts.collect::<Vec<_>>() {
        stored += usize::from(insert.await.expect("answered"));
    }
    assert_eq!((stored, a.counts().await.expect("read").waiting), (20, 20));
    // What one host ends makes room at the other one; what is stored does not until it is removed.
    let claimed = claim(&a, 100, at(1)).await.claimed;
    assert_eq!(claimed.len(), 20);
    for number in 0..12 {
        b.insert(vec![of(number)]).await.expect("six of each key fit");
    }
    assert!(matches!(b.insert(vec![of(0)]).await, Err(StoreError::KeyStorageFull { stored_bytes: 960, .. })));
    for claimed in &claimed {
        assert_eq!(a.finish(&claimed.claim, done(), None, at(2)).await, Ok(true));
        b.remove(claimed.claim.id, at(3)).await.expect("removed");
    }
    assert_eq!(b.insert(vec![of(0)]).await, Ok(()));
}

#[tokio::test]
async fn a_limit_of_running_tasks_holds_over_all_hosts() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    for store in [&a, &b] {
        store.limit_groups([("x".parse().expect("valid"), 3)].into());
    }
    let of = |group: &str| NewTask { group: group.parse().ok(), ..new_task() };
    a.insert((0..20).map(|_| of("x")).collect()).await.expect("inserted");
    eventually("b counts them", async || b.counts().await.expect("read").waiting == 20).await;
    let first = claim(&a, 1, at(1)).await.claimed.remove(0);
    assert_eq!(claim_some(&b, &plugin("a").into(), at(1)).await, 2);
    a.insert(vec![of("y")]).await.expect("inserted");
    assert_eq!(claim(&a, 100, at(1)).await.claimed.len(), 1, "that of y");
    assert!(claim(&b, 100, at(1)).await.claimed.is_empty());
    assert_eq!(a.finish(&first.claim, done(), None, at(2)).await, Ok(true));
    assert_eq!(claim_some(&b, &plugin("a").into(), at(2)).await, 1);
}

#[tokio::test]
async fn the_rate_of_a_plugin_holds_over_all_hosts() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    a.insert((0..20).map(|_| new_task()).collect()).await.expect("inserted");
    eventually("b counts them", async || b.counts().await.expect("read").waiting == 20).await;
    let rate = Some("5/m".parse().expect("a rate"));
    let quota = ClaimQuota { rate, ..ClaimQuota::from(plugin("a")) };
    let three = ClaimQuota { tasks_max: 3, ..quota.clone() };
    assert_eq!(a.claim(&[three], 100, at(10)).await.expect("claimed").claimed.len(), 3);
    // Its clock is behind.
    assert_eq!(claim_some(&b, &quota, at(5)).await, 2);
    assert!(a.claim(std::slice::from_ref(&quota), 100, at(69)).await.expect("claimed").claimed.is_empty());
    assert_eq!(claim_some(&b, &quota, at(70)).await, 5);
}

#[tokio::test]
async fn nothing_starts_at_any_host_once_a_pause_is_stored() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    insert_one(&b).await;
    a.pause(Some(plugin("a")), true).await.expect("paused");
    assert!(claim(&b, 10, at(1)).await.claimed.is_empty());
    a.pause(None, true).await.expect("paused");
    a.pause(Some(plugin("a")), false).await.expect("resumed");
    assert!(claim(&b, 10, at(1)).await.claimed.is_empty());
    b.pause(None, false).await.expect("resumed");
    assert_eq!(claim(&b, 10, at(1)).await.claimed.len(), 1);
}

#[tokio::test]
async fn limits_of_waiting_tasks_and_unique_keys_hold_over_all_hosts() {
    let schema = Schema::new();
    let (a, b) = (host_of(&schema, "a", 5), host_of(&schema, "b", 5));
    let mut stored = 0;
    for store in [&a, &b, &a, &b, &a, &b, &a] {
        stored += usize::from(store.insert(vec![new_task()]).await.is_ok());
    }
    assert_eq!(stored, 5);
    let full = b.insert(vec![new_task()]).await;
    assert_eq!(full, Err(StoreError::Full { waiting_max: 5 }));
    claim(&b, 5, at(1)).await;
    let keyed = || {
        let unique = wasmill_model::Unique {
            key: "k".parse().expect("a key"),
            on_conflict: wasmill_model::OnConflict::Refuse,
            space: wasmill_model::KeySpace::default(),
        };
        NewTask { unique: Some(unique), ..new_task() }
    };
    let (of_a, of_b) = tokio::join!(a.insert(vec![keyed()]), b.insert(vec![keyed()]));
    assert!(of_a.is_ok() != of_b.is_ok(), "{of_a:?} {of_b:?}");
}

#[tokio::test]
async fn hosts_agree_on_a_secret() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    let share = async |store: &Store, own: u8, replaced: Option<u8>| {
        let replaced = replaced.map(|byte| vec![byte]);
        store.share_secret("s", vec![own], replaced).await.expect("shared").expect("stored")
    };
    let (of_a, of_b) = tokio::join!(share(&a, 1, None), share(&b, 2, None));
    assert_eq!(of_a, of_b);
    let (first, other) = (of_a[0], 3 - of_a[0]);
    // Only who knows the one that is stored replaces it.
    assert_eq!(share(&b, 7, Some(other)).await, [first]);
    assert_eq!(share(&b, 7, Some(first)).await, [7]);
    assert_eq!(share(&a, first, Some(first)).await, [7]);
    assert_eq!(share(&a, 7, Some(7)).await, [7]);
}

#[tokio::test]
async fn a_scheduled_run_starts_once_though_all_hosts_look() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    let mut schedule = schedules::put(&a, schedules::new("s"), at(0)).await;
    for run in 1..=10 {
        let due = schedules::run_due(&schedule, 1);
        let (of_a, of_b) = tokio::join!(a.run_due(due.clone()), b.run_due(due));
        let outcomes = [of_a.expect("written"), of_b.expect("written")];
        let started = outcomes.iter().filter(|outcome| matches!(outcome, DueOutcome::Started { .. })).count();
        assert_eq!((started, outcomes.contains(&DueOutcome::Changed)), (1, true), "{outcomes:?}");
        schedule = b.schedule(schedules::name("s")).await.expect("read").expect("there");
        eventually("a counts it", async || a.counts().await.expect("read").waiting == run).await;
    }
}

#[tokio::test]
async fn events_have_the_same_numbers_at_all_hosts() {
    let schema = Schema::new();
    let a = host(&schema, "a");
    insert_one(&a).await;
    let b = host(&schema, "b");
    let (mut of_a, mut of_b) = (a.subscribe_all(), b.subscribe_all());
    let id = insert_one(&a).await;
    let other = insert_one(&b).await;
    eventually("a counts them", async || a.counts().await.expect("read").waiting == 3).await;
    let claims = claim(&a, 3, at(1)).await;
    for claimed in &claims.claimed {
        assert_eq!(a.finish(&claimed.claim, done(), None, at(2)).await, Ok(true));
    }
    a.remove(id, at(3)).await.expect("removed");
    b.remove(other, at(3)).await.expect("removed");
    let mut seen = (Vec::new(), Vec::new());
    for (subscriber, events) in [(&mut of_a, &mut seen.0), (&mut of_b, &mut seen.1)] {
        while events.last().is_none_or(|(_, task, kind)| (*task, kind) != (other, &EventKind::Deleted)) {
            let next = tokio::time::timeout(Duration::from_secs(30), subscriber.next()).await;
            let Ok(Received::Events(next)) = next else { panic!("nothing comes: {events:?}") };
            events.extend(next.into_iter().map(|event| (event.seq, event.payload.task, event.payload.kind)));
        }
    }
    assert_eq!(seen.0, seen.1);
    assert_eq!(seen.0.len(), 2 + 3 + 3 + 2);
    assert!(a.live_runs().is_empty());
}
