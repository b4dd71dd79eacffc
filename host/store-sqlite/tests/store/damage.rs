//! Trouble with the file, and copies of it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use wasmill_model::{TaskState, Transition};
use wasmill_store::{Store, StoreError};
use wasmill_store_sqlite::{Database, backup};
use wasmill_store_suite::fixture::{Fixture, StoreExt, at, claim_one, get, insert_one, new_task};

use crate::folder::Folder;

fn refusal(folder: &Folder) -> StoreError {
    Database::open(folder.config())
        .and_then(|database| database.start(at(0)))
        .expect_err("the store does not open")
}

async fn filled(folder: &Folder, results_mib: usize) {
    let store = folder.open();
    for _ in 0..100 {
        insert_one(&store).await;
    }
    for _ in 0..results_mib {
        let claim = claim_one_of_many(&store).await;
        let large = Transition::Completed("x".repeat(1 << 20).into());
        assert_eq!(store.finish(&claim, large, None, at(0)).await, Ok(true));
    }
    store.close().await;
}

async fn claim_one_of_many(store: &Store) -> wasmill_store::Claim {
    wasmill_store_suite::fixture::claim(store, 1, at(0)).await.claimed.remove(0).claim
}

/// Overwrites the middle of the root page of a table.
fn spoil(folder: &Folder, table: &str) {
    let path = folder.database();
    let connection = Connection::open(&path).expect("opened");
    let root: u64 = connection
        .query_one("SELECT rootpage FROM sqlite_master WHERE name = ?1", [table], |row| row.get::<_, i64>(0))
        .expect("a table")
        .cast_unsigned();
    drop(connection);
    let mut bytes = std::fs::read(&path).expect("read");
    let page = usize::try_from(root - 1).expect("small") * 4096;
    bytes[page..page + 200].fill(0xa5);
    std::fs::write(&path, bytes).expect("written");
}

#[tokio::test]
async fn a_damaged_page_is_refused_on_open_and_left_alone() {
    for table in ["task", "log", "task_available", "task_finished"] {
        let folder = Folder::new();
        filled(&folder, 1).await;
        spoil(&folder, table);
        let before = std::fs::read(folder.database()).expect("read");
        let error = refusal(&folder);
        assert!(matches!(&error, StoreError::Corrupt { .. }), "{table}: {error:?}");
        assert!(error.to_string().contains("restore a copy"), "{error}");
        assert!(std::fs::read(folder.database()).expect("read") == before, "{table}: nothing was repaired");
    }
}

#[tokio::test]
async fn damage_in_a_large_database_is_found_in_the_background() {
    let folder = Folder::new();
    filled(&folder, 70).await;
    let path = folder.database();
    // An index that only retention reads.
    spoil(&folder, "task_finished");
    assert!(std::fs::metadata(&path).expect("there").len() > 64 << 20);
    let store = folder.open();
    let until = Instant::now() + Duration::from_secs(30);
    while store.probe().await.is_ok() {
        assert!(Instant::now() < until, "the damage is not found");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(store.probe().await, Err(StoreError::Corrupt { .. })));
    assert_eq!(claim_one_of_many(&store).await.id, store.list(last()).await.expect("listed").tasks[29].id);
}

fn last() -> wasmill_store::ListQuery {
    wasmill_store::ListQuery { limit: 30, before: None, filter: wasmill_store::Filter::default() }
}

#[tokio::test]
async fn a_truncated_database_is_refused() {
    let folder = Folder::new();
    filled(&folder, 2).await;
    let path = folder.database();
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    assert!(matches!(refusal(&folder), StoreError::Corrupt { .. }), "{:?}", refusal(&folder));
}

#[test]
fn a_missing_schema_version_is_refused() {
    for version in [0, -1] {
        let folder = Folder::new();
        drop(folder.open());
        let connection = Connection::open(folder.database()).expect("opened");
        connection.pragma_update(None, "user_version", version).expect("set");
        drop(connection);
        let error = refusal(&folder);
        assert!(error.to_string().contains("schema version is missing"), "{error}");
    }
}

#[test]
fn a_missing_table_is_refused() {
    let folder = Folder::new();
    drop(folder.open());
    let connection = Connection::open(folder.database()).expect("opened");
    connection.execute_batch("DROP TABLE checkpoint").expect("dropped");
    drop(connection);
    let error = refusal(&folder);
    assert!(matches!(&error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("checkpoint"), "{error}");
}

#[tokio::test]
async fn a_backup_holds_every_task_and_opens_as_a_database() {
    let folder = Folder::new();
    let store = folder.open();
    let done = insert_one(&store).await;
    let claim = claim_one(&store, at(1)).await.claim;
    assert_eq!(store.finish(&claim, Transition::Completed("1".into()), None, at(2)).await, Ok(true));
    let running = insert_one(&store).await;
    claim_one(&store, at(3)).await;
    let waiting = insert_one(&store).await;

    let other = Folder::new();
    let file = other.database();
    let backup = backup(folder.path(), &file, None, false).expect("a backup");
    assert_eq!(backup.tasks, 3);
    assert_eq!(backup.bytes, std::fs::metadata(&file).expect("there").len());
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(other.path()).expect("read").count(), 1, "nothing else is left");
    insert_one(&store).await;

    let copy = other.open();
    assert_eq!(get(&copy, done).await, get(&store, done).await);
    assert_eq!(get(&copy, running).await.host_crashes, 1, "for the copy, its host died");
    assert_eq!(get(&copy, waiting).await.state, TaskState::Available);
    assert_eq!(copy.counts().await.expect("counted").waiting, 2);
    copy.insert(vec![new_task()]).await.expect("inserted");
}

