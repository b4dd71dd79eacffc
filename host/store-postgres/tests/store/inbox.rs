//! Tasks that clients of the database submit within their own transactions.

use std::collections::HashSet;

use tokio_postgres::Client;
use wasmill_model::{
    Cause, KeySpace, NewDependencies, NewTask, OnConflict, OnFailure, TaskId, TaskState, Unique,
};
use wasmill_store::{Filter, InboxOutcome, InboxRequest, InboxTask, Store};
use wasmill_store_suite::Fixture;
use wasmill_store_suite::fixture::{at, claim, get, insert_one, new_task, plugin};

use crate::cluster::{Schema, start};
use crate::hosts::{eventually, host};
use crate::proxy::{Mode, Proxy};

const SUBMIT: &str = "SELECT submit('a', '{\"n\": 1}', '{\"priority\": 1}')";

/// A task for each row, as the scheduler makes them.
fn tasks(requests: &[InboxRequest]) -> Vec<InboxTask> {
    let task = |request: &InboxRequest| InboxTask {
        seq: request.seq,
        task: NewTask { id: request.id, input: request.input.clone(), ..new_task() },
        refused: None,
    };
    requests.iter().map(task).collect()
}

async fn rows(store: &Store) -> Vec<InboxRequest> {
    store.inbox(Vec::new()).await.expect("read")
}

async fn ids(store: &Store) -> HashSet<TaskId> {
    store.find(Filter::default(), None, 10_000).await.expect("read").0.into_iter().collect()
}

async fn submit_many(client: &Client, count: i64) {
    let sql = "SELECT count(submit('a', to_jsonb(n))) FROM generate_series(1, $1::bigint) AS n";
    client.query_one(sql, &[&count]).await.expect("inserted");
}

#[tokio::test]
async fn a_row_is_a_task_once_its_transaction_has_committed() {
    let schema = Schema::new();
    let store = schema.open();
    let (client, other) = (schema.connect().await, schema.connect().await);
    client.batch_execute(&format!("BEGIN; {SUBMIT}")).await.expect("inserted");
    other.batch_execute(&format!("BEGIN; {SUBMIT}; ROLLBACK")).await.expect("rolled back");
    assert_eq!(rows(&store).await, []);
    client.batch_execute("COMMIT").await.expect("committed");
    store.wait_for_inbox().await;
    let found = rows(&store).await;
    assert_eq!(found.len(), 1);
    let InboxRequest { id, plugin, input, options, .. } = &found[0];
    assert_eq!(
        (plugin.as_str(), input.as_deref(), &**options),
        ("a", Some("{\"n\": 1}"), "{\"priority\": 1}")
    );
    assert_eq!(id.as_bytes()[6] >> 4, 7, "{id} is a UUID of version 7");
    assert_eq!(store.inbox(vec!["a".to_owned()]).await, Ok(Vec::new()));
    assert_eq!(store.inbox_backlog().await.expect("read").rows, 1);
    let outcomes = store.take_inbox(tasks(&found), at(1)).await;
    assert_eq!(outcomes, Ok(vec![InboxOutcome::Stored]));
    assert_eq!(get(&store, *id).await.state, TaskState::Available);
    assert_eq!(store.take_inbox(tasks(&found), at(1)).await, Ok(vec![InboxOutcome::Gone]));
    assert_eq!((rows(&store).await.len(), ids(&store).await.len()), (0, 1));
    assert_eq!(claim(&store, 9, at(2)).await.claimed[0].input.as_deref(), Some("{\"n\": 1}"));
    assert_eq!(store.counts().await.expect("read").running, 1);
}

#[tokio::test]
async fn two_hosts_that_take_the_same_rows_make_each_a_task_once() {
    let schema = Schema::new();
    let (a, b) = (host(&schema, "a"), host(&schema, "b"));
    submit_many(&schema.connect().await, 700).await;
    let mut stored = 0;
    loop {
        let (of_a, of_b) = tokio::join!(rows(&a), rows(&b));
        if of_a.is_empty() && of_b.is_empty() {
            break;
        }
        assert!(of_a.len() <= 500);
        let (of_a, of_b) = tokio::join!(a.take_inbox(tasks(&of_a), at(1)), b.take_inbox(tasks(&of_b), at(1)));
        let outcomes = [of_a.expect("taken"), of_b.expect("taken")].concat();
        stored += outcomes.iter().filter(|outcome| **outcome == InboxOutcome::Stored).count();
    }
    assert_eq!((stored, ids(&a).await.len()), (700, 700));
    eventually("b counts them", async || b.counts().await.expect("read").waiting == 700).await;
}

