//! What a host does when the primary waits for its standby, when a failover has lost transactions, and which of several
//! servers it uses.

use std::time::{Duration, Instant};

use wasmill_model::{TaskState, Transition};
use wasmill_store::{Store, StoreError};
use wasmill_store_postgres::{Address, Database, Place, PostgresConfig};
use wasmill_store_suite::fixture::{StoreExt, at, claim, claim_one, get, insert_one, new_task};

use crate::cluster::start;
use crate::hosts::eventually;
use crate::postgres::PostgresServer;

/// How long a lease is valid in these tests.
const LEASE: Duration = Duration::from_secs(3);

/// The processes whose commits wait for a standby.
const WAITING: &str = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

/// Returns how a host at a place uses the servers of this URL.
fn config(url: &str, place: &str) -> PostgresConfig {
    let address = Address::new(url, None, None).expect("a URL");
    PostgresConfig { migrate: true, lease: LEASE, ..PostgresConfig::new(address, Place::named(place)) }
}

fn host(server: &PostgresServer, place: &str) -> Store {
    start(config(&server.url("postgres"), place), at(0)).0
}

/// Makes commits wait for a standby that never comes, or for none.
fn set_standby(server: &PostgresServer, name: &str) {
    server.set("synchronous_standby_names", name);
}

/// Cancels every wait for a standby, once the write connection waits, as an administrator does whose statements hang.
async fn cancel_waits(server: &PostgresServer) {
    let is_waiting = format!("SELECT count(*) {WAITING} AND application_name LIKE 'wasmill writer%'");
    eventually("the commit waits for a standby", async || server.run("postgres", &is_waiting) == "1").await;
    server.run("postgres", &format!("SELECT count(pg_cancel_backend(pid)) {WAITING}"));
}

/// Returns how many tasks wait, as the writer counts them.
fn waiting(store: &Store) -> u64 {
    store.plugin_counts().iter().map(|(_, counts)| counts.waiting()).sum()
}

#[tokio::test]
async fn a_commit_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged() {
    let Some(server) = PostgresServer::start("") else { return };
    let store = host(&server, "a");
    insert_one(&store).await;
    // The standby never comes: the outcome is unknown, and the client gets that answer.
    set_standby(&server, "nobody");
    let of_task = store.clone();
    let submit = tokio::spawn(async move { of_task.insert(vec![new_task()]).await });
    cancel_waits(&server).await;
    let refused = submit.await.expect("no panic").expect_err("no standby has it");
    assert!(
        matches!(&refused, StoreError::Unavailable { message } if message.contains("unknown")),
        "{refused}"
    );
    set_standby(&server, "");
    eventually("it is counted once", async || waiting(&store) == 2).await;
    // The standby is back in time: the task is acknowledged, and stored once.
    set_standby(&server, "nobody");
    let of_task = store.clone();
    let submit = tokio::spawn(async move { of_task.insert(vec![new_task()]).await });
    cancel_waits(&server).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!submit.is_finished(), "it was acknowledged before a standby had it");
    set_standby(&server, "");
    submit.await.expect("no panic").expect("stored");
    assert_eq!(server.run("postgres", "SELECT count(*) FROM wasmill.task"), "3");
    assert_eq!(waiting(&store), 3);
}

#[tokio::test]
async fn a_host_freezes_while_the_standby_is_away_and_thaws_when_it_is_back() {
    let Some(server) = PostgresServer::start("") else { return };
    let (store, other) = (host(&server, "a"), host(&server, "b"));
    let id = insert_one(&store).await;
    let claimed = claim_one(&store, at(1)).await;
    let (term, began) = (store.lease().term(), Instant::now());
    set_standby(&server, "nobody");
    eventually("its lease runs out", async || !store.lease().is_valid(term)).await;
    let refused = store.insert(vec![new_task()]).await.expect_err("nothing can be stored");
    assert!(matches!(&refused, StoreError::Unavailable { .. }), "{refused}");
    assert_eq!(get(&store, id).await.state, TaskState::Running, "reads work");
    // Longer than after which a silent host is taken for dead: the others cannot renew either.
    tokio::time::sleep((LEASE * 2).saturating_sub(began.elapsed())).await;
    set_standby(&server, "");
    for store in [&store, &other] {
        eventually("its lease is valid again", async || store.lease().is_valid(store.lease().term())).await;
    }
    assert_eq!(store.lease().term(), term, "nobody has taken it for dead");
    let result = Transition::Completed("1".into());
    assert_eq!(store.finish(&claimed.claim, result, None, at(2)).await, Ok(true));
    let task = get(&other, id).await;
    assert_eq!((task.state, task.attempt, task.host_crashes), (TaskState::Completed, 1, 0));
}

#[tokio::test]
async fn a_host_registers_anew_after_a_failover_that_has_lost_what_it_was_told_is_stored() {
    let Some(server) = PostgresServer::start("") else { return };
    let store = host(&server, "a");
    let kept = insert_one(&store).await;
    server.copy();
    eventually("it writes again", async || store.probe().await.is_ok()).await;
    let lost = insert_one(&store).await;
    let claimed = claim(&store, 2, at(1)).await.claimed;
    assert_eq!(claimed.len(), 2);
    let term = store.lease().term();
    server.go_back();
    eventually("it registers anew", async || store.lease().is_valid(store.lease().term())).await;
    eventually("under another id", async || store.lease().term() != term).await;
    for claimed in &claimed {
        let late = store.finish(&claimed.claim, Transition::Completed("1".into()), None, at(2)).await;
        assert_eq!(late, Ok(false), "a run that the database has forgotten ends nothing");
    }
    assert_eq!(store.get(lost).await, Ok(None));
    let task = get(&store, kept).await;
    assert_eq!((task.state, task.attempt), (TaskState::Available, 0));
    let again = claim_one(&store, at(3)).await;
    assert_eq!(again.claim.id, kept);
    assert_eq!(store.finish(&again.claim, Transition::Completed("2".into()), None, at(4)).await, Ok(true));
    assert_eq!(waiting(&store), 0);
}

#[tokio::test]
async fn of_several_servers_the_one_that_accepts_writes_is_used() {
    let Some(server) = PostgresServer::start("") else { return };
    let Some(standby) = PostgresServer::start("default_transaction_read_only = on") else { return };
    let folder = |server: &PostgresServer| server.folder().display().to_string().replace('/', "%2F");
    let none = tempfile::tempdir().expect("a folder");
    let none = none.path().display().to_string().replace('/', "%2F");
    let url = format!("postgres://wasmill@{},{none},{}/postgres", folder(&standby), folder(&server));
    let store = start(config(&url, "a"), at(0)).0;
    insert_one(&store).await;
    assert_eq!(server.run("postgres", "SELECT count(*) FROM wasmill.task"), "1");
    let open = || Database::open(config(&standby.url("postgres"), "b"));
    let refused =
        std::thread::scope(|scope| scope.spawn(open).join().expect("no panic")).expect_err("read only");
    assert!(refused.to_string().contains("it is a standby, or set to read only"), "{refused}");
    // The other one accepts writes from now on: where a transaction was stored is where the next one goes.
    server.set("default_transaction_read_only", "on");
    standby.set("default_transaction_read_only", "off");
    server.run("postgres", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'wasmill%'");
    let refused = store.insert(vec![new_task()]).await.expect_err("it has no tables");
    assert!(refused.to_string().contains("wasmill"), "{refused}");
}
