//! Files that a copy of the database must never replace.

use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use wasmill_store::StoreError;
use wasmill_store_sqlite::backup;
use wasmill_store_suite::fixture::{Fixture, get, insert_one};

use crate::folder::Folder;

/// Returns the number and the size of each file in a folder.
fn files(folder: &Path) -> Vec<(PathBuf, u64, u64)> {
    let entries = std::fs::read_dir(folder).expect("read").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries
        .map(|path| {
            let found = path.symlink_metadata().expect("there");
            (path, found.ino(), found.len())
        })
        .collect();
    files.sort();
    files
}

fn refused(folder: &Folder, file: &Path, because: &str) {
    for replace in [true, false] {
        let error = backup(folder.path(), file, None, replace).expect_err("refused");
        assert!(matches!(error, StoreError::NoBackup { .. }), "{}: {error:?}", file.display());
        if replace {
            assert!(error.to_string().contains(because), "{}: {error}", file.display());
        }
    }
}

#[tokio::test]
async fn a_backup_never_replaces_its_source_under_any_name() {
    let (folder, other) = (Folder::new(), Folder::new());
    let store = folder.open();
    let id = insert_one(&store).await;
    let data = folder.path();
    symlink(data, other.path().join("linked")).expect("linked");
    std::fs::hard_link(data.join("wasmill.db"), other.path().join("hard.db")).expect("linked");
    symlink(data.join("wasmill.db-wal"), other.path().join("soft.db")).expect("linked");
    let before = (files(data), files(other.path()));
    for name in ["wasmill.db", "wasmill.db-wal", "wasmill.db-shm", "wasmill.db-journal", "wasmill.lock"] {
        refused(&folder, &data.join(name), "is in the data folder");
        refused(&folder, &data.join("./../").join(data.file_name().expect("a name")).join(name), "is in");
        refused(&folder, &other.path().join("linked").join(name), "is in the data folder");
    }
    refused(&folder, &other.path().join("hard.db"), "is the database to copy");
    refused(&folder, &other.path().join("soft.db"), "no regular file");
    assert_eq!((files(data), files(other.path())), before, "nothing came, went or changed");
    store.close().await;
    assert_eq!(get(&folder.open(), id).await.id, id);
}

#[tokio::test]
async fn a_backup_changes_nothing_in_the_data_folder_of_any_server() {
    let (folder, other) = (Folder::new(), Folder::new());
    drop(folder.open());
    let used = other.open();
    let id = insert_one(&used).await;
    std::fs::write(other.path().join("cache.key"), "secret").expect("written");
    let before = files(other.path());
    let parts = ["wasmill.db", "wasmill.db-wal", "wasmill.db-shm", "wasmill.db-journal", "wasmill.lock"];
    for name in parts.into_iter().chain(["cache.key", "copy.db"]) {
        refused(&folder, &other.path().join(name), "is in the data folder");
    }
    assert_eq!(files(other.path()), before);
    used.close().await;
    refused(&folder, &other.path().join("wasmill.db"), "is in the data folder");
    assert_eq!(get(&other.open(), id).await.id, id);
}

#[test]
fn a_backup_replaces_earlier_copies_only() {
    let (folder, other) = (Folder::new(), Folder::new());
    drop(folder.open());
    let path = |name| other.path().join(name);
    backup(folder.path(), &path("copy.db"), None, false).expect("copied");
    std::fs::write(path("notes.txt"), "not a database").expect("written");
    std::fs::write(path("empty"), "").expect("written");
    symlink(path("copy.db"), path("to-a-file")).expect("linked");
    symlink(path("nowhere"), path("dangling")).expect("linked");
    symlink("/dev/null", path("to-a-device")).expect("linked");
    std::fs::create_dir(path("folder")).expect("made");
    let _socket = UnixListener::bind(path("socket")).expect("bound");
    let before = files(other.path());
    for name in ["to-a-file", "dangling", "to-a-device", "folder", "socket"] {
        refused(&folder, &path(name), "no regular file");
    }
    refused(&folder, &path("notes.txt"), "not an earlier copy");
    for name in ["copy.db-wal", "new.db-shm", "new.db-journal"] {
        refused(&folder, &path(name), "for a part of a database");
    }
    assert_eq!(files(other.path()), before);
    for name in ["copy.db", "empty"] {
        backup(folder.path(), &path(name), None, true).expect("replaced");
    }
    std::fs::write(path("copy.db-wal"), "").expect("written");
    refused(&folder, &path("copy.db"), "in use or was not closed");
}

#[test]
fn a_backup_names_the_missing_database_or_folder() {
    let (folder, other) = (Folder::new(), Folder::new());
    let copy = other.path().join("missing/copy.db");
    let error = backup(folder.path(), &copy, None, false).expect_err("no database");
    assert!(
        matches!(&error, StoreError::NotFound { message } if message.contains("no database")),
        "{error:?}"
    );
    drop(folder.open());
    let error = backup(folder.path(), &copy, None, false).expect_err("no folder");
    assert!(
        matches!(&error, StoreError::NotFound { message } if message.contains("missing does not exist")),
        "{error:?}"
    );
}