#[test]
fn a_backup_replaces_a_file_only_on_request() {
    let (folder, other) = (Folder::new(), Folder::new());
    drop(folder.open());
    let file = other.path().join("copy.db");
    backup(folder.path(), &file, None, false).expect("copied");
    let before = std::fs::metadata(&file).expect("there").ino();
    let error = backup(folder.path(), &file, None, false).expect_err("refused");
    assert!(error.to_string().contains("--force"), "{error}");
    assert_eq!(std::fs::metadata(&file).expect("there").ino(), before);
    backup(folder.path(), &file, None, true).expect("replaced");
    assert_ne!(std::fs::metadata(&file).expect("there").ino(), before);
}

#[test]
fn an_impossible_backup_fails_and_leaves_no_file() {
    let (folder, other) = (Folder::new(), Folder::new());
    let file = other.path().join("copy.db");
    let error = backup(folder.path(), &file, None, false).expect_err("nothing there");
    assert!(error.to_string().contains("there is no database"), "{error}");
    drop(folder.open());
    let error = backup(folder.path(), &other.path().join("no/copy.db"), None, false).expect_err("no folder");
    assert!(error.to_string().contains("no does not exist"), "{error}");
    assert!(!file.exists());
    std::fs::write(folder.database(), "no database. ".repeat(500)).expect("written");
    let error = backup(folder.path(), &file, None, false).expect_err("damaged");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let left = std::fs::read_dir(other.path()).expect("read").filter_map(Result::ok);
    assert!(left.into_iter().all(|file| !file.file_name().to_string_lossy().contains("copy")));
}

#[tokio::test]
async fn a_probe_writes_and_changes_nothing() {
    let folder = Folder::new();
    let store = folder.open();
    let id = insert_one(&store).await;
    let before = get(&store, id).await;
    let wal = folder.path().join("wasmill.db-wal");
    let size = || std::fs::metadata(&wal).expect("there").len();
    let size_before = size();
    assert_eq!(store.probe().await, Ok(()));
    assert!(size() > size_before, "something reached the disk");
    assert_eq!(get(&store, id).await, before);
    store.close().await;
    assert_eq!(store.probe().await, Err(StoreError::Closed));
}

/// Copies the log of a database in use, as a crash leaves it, beside a database in another folder.
async fn leave_log(from: &Folder, to: &Folder) {
    let store = from.open();
    for _ in 0..20 {
        insert_one(&store).await;
    }
    std::fs::copy(from.database().with_extension("db-wal"), to.database().with_extension("db-wal"))
        .expect("copied");
}

fn leftover(folder: &Folder) -> String {
    let StoreError::Refused { message } = refusal(folder) else { panic!("it is refused for its log") };
    message
}

#[tokio::test]
async fn a_backup_beside_the_log_of_a_crash_is_refused_and_stays_as_it_is() {
    let (crashed, copies) = (Folder::new(), Folder::new());
    let id = insert_one(&crashed.open()).await;
    let file = copies.path().join("copy");
    backup(crashed.path(), &file, None, false).expect("copied");
    let restored = Folder::new();
    std::fs::copy(&file, restored.database()).expect("copied");
    leave_log(&crashed, &restored).await;
    let before = std::fs::read(restored.database()).expect("read");
    assert!(leftover(&restored).contains("wasmill.db-wal and"), "it says what to move");
    assert!(wasmill_store_sqlite::examine(restored.path()).is_err());
    assert_eq!(std::fs::read(restored.database()).expect("read"), before);
    assert!(restored.database().with_extension("db-wal").exists());
    // As the message says.
    std::fs::remove_file(restored.database().with_extension("db-wal")).expect("moved away");
    assert_eq!(get(&restored.open(), id).await.id, id);
}

#[tokio::test]
async fn a_restored_backup_survives_a_crash_like_any_database() {
    let (source, restored, crashed) = (Folder::new(), Folder::new(), Folder::new());
    insert_one(&source.open()).await;
    backup(source.path(), &restored.database(), None, false).expect("copied");
    let store = restored.open();
    let id = insert_one(&store).await;
    for name in ["wasmill.db", "wasmill.db-wal"] {
        std::fs::copy(restored.path().join(name), crashed.path().join(name)).expect("copied");
    }
    assert!(crashed.database().with_extension("db-wal").metadata().is_ok_and(|log| log.len() > 0));
    assert_eq!(get(&crashed.open(), id).await.id, id);
}

#[tokio::test]
async fn a_log_without_its_database_is_refused_and_stays() {
    let (crashed, emptied) = (Folder::new(), Folder::new());
    leave_log(&crashed, &emptied).await;
    for database in [None, Some("")] {
        if let Some(content) = database {
            std::fs::write(emptied.database(), content).expect("written");
        }
        assert!(leftover(&emptied).contains("is missing or empty"));
        assert!(emptied.database().with_extension("db-wal").metadata().is_ok_and(|log| log.len() > 0));
    }
}
