//! A batch of which one command fails.

use wasmill_model::{NewTask, TaskState};
use wasmill_store::{Store, StoreError};
use wasmill_store_suite::Fixture;
use wasmill_store_suite::fixture::{StoreExt, at, get, insert_one, new_task, plugin};

use crate::cluster::Schema;

/// Refuses tasks of the plugin `poison`.
const POISON: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'this row is on fire'; END $$;
    CREATE TRIGGER poison BEFORE INSERT ON task FOR EACH ROW WHEN (NEW.plugin = 'poison') EXECUTE FUNCTION refuse()";
const STALLED: &str = "
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'wasmill writer%'
        AND query LIKE '%INSERT INTO task%' AND pg_blocking_pids(pid) = ARRAY[$1::int]";

fn poison() -> NewTask {
    NewTask { plugin: plugin("poison"), ..new_task() }
}

/// Stores a task while the database makes it wait, so that what `others` asks falls into one batch.
async fn in_one_batch<T>(schema: &Schema, store: &Store, others: impl Future<Output = T>) -> T {
    let other = schema.connect().await;
    other.batch_execute("BEGIN; LOCK TABLE task IN EXCLUSIVE MODE").await.expect("locked");
    let pid: i32 = other.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    let first = store.clone();
    let first = tokio::spawn(async move { insert_one(&first).await });
    // Not within the transaction, which sees the sessions as they were at its first look.
    let watcher = schema.connect().await;
    let is_stalled = async || watcher.query_one(STALLED, &[&pid]).await.expect("a row").get::<_, i64>(0) == 1;
    while !is_stalled().await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let freed = async {
        // `others` has been polled before.
        other.batch_execute("COMMIT").await.expect("unlocked");
    };
    let (answers, ()) = tokio::join!(others, freed);
    first.await.expect("it is stored");
    answers
}

#[tokio::test]
async fn a_claim_beside_a_failing_command_is_made_once() {
    let schema = Schema::new();
    let store = schema.open();
    schema.connect().await.batch_execute(POISON).await.expect("poisoned");
    for is_first in [true, false] {
        let plugins = [plugin("a")];
        let (claims, refused) = in_one_batch(&schema, &store, async {
            let (claim, poison) = (store.claim(&plugins, 9, at(1)), store.insert(vec![poison()]));
            if is_first {
                tokio::join!(claim, poison)
            } else {
                let (poison, claim) = tokio::join!(poison, claim);
                (claim, poison)
            }
        })
        .await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
        let claimed = claims.expect("claimed").claimed;
        assert_eq!(claimed.len(), 1);
        // A batch behind it puts nothing back.
        insert_one(&store).await;
        let task = get(&store, claimed[0].claim.id).await;
        assert_eq!((task.state, task.attempt), (TaskState::Running, 1));
        store.claim(&plugins, 9, at(2)).await.expect("claimed");
    }
}

#[tokio::test]
async fn a_claim_between_two_submits_counts_each_task_once() {
    let schema = Schema::new();
    let store = schema.open();
    let plugins = [plugin("a")];
    let (_, claims, _) = in_one_batch(&schema, &store, async {
        tokio::join!(insert_one(&store), store.claim(&plugins, 9, at(1)), insert_one(&store))
    })
    .await;
    assert_eq!(claims.expect("claimed").claimed.len(), 3);
    let counts = store.counts().await.expect("read");
    assert_eq!((counts.waiting, counts.running), (0, 3));
}
