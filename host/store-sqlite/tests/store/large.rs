//! A database of a million tasks: lists have no gap and no repeat while tasks come, go and are forgotten.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use wasmill_model::{NewTask, TaskId, TaskState};
use wasmill_store::{Counts, Cursor, Filter, FinishedCounts, ListQuery, PruneCursor, Store};
use wasmill_store_suite::fixture::{Fixture, StoreExt, at, new_task, plugin, since};

use crate::folder::Folder;

const ROWS: u64 = 1_000_000;

/// Stands in for days of work. Of ten tasks four wait, four completed, one failed and one was cancelled; each second
/// is of plugin `b`, each thousandth has a tag, and the ids begin with their place.
const FILL: &str = "
    PRAGMA synchronous = OFF;
    BEGIN;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?rows)
    INSERT INTO task (seq, id, plugin, state, created_at, ready_at, sort_key, finished_at, attempt, attempts_max,
        claim_token, timeout_ms, result, tags)
    SELECT i, unhex(printf('%08x%024x', i, i)), iif(i / 10 % 2, 'b', 'a'),
        iif(i % 10 < 4, 'available', iif(i % 10 < 8, 'completed', iif(i % 10 = 8, 'failed', 'cancelled'))),
        1700000000000000000 + i, 1700000000000000000 + i, 1700000000000000000 + i, iif(i % 10 < 4, NULL, 1700000000000000000 + i),
        i % 10 >= 4, 1, i % 10 >= 4, 600000, iif(i % 10 BETWEEN 4 AND 7, 'io work result = 1', NULL),
        iif(i % 1000 = 8, '[\"t\"]', NULL)
    FROM n;
    INSERT INTO tag (name, seq) SELECT 't', seq FROM task WHERE tags IS NOT NULL;
    INSERT INTO finished_count (plugin, state, tasks)
    SELECT plugin, state, count(*) FROM task WHERE finished_at IS NOT NULL GROUP BY 1, 2;
    COMMIT;";

fn connect(folder: &Folder) -> Connection {
    let path: &Path = folder.path();
    Connection::open(path.join("wasmill.db")).expect("opened")
}

/// Follows the pages to the end.
async fn found(store: &Store, filter: &Filter) -> Vec<TaskId> {
    let (mut all, mut before): (Vec<_>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let (ids, next) = store.find(filter.clone(), before, 10_000).await.expect("found");
        all.extend(ids);
        before = next;
        if before.is_none() {
            return all;
        }
    }
}