#[tokio::test]
async fn a_commit_whose_outcome_is_unknown_makes_no_task_twice() {
    let schema = Schema::new();
    let proxy = Proxy::start(schema.folder());
    let store = start(schema.config(&proxy.url(), "one"), at(0)).0;
    let client = schema.connect().await;
    for mode in [Mode::CutBeforeCommit, Mode::CutAfterCommit] {
        submit_many(&client, 20).await;
        let found = tasks(&rows(&store).await);
        proxy.set(mode);
        let outcomes = store.take_inbox(found.clone(), at(1)).await.expect("taken");
        assert!(outcomes.iter().all(|outcome| *outcome == InboxOutcome::Stored), "{outcomes:?}");
        let again = store.take_inbox(found, at(1)).await.expect("taken");
        assert!(again.iter().all(|outcome| *outcome == InboxOutcome::Gone), "{again:?}");
    }
    submit_many(&client, 20).await;
    let found = tasks(&rows(&store).await);
    proxy.set(Mode::CutAfterCommitAndRefuse);
    store.take_inbox(found, at(1)).await.expect_err("nobody knows");
    proxy.set(Mode::Pass);
    eventually("the database is back", async || store.probe().await.is_ok()).await;
    let left = tasks(&rows(&store).await);
    store.take_inbox(left, at(1)).await.expect("taken");
    assert_eq!((proxy.cuts(), ids(&store).await.len(), rows(&store).await.len()), (3, 60, 0));
    assert_eq!(store.plugin_counts()[0].1.waiting(), 60);
}

#[tokio::test]
async fn what_is_wrong_with_a_row_is_the_failure_of_its_task() {
    let schema = Schema::new();
    let store = schema.open();
    let holder = insert_one(&store).await;
    submit_many(&schema.connect().await, 6).await;
    let found = rows(&store).await;
    let mut taken = tasks(&found);
    let unique = |on_conflict| {
        Some(Unique { key: "k".parse().expect("a key"), on_conflict, space: KeySpace::default() })
    };
    taken[0].refused = Some("the input is wrong".to_owned());
    taken[1].task.unique = unique(OnConflict::Refuse);
    taken[2].task.unique = unique(OnConflict::Refuse);
    taken[3].task.unique = unique(OnConflict::Return);
    let dependencies = |id| {
        Some(NewDependencies {
            on: vec![id],
            on_failure: OnFailure::Cancel,
            pass_results: false,
            files_from: None,
        })
    };
    taken[4].task.dependencies = dependencies(TaskId::new());
    taken[5].task.id = holder;
    let outcomes = store.take_inbox(taken, at(1)).await.expect("taken");
    assert_eq!(outcomes[1], InboxOutcome::Stored);
    assert_eq!(outcomes[3], InboxOutcome::Held(found[1].id));
    for (at, words) in [
        (0, "the input is wrong"),
        (2, "holds the unique key"),
        (4, "there is no task"),
        (5, "stored already"),
    ] {
        assert!(matches!(&outcomes[at], InboxOutcome::Refused(why) if why.contains(words)), "{outcomes:?}");
    }
    let task = get(&store, found[0].id).await;
    let failure = task.failure.expect("it failed");
    assert_eq!(
        (task.state, failure.cause, &*failure.message),
        (TaskState::Failed, Cause::InvalidRequest, "the input is wrong")
    );
    assert_eq!((task.attempt, task.started_at, task.input_bytes > 0), (0, None, true));
    assert_eq!(get(&store, holder).await.state, TaskState::Available);
    assert_eq!((rows(&store).await.len(), ids(&store).await.len()), (0, 6));
    let counts = store.plugin_counts()[0].1;
    assert_eq!((counts.failed, counts.available), (4, 2));
    // What depends on a task that was refused is cancelled, as behind any that failed.
    submit_many(&schema.connect().await, 1).await;
    let mut next = tasks(&rows(&store).await);
    next[0].task.dependencies = dependencies(found[0].id);
    let id = next[0].task.id;
    assert_eq!(store.take_inbox(next, at(2)).await, Ok(vec![InboxOutcome::Stored]));
    assert_eq!(get(&store, id).await.state, TaskState::Cancelled);
}

