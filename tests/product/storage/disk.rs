//! The disk, the database file, and backups.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;
use wasmill_tests::{Client, Server, binary, embedded_only};

/// A small file system mounted on the data folder of a server.
struct Volume(PathBuf);

impl Volume {
    /// Mounts it; if that is not permitted, prints a line and returns `None`.
    fn mount(folder: &Path, options: &str) -> Option<Self> {
        let volume = Self(folder.to_owned());
        if volume.run("mount", &["-t", "tmpfs", "-o", options, "none"]) {
            return Some(volume);
        }
        eprintln!("skipped: mounting a small volume needs root and the right to mount");
        None
    }

    fn remount(&self, options: &str) {
        assert!(self.run("mount", &["-o", &format!("remount,{options}")]), "remounted as {options}");
    }

    fn run(&self, program: &str, args: &[&str]) -> bool {
        Command::new(program).args(args).arg(&self.0).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily, since the server may still be exiting.
        self.run("umount", &["-l"]);
    }
}

async fn until_ready(client: &Client, status: StatusCode) {
    let until = Instant::now() + Duration::from_secs(30);
    while client.get("/readyz").await.status != status {
        assert!(Instant::now() < until, "/readyz does not become {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Fills the volume to the last byte.
fn fill(file: &Path) {
    let mut file = File::create(file).expect("a file");
    let mut block = vec![0; 1 << 20];
    while !block.is_empty() {
        if file.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
}

fn errors(server: &Server) -> Vec<String> {
    server.log().lines().filter(|line| line.contains("\"level\":\"ERROR\"")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_full_disk_is_logged_once_and_loses_nothing() {
    embedded_only!("the volume of the database is that of its own server");
    let mut server = Server::start(&["--drain", "1s"]);
    assert!(server.terminate().success());
    let Some(volume) = Volume::mount(&server.folder().join("data"), "size=32m") else { return };
    let server = server.start_beside().expect("a server");
    server.expect_errors();
    let client = server.client();
    let sleep = json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 1_500}});
    let id = client.submit(&sleep).await;
    client.until(&id, "running").await;

    let ballast = volume.0.join("ballast");
    fill(&ballast);
    until_ready(&client, StatusCode::SERVICE_UNAVAILABLE).await;
    for _ in 0..20 {
        let refused = client.post("/task", &json!({"plugin": "noop"})).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text);
        assert_eq!(refused.str("code"), "store-unavailable");
        assert!(refused.headers.contains_key("retry-after"));
    }
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    // Its guest ends now; its outcome waits in memory and keeps the slot.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(client.get(&format!("/task/{id}")).await.str("state"), "running", "reads are served");
    assert_eq!(client.slots_used().await, 1);
    let reported = errors(&server);
    assert!(reported.iter().any(|line| line.contains("full")), "{reported:?}");
    assert!(reported.len() <= 2, "once by the store and once by the dispatcher: {reported:?}");

    fs::remove_file(&ballast).expect("removed");
    until_ready(&client, StatusCode::OK).await;
    let task = client.until(&id, "completed").await;
    assert_eq!(task.json["attempt"], 1, "{}", task.text);
    let next = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&next, "completed").await;
    let until = Instant::now() + Duration::from_secs(60);
    while !server.log().contains("writing to the database works again, after ") {
        assert!(Instant::now() < until, "{}", server.log());
        // A readiness check writes.
        client.get("/readyz").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_host_on_a_full_disk_can_be_stopped() {
    embedded_only!("the volume of the database is that of its own server");
    let mut server = Server::start(&["--drain", "100ms"]);
    assert!(server.terminate().success());
    let Some(volume) = Volume::mount(&server.folder().join("data"), "size=32m") else { return };
    let mut server = server.start_beside().expect("a server");
    server.expect_errors();
    let client = server.client();
    let id = client.submit(&json!({})).await;
    client.until_progress(&id).await;
    let ballast = volume.0.join("ballast");
    fill(&ballast);
    until_ready(&client, StatusCode::SERVICE_UNAVAILABLE).await;
    server.terminate();
    fs::remove_file(&ballast).expect("removed");
    let server = server.start_beside().expect("a server");
    let task = server.client().until(&id, "running").await;
    assert_eq!(task.json["attempt"], 2, "it runs again, and the attempt counts: {}", task.text);
}

#[tokio::test]
async fn a_read_only_volume_is_refused_at_start_with_the_reason() {
    embedded_only!("the volume of the database is that of its own server");
    let mut server = Server::start(&[]);
    assert!(server.terminate().success());
    let Some(volume) = Volume::mount(&server.folder().join("data"), "size=32m") else { return };
    let mut server = server.start_beside().expect("a server");
    let id = server.client().submit(&json!({"plugin": "noop"})).await;
    server.client().until(&id, "completed").await;
    assert!(server.terminate().success());
    volume.remount("ro");
    let error = server.start_beside().err().expect("no server").to_string();
    assert!(error.contains("Read-only file system"), "{error}");
    assert!(error.contains(&volume.0.display().to_string()), "{error}");
    volume.remount("rw");
    let server = server.start_beside().expect("a server");
    assert_eq!(server.client().get(&format!("/task/{id}")).await.str("state"), "completed");
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_instructions() {
    embedded_only!("it damages the file of the database");
    let mut server = Server::start(&[]);
    let client = server.client();
    for _ in 0..50 {
        client.submit(&json!({"plugin": "noop"})).await;
    }
    assert!(server.terminate().success());
    let path = server.folder().join("data/wasmill.db");
    let mut bytes = fs::read(&path).expect("a database");
    let page = bytes.len() / 4096 / 2 * 4096;
    bytes[page..page + 512].fill(0xa5);
    fs::write(&path, bytes).expect("written");
    let error = server.start_beside().err().expect("no server").to_string();
    assert!(error.contains("is damaged") && error.contains("restore a copy"), "{error}");
}

#[tokio::test]
async fn finished_tasks_are_pruned_and_all_others_kept() {
    let server = Server::start(&["--keep-for", "1s"]);
    let client = server.client();
    let running = client.submit(&json!({})).await;
    let old = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&running, "running").await;
    let until = Instant::now() + Duration::from_secs(30);
    while client.get(&format!("/task/{old}")).await.status != StatusCode::NOT_FOUND {
        assert!(Instant::now() < until, "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.get(&format!("/task/{running}")).await.str("state"), "running");
}

#[tokio::test]
async fn only_the_newest_finished_tasks_are_kept() {
    let server = Server::start(&["--keep-max", "2", "--keep-for", "1h"]);
    let client = server.client();
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = client.submit(&json!({"plugin": "noop"})).await;
        client.until(&id, "completed").await;
        ids.push(id);
    }
    // The next host checks at start.
    let server = server.kill_and_restart();
    let client = server.client();
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let list = client.get("/task").await;
        let left: Vec<_> =
            list.json.as_array().expect("a list").iter().map(|task| task["id"].clone()).collect();
        if left == [json!(ids[4]), json!(ids[3])] {
            break;
        }
        assert!(Instant::now() < until, "{left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn backup(server: &Server, args: &[&str]) -> Output {
    let data = server.folder().join("data");
    let mut command = Command::new(binary().expect("built"));
    command.arg("backup").args(args).arg("--data").arg(data).current_dir(server.folder());
    command.output().expect("ran")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_contains_every_task_accepted_before_it() {
    embedded_only!("`wasmill backup` copies the embedded database");
    let server = Server::start(&["--slots", "50"]);
    let client = server.client();
    let mut before = Vec::new();
    for _ in 0..500 {
        before.push(client.submit(&json!({"plugin": "noop"})).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (client, stop) = (server.client(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut submitted = 0;
                while !stop.load(Ordering::Relaxed) {
                    client.submit(&json!({"plugin": "noop"})).await;
                    submitted += 1;
                }
                submitted
            })
        })
        .collect();
    let done = tokio::task::block_in_place(|| backup(&server, &["copy.db"]));
    stop.store(true, Ordering::Relaxed);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("copy.db contains"), "{done:?}");
    let mut submitted = 0;
    for load in load {
        submitted += load.await.expect("a client");
    }
    assert!(submitted > 0, "the server took tasks meanwhile");
    let again = backup(&server, &["copy.db"]);
    let error = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && error.contains("--force"), "{error}");

    let copy = fs::read(server.folder().join("copy.db")).expect("a copy");
    // The host and its folder are gone.
    drop(server);
    let mut restored = Server::start(&[]);
    assert!(restored.terminate().success());
    let data = restored.folder().join("data");
    for file in fs::read_dir(&data).expect("a folder").filter_map(Result::ok) {
        if file.file_name().to_string_lossy().starts_with("wasmill.db") {
            fs::remove_file(file.path()).expect("removed");
        }
    }
    fs::write(data.join("wasmill.db"), copy).expect("restored");
    let restored = restored.start_beside().expect("a server");
    let client = restored.client();
    for id in before {
        let task = client.until(&id, "completed").await;
        assert_eq!(
            task.json["host_crashes"].as_u64().map(|crashes| crashes + 1),
            task.json["attempt"].as_u64()
        );
    }
}