/// The filters, and what they mean in SQL.
fn filters() -> Vec<(Filter, &'static str)> {
    let of = |states: &[TaskState]| Filter { states: states.to_vec(), ..Filter::default() };
    let tagged = Filter { tags: vec!["t".parse().expect("a tag")], ..Filter::default() };
    let a = || Some(plugin("a"));
    let from = Some(at(0) + std::time::Duration::from_nanos(ROWS / 2));
    vec![
        (Filter::default(), "1"),
        (of(&[TaskState::Available]), "state = 'available'"),
        (Filter { plugin: a(), ..of(&[TaskState::Completed]) }, "state = 'completed' AND plugin = 'a'"),
        (of(&[TaskState::Failed, TaskState::Cancelled]), "state IN ('failed', 'cancelled')"),
        (Filter { plugin: a(), ..tagged.clone() }, "tags IS NOT NULL AND plugin = 'a'"),
        (Filter { created_after: from, ..of(&[TaskState::Failed]) }, "state = 'failed' AND seq >= 500000"),
        // That few are found by their ids alone, and that many are not.
        (Filter { id: "0009".parse().ok(), ..tagged }, "tags IS NOT NULL AND seq / 65536 = 9"),
        (
            Filter { id: "0007a".parse().ok(), ..of(&[TaskState::Cancelled]) },
            "state = 'cancelled' AND seq / 4096 = 122",
        ),
        (
            Filter { id: "0007".parse().ok(), plugin: a(), ..Filter::default() },
            "plugin = 'a' AND seq / 65536 = 7",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_million_tasks_are_listed_without_gaps_or_repeats_under_writes() {
    let folder = Folder::new();
    folder.open().close().await;
    connect(&folder).execute_batch(&FILL.replace("?rows", &ROWS.to_string())).expect("filled");
    let (store, recovery) = folder.open_at(2 * ROWS, at(1));
    assert_eq!(recovery.waiting, ROWS * 4 / 10);
    let ended = store.plugin_counts().iter().fold(FinishedCounts::default(), |sum, (_, tally)| {
        let FinishedCounts { completed, failed, cancelled } = tally.stored();
        let (completed, failed) = (sum.completed + completed, sum.failed + failed);
        FinishedCounts { completed, failed, cancelled: sum.cancelled + cancelled }
    });
    assert_eq!(ended, FinishedCounts { completed: ROWS * 4 / 10, failed: ROWS / 10, cancelled: ROWS / 10 });

    let done = Arc::new(AtomicBool::new(false));
    let busy = tokio::spawn(come_and_go(store.clone(), Arc::clone(&done)));
    for (filter, sql) in filters() {
        let first_new = newest(&store).await;
        let ids = found(&store, &filter).await;
        let set: HashSet<_> = ids.iter().copied().collect();
        assert_eq!(set.len(), ids.len(), "{sql}: one is there twice");
        // Those that were there all the time: they were there before, and are there now.
        let connection = connect(&folder);
        let sql = format!("SELECT id FROM task WHERE {sql} AND seq <= (SELECT seq FROM task WHERE id = ?1)");
        let mut statement = connection.prepare(&sql).expect("sound");
        let rows =
            statement.query_map([first_new.as_bytes()], |row| row.get::<_, [u8; 16]>(0)).expect("read");
        let mut expected = 0;
        for row in rows {
            assert!(set.contains(&TaskId::from_bytes(row.expect("read"))), "{sql}: one is missing");
            expected += 1;
        }
        assert!(expected > 0 && expected <= ids.len(), "{sql}: {expected} of {}", ids.len());
    }
    done.store(true, Ordering::SeqCst);
    let (came, went) = busy.await.expect("no panic");
    assert!(came > 100 && went > 1_000, "{came} came, {went} went");
    let Counts { waiting, running } = store.counts().await.expect("counted");
    let rows = connect(&folder)
        .query_one("SELECT count(*) FROM task", [], |row| row.get::<_, i64>(0).map(i64::cast_unsigned));
    assert_eq!((rows, running), (Ok(ROWS + came - went), 0));
    assert!(waiting >= ROWS * 4 / 10);
}

/// Returns a task that is kept, at the front of the list.
async fn newest(store: &Store) -> TaskId {
    let keeper = NewTask { plugin: plugin("keep"), ..new_task() };
    let id = keeper.id;
    store.insert(vec![keeper]).await.expect("inserted");
    let page = store.list(ListQuery { limit: 100, before: None, filter: Filter::default() }).await;
    assert!(page.expect("listed").tasks.iter().any(|task| task.id == id));
    id
}

/// Inserts, deletes and forgets until `done`; returns how many tasks were inserted and removed.
async fn come_and_go(store: Store, done: Arc<AtomicBool>) -> (u64, u64) {
    // The newest that `newest` stores stay.
    let (mut came, mut went) = (filters().len() as u64, 0);
    while !done.load(Ordering::SeqCst) {
        let tasks: Vec<_> = (0..20).map(|_| new_task()).collect();
        let ids: Vec<_> = tasks.iter().step_by(2).map(|task| task.id).collect();
        came += tasks.len() as u64;
        store.insert(tasks).await.expect("inserted");
        for id in ids {
            let removed = store.remove(id, at(2)).await.expect("removed");
            went += u64::from(matches!(removed, wasmill_store::RemoveOutcome::Removed { .. }));
        }
        // A step at a time: there are tasks to be found until the end.
        let excess = store.excess(since(1), PruneCursor::default(), 200).await.expect("read");
        if let Some(step) = excess.steps.into_iter().next() {
            went += store.prune(step).await.expect("pruned").tasks;
        }
        tokio::task::yield_now().await;
    }
    (came, went)
}
