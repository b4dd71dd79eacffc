//! Backups of the embedded database with the files of its tasks, and what `wasmill doctor` says of them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use hyper::StatusCode;
use serde_json::Value;
use wasmill_tests::{ServerFolder, embedded_only, wasmill};

use super::{KEEPS, leaving, run, server, start, stored, task, until_stored};

#[tokio::test]
async fn a_backup_has_the_files_and_copies_each_once() {
    embedded_only!("`wasmill backup` copies the embedded database");
    let server = server(KEEPS, &[]);
    let client = server.client();
    let first = run(&client, &leaving()).await;
    let folder = server.folder().to_owned();
    let backup =
        |file: &str, files: &str| wasmill(&folder, &["backup", file, "--files", files, "--data", "data"]);
    let copied = backup("one.db", "copied");
    assert_eq!(copied.code, 0, "{}", copied.err);
    assert!(copied.out.contains("copied contains their 2 files"), "{}", copied.out);
    let inodes = || {
        let entries = fs::read_dir(folder.join("copied")).expect("a folder").flatten();
        entries
            .map(|entry| entry.metadata().expect("a file").ino())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let before = inodes();
    let second = run(&client, &task(&["read", "/tmp/in"], &[("in", b"second")])).await;
    assert_eq!(backup("two.db", "copied").code, 0);
    let after = inodes();
    assert!(before.is_subset(&after) && after.len() == 3, "{before:?} {after:?}");
    for inside in ["data", "data/files", "data/copied"] {
        let refused = backup("three.db", inside);
        assert!(refused.code == 2 && refused.err.contains("is in the data folder"), "{}", refused.err);
    }
    assert!(!folder.join("three.db").exists());
    let restored = ServerFolder::new();
    fs::create_dir_all(restored.path().join("data")).expect("a folder");
    fs::create_dir_all(restored.path().join("plugins")).expect("a folder");
    fs::copy(folder.join("two.db"), restored.path().join("data/wasmill.db")).expect("copied");
    fs::rename(folder.join("copied"), restored.path().join("data/files")).expect("moved");
    // With its folder.
    drop(server);
    // One that no task has.
    fs::write(restored.path().join("data/files/0123456789abcdef0123456789abcdef"), "x").expect("written");
    let server = start(restored, &[]);
    for (id, name, text) in [(first.str("id"), "a.json", "xxx"), (second.str("id"), "in", "second")] {
        let (status, got) = server.client().send_for_bytes(&format!("/task/{id}/files/{name}")).await;
        assert_eq!((status, &got[..]), (StatusCode::OK, text.as_bytes()), "{name}");
    }
    until_stored(&server, 3).await;
}

#[tokio::test]
async fn the_doctor_names_a_file_that_is_missing() {
    embedded_only!("the doctor looks into the data folder");
    let server = server(KEEPS, &[]);
    let client = server.client();
    let id =
        run(&client, &task(&["read", "/tmp/in.txt"], &[("in.txt", b"bytes")])).await.str("id").to_owned();
    let examined = || {
        let shown = wasmill(server.folder(), &["doctor", "--json", "--data", "data"]);
        let checks: Value = serde_json::from_str(&shown.out).unwrap_or_else(|_| panic!("{}", shown.out));
        let checks = checks["checks"].as_array().or(checks.as_array()).expect("checks").clone();
        checks.into_iter().find(|check| check["name"] == "files of tasks").expect("a check").to_string()
    };
    assert!(examined().contains("1 files"), "{}", examined());
    assert_eq!(stored(&server), 1);
    let file = fs::read_dir(server.folder().join("data/files")).expect("a folder").flatten().next();
    fs::write(file.expect("a file").path(), "byte").expect("cut");
    let found = examined();
    assert!(found.contains("fail") && found.contains("in.txt") && found.contains(&id), "{found}");
}
