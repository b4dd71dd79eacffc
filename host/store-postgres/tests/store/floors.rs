//! What claims have noted of how far queues are claimed.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;
use wasmill_store::Store;
use wasmill_store_postgres::PostgresConfig;
use wasmill_store_suite::Fixture;
use wasmill_store_suite::fixture::{at, claim, ids, insert_one};

use crate::cluster::{Schema, start};
use crate::hosts::LEASE;

const CHECK: Duration = Duration::from_millis(50);

fn open(schema: &Schema, floor_min: u64) -> Store {
    let config = schema.config(&schema.url(), "one");
    start(PostgresConfig { floor_min, floor_check: CHECK, lease: LEASE, ..config }, at(0)).0
}

async fn floors(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM queue_floor", &[]).await.expect("read").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_before_the_floor_of_its_queue_is_found_after_a_while() {
    let schema = Schema::new();
    let store = open(&schema, 0);
    insert_one(&store).await;
    insert_one(&store).await;
    assert_eq!(claim(&store, 1, at(5)).await.claimed.len(), 1);
    let client = schema.connect().await;
    assert_eq!(floors(&client).await, 1);
    // As a host of an earlier version does: it knows of no floors.
    let late = insert_one(&store).await;
    let moved = "UPDATE task SET sort_key = sort_key - 1000000000 WHERE seq = (SELECT max(seq) FROM task)";
    assert_eq!(client.execute(moved, &[]).await.expect("moved"), 1);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut claimed = Vec::new();
    while !claimed.contains(&late) {
        assert!(Instant::now() < deadline, "it is not found");
        sleep(CHECK).await;
        claimed.extend(ids(&claim(&store, 1, at(5)).await));
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floors_are_forgotten_when_nobody_holds_a_snapshot() {
    let schema = Schema::new();
    let store = open(&schema, 1_000);
    let client = schema.connect().await;
    insert_one(&store).await;
    assert_eq!(claim(&store, 1, at(5)).await.claimed.len(), 1);
    assert_eq!(floors(&client).await, 0, "nobody holds a snapshot");
    client.execute("INSERT INTO queue_floor VALUES ('a', '', 1, 1)", &[]).await.expect("stored");
    let deadline = Instant::now() + Duration::from_secs(30);
    while floors(&client).await > 0 {
        assert!(Instant::now() < deadline, "it is not forgotten");
        sleep(CHECK).await;
    }
    store.close().await;
}