#[tokio::test]
async fn rows_wait_while_the_queue_is_full() {
    let schema = Schema::new();
    let store = schema.open_at(3, at(0)).0;
    submit_many(&schema.connect().await, 5).await;
    let outcomes = store.take_inbox(tasks(&rows(&store).await), at(1)).await.expect("taken");
    let full = outcomes.iter().filter(|outcome| **outcome == InboxOutcome::Full).count();
    assert_eq!((full, rows(&store).await.len()), (2, 2));
    claim(&store, 3, at(1)).await;
    let mut left = tasks(&rows(&store).await);
    left[0].task.waiting_max = Some(1);
    left[1].task.waiting_max = Some(1);
    let outcomes = store.take_inbox(left, at(1)).await;
    assert_eq!(outcomes, Ok(vec![InboxOutcome::Stored, InboxOutcome::Full]));
    assert_eq!(rows(&store).await.len(), 1);
}

#[tokio::test]
async fn large_inputs_are_taken_a_few_at_a_time() {
    let schema = Schema::new();
    let store = schema.open();
    let client = schema.connect().await;
    client
        .batch_execute("SELECT submit('a', to_jsonb(repeat('x', 3000000))) FROM generate_series(1, 3)")
        .await
        .expect("inserted");
    assert_eq!(rows(&store).await.len(), 1);
    let large = client.batch_execute("SELECT submit('a', to_jsonb(repeat('x', 17000000)))").await;
    assert!(large.is_err(), "more than 16 MiB");
    for wrong in ["submit('A')", "submit(NULL)", "submit('a', '1', '[]')", "submit('../a')"] {
        assert!(client.batch_execute(&format!("SELECT {wrong}")).await.is_err(), "{wrong}");
    }
    client.batch_execute("SELECT submit('a', NULL, NULL)").await.expect("no options");
}

#[tokio::test]
async fn a_role_may_submit_and_nothing_else() {
    let schema = Schema::new();
    let store = schema.open();
    let client = schema.connect().await;
    let grants = "
        CREATE ROLE shop; CREATE ROLE orm;
        DO $$ BEGIN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO shop, orm', current_schema);
        END $$;
        GRANT EXECUTE ON FUNCTION submit TO shop;
        GRANT INSERT (id, plugin, input, options) ON inbox TO orm;
        SET ROLE shop";
    client.batch_execute(grants).await.expect("granted");
    client.batch_execute(SUBMIT).await.expect("inserted");
    // A table of that name in the session is not the inbox.
    client.batch_execute(&format!("CREATE TEMP TABLE inbox (plugin text, input jsonb, options jsonb, id uuid); {SUBMIT}; SELECT 1 / (1 - count(*)) FROM pg_temp.inbox; DROP TABLE pg_temp.inbox")).await.expect("inserted");
    let others = [
        "SELECT * FROM inbox",
        "INSERT INTO inbox (plugin) VALUES ('a')",
        "SELECT * FROM task",
        "DELETE FROM inbox",
    ];
    for other in others {
        assert!(client.batch_execute(other).await.is_err(), "{other}");
    }
    client
        .batch_execute(
            "RESET ROLE; SET ROLE orm; INSERT INTO inbox (id, plugin) VALUES (gen_random_uuid(), 'a')",
        )
        .await
        .expect("inserted");
    for other in ["SELECT id FROM inbox", SUBMIT, "INSERT INTO inbox (plugin, at) VALUES ('a', now())"] {
        assert!(client.batch_execute(other).await.is_err(), "{other}");
    }
    assert_eq!(rows(&store).await.len(), 3);
    assert_eq!(plugin("a"), new_task().plugin);
}
