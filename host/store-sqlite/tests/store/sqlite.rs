//! SQLite: the common suite, and what only this backend promises.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::task::{Context, Waker};

use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use wasmill_model::{NewDependencies, NewTask, OnFailure, TaskState, Transition};
use wasmill_store::StoreError;
use wasmill_store_sqlite::{Database, SqliteConfig};
use wasmill_store_suite::fixture::{
    Fixture, StoreExt, at, claim, claim_one, get, insert_one, new_task, plugin,
};

use crate::folder::Folder;

fn refusal(folder: &Folder) -> StoreError {
    Database::open(folder.config())
        .and_then(|database| database.start(at(0)))
        .expect_err("the store does not open")
}

#[test]
fn a_second_open_is_refused_until_the_first_is_dropped() {
    let folder = Folder::new();
    let store = folder.open();
    let error = refusal(&folder);
    let pid = Some(std::process::id());
    assert_eq!(error, StoreError::Locked { path: folder.path().to_owned(), pid });
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(store);
    folder.open();
}

#[tokio::test]
async fn a_closed_store_releases_its_folder_while_handles_remain() {
    let folder = Folder::new();
    let store = folder.open();
    insert_one(&store).await;
    store.close().await;
    let again = folder.open();
    assert_eq!(again.counts().await.expect("counted").waiting, 1);
}

