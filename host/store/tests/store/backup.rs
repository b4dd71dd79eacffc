//! What a copy of the database must never take the place of.

use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use wasmill_store::{Store, StoreError};

use crate::fixture::{Folder, StoreFixture, get, insert_one};

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
        let error = Store::backup(folder.path(), file, replace).expect_err("refused");
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
        refused(&folder, &data.join(name), "belongs to the database");
        refused(&folder, &data.join("./../").join(data.file_name().expect("a name")).join(name), "belongs");
        refused(&folder, &other.path().join("linked").join(name), "belongs to the database");
    }
    refused(&folder, &other.path().join("hard.db"), "belongs to the database");
    refused(&folder, &other.path().join("soft.db"), "belongs to the database");
    assert_eq!((files(data), files(other.path())), before, "nothing came, went or changed");
    store.close().await;
    assert_eq!(get(&folder.open(), id).await.id, id);
}

#[tokio::test]
async fn a_backup_never_replaces_a_database_in_use_or_not_closed() {
    let (folder, other) = (Folder::new(), Folder::new());
    drop(folder.open());
    let used = other.open();
    insert_one(&used).await;
    let before = files(other.path());
    refused(&folder, &other.path().join("wasmill.db"), "in use or was not closed");
    assert_eq!(files(other.path()), before);
    used.close().await;
    Store::backup(folder.path(), &other.path().join("wasmill.db"), true).expect("it was closed");
}

#[test]
fn a_backup_replaces_regular_files_only() {
    let (folder, other) = (Folder::new(), Folder::new());
    drop(folder.open());
    let fixture = |name| other.path().join(name);
    std::fs::write(fixture("copy.db"), "an earlier copy").expect("written");
    symlink(fixture("copy.db"), fixture("to-a-file")).expect("linked");
    symlink(fixture("nowhere"), fixture("dangling")).expect("linked");
    symlink("/dev/null", fixture("to-a-device")).expect("linked");
    std::fs::create_dir(fixture("folder")).expect("made");
    let _socket = UnixListener::bind(fixture("socket")).expect("bound");
    let before = files(other.path());
    for name in ["to-a-file", "dangling", "to-a-device", "folder", "socket"] {
        refused(&folder, &fixture(name), "no regular file");
    }
    assert_eq!(files(other.path()), before);
    Store::backup(folder.path(), &fixture("copy.db"), true).expect("replaced");
}
