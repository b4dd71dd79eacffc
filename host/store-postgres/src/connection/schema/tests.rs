//! Steps of the schema, as those of later versions will be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmill_model::{Clock, NewTask, SystemClock, Transition};
use wasmill_store::{ClaimQuota, Store, StoreError};

use super::*;
use crate::address::Address;
use crate::connection::server::{Purpose, Server};
use crate::postgres_server::PostgresServer;
use crate::{Database, Place, PostgresConfig};

const SCHEMA: &str = "wasmill";

/// A step as a later version may have it: it adds, and takes a while.
const LATER: &str = "
    ALTER TABLE task ADD COLUMN later text NOT NULL DEFAULT 'x', ADD COLUMN later_too bigint;
    ALTER TABLE host ADD COLUMN later bigint NOT NULL DEFAULT 0;
    CREATE TABLE later (id bigint PRIMARY KEY);
    CREATE INDEX task_later ON task (later) WHERE finished_at IS NULL;
    SELECT pg_sleep(0.2)";

/// An empty database, and a connection to it.
async fn connect(database: &str) -> Option<(Address, Arc<Connection>)> {
    let address = Address::new(&PostgresServer::shared()?.create(database), None, None).expect("a URL");
    let server = Server::new(address.clone(), SCHEMA);
    Some((address, server.connect(Purpose::Write).await.expect("connected")))
}

/// Opens the store of a host.
fn host(address: &Address, place: &str) -> std::result::Result<Store, StoreError> {
    let config = PostgresConfig::new(address.clone(), Place::named(place));
    let open = move || Database::open(config)?.start(SystemClock.now()).map(|(store, _)| store);
    // On a thread without a runtime, since the test has one.
    std::thread::spawn(open).join().expect("no panic")
}

/// Submits, runs and ends a task.
async fn run_one(submits: &Store, runs: &Store) {
    let plugin = "a".parse().expect("a name");
    let task = NewTask::new(plugin, SystemClock.now(), Duration::from_secs(60));
    submits.submit(vec![task], None).await.expect("stored");
    let quota = vec![ClaimQuota::from("a".parse::<wasmill_model::PluginName>().expect("a name"))];
    loop {
        let claims = runs.claim(quota.clone(), 1, u64::MAX, SystemClock.now()).await.expect("claimed");
        if let Some(claimed) = claims.claimed.into_iter().next() {
            let done = Transition::Completed("1".into());
            assert_eq!(runs.finish(&claimed.claim, done, None, SystemClock.now()).await, Ok(true));
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_added_while_hosts_of_the_version_before_write() {
    let Some((address, connection)) = connect("added").await else { return };
    assert_eq!(migrate(&connection, SCHEMA).await.expect("created"), 0);
    let a = Arc::new(host(&address, "a").expect("open"));
    let b = host(&address, "b").expect("open");
    let (runs, is_over) = (Arc::clone(&a), Arc::new(AtomicBool::new(false)));
    let over = Arc::clone(&is_over);
    let writes = tokio::spawn(async move {
        let mut count = 0;
        while !over.load(Ordering::SeqCst) {
            run_one(&runs, &runs).await;
            count += 1;
        }
        count
    });
    let steps = [STEPS.as_slice(), &[LATER]].concat();
    assert_eq!(migrate_by(&connection, SCHEMA, &steps).await.expect("migrated"), VERSION);
    is_over.store(true, Ordering::SeqCst);
    assert!(writes.await.expect("no panic") > 0);
    let found: i64 = connection.one(FOUND, &[]).await.expect("read").get(0);
    assert_eq!(found, VERSION + 1);
    run_one(&a, &b).await;
    assert_eq!(
        migrate_by(&connection, SCHEMA, &steps).await.map_err(|error| error.to_string()),
        Err(format!(
            "schema {SCHEMA} has version {}, and this wasmill knows up to {VERSION}; start a newer wasmill",
            VERSION + 1
        ))
    );
    connection.batch("ROLLBACK").await.expect("rolled back");
    let refused = host(&address, "c").expect_err("it is of the version before");
    assert!(refused.to_string().contains("start a newer wasmill"), "{refused}");
    run_one(&b, &a).await;
}

#[tokio::test]
async fn a_step_that_fails_changes_nothing() {
    let Some((_, connection)) = connect("failed_step").await else { return };
    migrate(&connection, SCHEMA).await.expect("created");
    let steps = [STEPS.as_slice(), &["CREATE TABLE later (id bigint); SELECT 1 / 0"]].concat();
    migrate_by(&connection, SCHEMA, &steps).await.expect_err("it divides by zero");
    connection.batch("ROLLBACK").await.expect("rolled back");
    check(&connection, SCHEMA).await.expect("as before");
    connection.batch("SELECT FROM later").await.expect_err("no such table");
}

#[tokio::test]
async fn tables_from_before_the_first_release_are_refused_with_what_to_do() {
    let Some((address, connection)) = connect("unreleased").await else { return };
    migrate(&connection, SCHEMA).await.expect("created");
    for version in [1, 7, FIRST - 1] {
        connection.batch(&format!("UPDATE schema_version SET version = {version}")).await.expect("set");
        let refused = migrate(&connection, SCHEMA).await.expect_err("refused").to_string();
        connection.batch("ROLLBACK").await.expect("rolled back");
        assert!(
            refused.contains("DROP SCHEMA wasmill CASCADE, and run wasmill database migrate"),
            "{refused}"
        );
        let refused = host(&address, "a").expect_err("refused").to_string();
        assert!(
            refused.contains(&format!("has version {version}, of a wasmill before the first release")),
            "{refused}"
        );
        let found: i64 = connection.one(FOUND, &[]).await.expect("read").get(0);
        assert_eq!(found, version);
    }
}