#[test]
fn a_missing_data_folder_is_created_for_its_owner_only() {
    let folder = Folder::new();
    let dir = folder.path().join("new/data");
    let _database = Database::open(SqliteConfig::new(&dir)).expect("opened");
    let mode = |path| std::fs::metadata(path).expect("made").permissions().mode() & 0o777;
    assert_eq!(mode(dir.clone()), 0o700);
    assert_eq!(mode(dir.join("wasmill.db")), 0o600);
    assert_eq!(mode(dir.join("wasmill.db-wal")), 0o600);
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_before_anything_is_created() {
    let folder = Folder::new();
    let top = folder.path().canonicalize().expect("a folder");
    symlink("nowhere", top.join("dangling")).expect("a link");
    std::fs::write(top.join("file"), "").expect("written");
    for name in ["wasmill.db", "wasmill.db-wal", "wasmill.lock"] {
        std::fs::create_dir_all(top.join("with").join(name).join(name)).expect("folders");
    }
    let pipe = top.join("pipe/wasmill.lock");
    std::fs::create_dir(top.join("pipe")).expect("a folder");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let long = |bytes: usize| {
        let mut path = top.clone();
        while path.as_os_str().len() + 102 < bytes {
            path.push("x".repeat(100));
        }
        let rest = bytes - path.as_os_str().len() - 1;
        path.join("y".repeat(rest))
    };
    for (dir, why) in [
        (top.join("dangling"), "is a link that leads nowhere"),
        (top.join("dangling/data"), "is a link that leads nowhere"),
        (top.join("file"), "is a file"),
        (top.join("file/data"), "Not a directory"),
        (top.join("x".repeat(256)), "too long"),
        (top.join("missing").join("x".repeat(256)), "is longer than 255 bytes"),
        (long(494), "longer than 504 bytes"),
        (top.join("with"), "wasmill.db in it is not a regular file"),
        (top.join("with/wasmill.db-wal"), "wasmill.db-wal in it is not a regular file"),
        (top.join("with/wasmill.lock"), "wasmill.lock in it is not a regular file"),
        (top.join("pipe"), "wasmill.lock in it is not a regular file"),
    ] {
        let before = top.read_dir().expect("a folder").count();
        let error = Database::open(SqliteConfig::new(&dir)).expect_err("refused");
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_eq!(wasmill_store_sqlite::examine(&dir), Err(error), "as the doctor says");
        assert_eq!(top.read_dir().expect("a folder").count(), before);
    }
    Database::open(SqliteConfig::new(long(493))).expect("the longest path is opened");
}

#[test]
fn a_foreign_database_is_refused_and_left_alone() {
    for setup in ["CREATE TABLE other (x)", "PRAGMA application_id = 7"] {
        let folder = Folder::new();
        let path = folder.database();
        Connection::open(&path).expect("opened").execute_batch(setup).expect("set up");
        let before = std::fs::read(&path).expect("read");
        let error = refusal(&folder);
        assert!(
            matches!(&error, StoreError::Foreign { database, .. } if *database == path.display().to_string()),
            "{error:?}"
        );
        assert_eq!(std::fs::read(&path).expect("read"), before);
    }
}

#[test]
fn a_newer_schema_is_refused_with_both_versions() {
    let folder = Folder::new();
    drop(folder.open());
    let path = folder.database();
    let connection = Connection::open(&path).expect("opened");
    connection.execute_batch("PRAGMA user_version = 99").expect("set");
    drop(connection);
    assert_eq!(
        refusal(&folder),
        StoreError::Newer { database: path.display().to_string(), found: 99, supported: 1 }
    );
}

#[test]
fn a_file_that_is_not_a_database_is_refused() {
    let folder = Folder::new();
    let path = folder.database();
    std::fs::write(&path, "no database. ".repeat(500)).expect("written");
    let error = refusal(&folder);
    assert!(
        matches!(&error, StoreError::Corrupt { database, .. } if *database == path.display().to_string()),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_damaged_row_is_reported_as_damage() {
    let folder = Folder::new();
    let store = folder.open();
    let id = insert_one(&store).await;
    let connection = Connection::open(folder.database()).expect("opened");
    connection.execute_batch("UPDATE task SET plugin = 'No Name'").expect("damaged");
    assert!(matches!(store.get(id).await, Err(StoreError::Corrupt { .. })));
}

#[test]
fn every_database_has_the_newest_schema() {
    let folder = Folder::new();
    drop(folder.open());
    drop(folder.open());
    let connection = Connection::open(folder.database()).expect("opened");
    let read = |sql: &str| connection.query_one(sql, [], |row| row.get::<_, i64>(0)).expect("read");
    assert_eq!(read("PRAGMA user_version"), 1);
    assert_eq!(read("PRAGMA application_id"), 0x5753_4d4c);
    assert_eq!(read("SELECT count(*) FROM sqlite_master WHERE type = 'table'"), 21);
}

#[test]
fn a_database_from_before_the_first_release_is_refused_and_stays_unchanged() {
    let folder = Folder::new();
    let connection = Connection::open(folder.database()).expect("opened");
    let old =
        "CREATE TABLE task (seq INTEGER); PRAGMA application_id = 0x574d494c; PRAGMA user_version = 20;";
    connection.execute_batch(old).expect("made");
    drop(connection);
    let before = std::fs::read(folder.database()).expect("read");
    assert_eq!(refusal(&folder), StoreError::Outdated { database: folder.database().display().to_string() });
    assert_eq!(std::fs::read(folder.database()).expect("read"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_inserts_share_few_commits() {
    let folder = Folder::new();
    let store = folder.open();
    let inserts = (0..500).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.insert(vec![new_task()]).await })
    });
    for insert in inserts.collect::<Vec<_>>() {
        insert.await.expect("ran").expect("inserted");
    }
    let stats = store.stats();
    assert_eq!(stats.commands, 500);
    assert!(stats.commits <= 250, "{stats:?}");
}

#[tokio::test]
async fn a_dropped_insert_is_stored_anyway() {
    let folder = Folder::new();
    let store = folder.open();
    let task = new_task();
    let id = task.id;
    {
        let mut insert = Box::pin(store.insert(vec![task]));
        let _ = insert.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    store.close().await;
    assert!(folder.open().get(id).await.expect("read").is_some());
}

/// Lets every insert of such a task fail.
fn poison(folder: &Folder) -> impl Fn() -> NewTask {
    let poison = "CREATE TRIGGER poison BEFORE INSERT ON task WHEN NEW.plugin = 'poison'
        BEGIN SELECT RAISE(ROLLBACK, 'the disk is on fire'); END";
    Connection::open(folder.database()).expect("opened").execute_batch(poison).expect("poisoned");
    || NewTask { plugin: plugin("poison"), ..new_task() }
}

#[tokio::test]
async fn a_claim_beside_a_failing_command_is_kept() {
    let folder = Folder::new();
    let store = folder.open();
    let bad = poison(&folder);
    for second in 0..50 {
        let id = insert_one(&store).await;
        let (claims, failed) = tokio::join!(claim(&store, 1, at(second)), store.insert(vec![bad()]));
        failed.expect_err("it is poisoned");
        // The claim ran twice under one token. The next batch puts back what nobody took.
        store.insert(vec![NewTask { plugin: plugin("b"), ..new_task() }]).await.expect("inserted");
        assert_eq!(get(&store, id).await.state, TaskState::Running);
        let done = Transition::Completed("1".into());
        assert_eq!(store.finish(&claims.claimed[0].claim, done, None, at(second)).await, Ok(true));
    }
}

#[tokio::test]
async fn a_failed_batch_does_not_stop_the_store() {
    let folder = Folder::new();
    let store = folder.open();
    let bad = poison(&folder);
    let tasks = vec![new_task(), bad()];
    let lost = tasks[0].id;
    let Err(StoreError::Unavailable { message }) = store.insert(tasks).await else {
        panic!("the insert fails")
    };
    assert!(message.contains("the disk is on fire"), "{message}");
    assert_eq!(store.get(lost).await, Ok(None));
    assert_eq!(store.counts().await.expect("counted").waiting, 0);
    let id = insert_one(&store).await;
    assert_eq!(claim_one(&store, at(0)).await.claim.id, id);
}

#[tokio::test]
async fn a_removed_task_leaves_no_rows() {
    let folder = Folder::new();
    let store = folder.open();
    let first = insert_one(&store).await;
    let on =
        NewDependencies { on: vec![first], on_failure: OnFailure::Run, pass_results: true, files_from: None };
    let webhook = Some(wasmill_store_suite::conformance::webhook::hook(&TaskState::ALL));
    let task = NewTask { input: Some("{}".to_owned()), dependencies: Some(on), webhook, ..new_task() };
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    store.remove(first, at(0)).await.expect("removed");
    let claimed = claim_one(&store, at(0)).await;
    store.save(&claimed.claim, vec![1]).await.expect("saved");
    store.remove(id, at(2)).await.expect("asked");
    wasmill_store_suite::fixture::end_stopped(&store, &claimed.claim, at(2)).await;
    let connection = Connection::open(folder.database()).expect("opened");
    for table in [
        "task",
        "input",
        "log",
        "checkpoint",
        "tag",
        "attempt",
        "dependent",
        "dependency",
        "dependency_end",
        "webhook",
        "webhook_attempt",
    ] {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = connection.query_one(&sql, [], |row| row.get(0)).expect("counted");
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn many_dependents_are_resolved_in_short_transactions() {
    const MANY: usize = 5_000;
    let folder = Folder::new();
    let (store, _) = folder.open_at(2 * MANY as u64, at(0));
    let head = insert_one(&store).await;
    let on = || NewDependencies {
        on: vec![head],
        on_failure: OnFailure::Cancel,
        pass_results: false,
        files_from: None,
    };
    let dependents = (0..MANY).map(|_| NewTask { dependencies: Some(on()), ..new_task() });
    store.insert(dependents.collect()).await.expect("inserted");
    let before = store.stats().commits;
    store.cancel(head, at(1)).await.expect("cancelled");
    while store.counts().await.expect("counted").waiting > 0 {
        tokio::task::yield_now().await;
    }
    let steps = store.stats().commits - before;
    assert!(steps >= (MANY / 500) as u64, "a transaction resolves at most 500: {steps}");
}
