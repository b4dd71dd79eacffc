//! Scratch folders: each run has its own, bounded, and none is left, whatever ends the run or the server.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;
use wasmill_tests::{Answer, Client, PROGRAM, Server, ServerFolder};

/// Deadline for what happens within seconds.
const SOON: Duration = Duration::from_secs(60);

/// Creates a folder with the program as a plugin of this manifest.
fn folder(manifest: &str) -> Arc<ServerFolder> {
    let folder = ServerFolder::new();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).expect("a folder");
    fs::write(plugins.join("program.toml"), manifest).expect("written");
    fs::write(plugins.join("program.wasm"), PROGRAM).expect("written");
    folder
}

fn server(manifest: &str, args: &[&str]) -> Server {
    let server = Server::start_in(folder(manifest), args).expect("a server");
    server.wait_for_plugins();
    server
}

/// Returns how many runs have a scratch folder.
fn scratch_folders(data: &Path) -> usize {
    let Ok(sessions) = fs::read_dir(data.join("scratch")) else { return 0 };
    sessions.flatten().filter_map(|session| Some(fs::read_dir(session.path()).ok()?.count())).sum()
}

/// Waits until exactly this many runs have a scratch folder.
async fn until(server: &Server, count: usize) {
    let (data, deadline) = (server.folder().join("data"), Instant::now() + SOON);
    while scratch_folders(&data) != count {
        assert!(Instant::now() < deadline, "{} scratch folders, not {count}", scratch_folders(&data));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn submit(client: &Client, args: &[&str]) -> String {
    client.submit(&json!({"plugin": "program", "input": {"args": args}})).await
}

async fn run(client: &Client, args: &[&str]) -> Answer {
    client.until_finished(&submit(client, args).await).await
}

#[tokio::test]
async fn six_programs_with_one_temporary_name_do_not_see_each_other() {
    let server = server("allow.scratch = \"1MiB\"", &["--slots", "6"]);
    let client = server.client();
    let mut tasks = Vec::new();
    for number in 0..6 {
        let text = format!("text {number}");
        tasks.push((submit(&client, &["temporary", "/tmp/yosys-abc-000000", &text, "500"]).await, text));
    }
    until(&server, 6).await;
    for (id, text) in tasks {
        let task = client.until_finished(&id).await;
        assert_eq!((task.str("state"), task.str("result")), ("completed", text.as_str()), "{}", task.text);
    }
    until(&server, 0).await;
}

#[tokio::test]
async fn whatever_ends_a_run_removes_its_folder() {
    let server =
        server("limits.timeout = \"2s\"\nallow.scratch = { size = \"1KiB\", guest = \"/work\" }", &[]);
    let client = server.client();
    let full = run(&client, &["temporary", "/work/full", &"x".repeat(2_000), "0"]).await;
    assert_eq!(full.str("status"), "failed by disk limit", "{}", full.text);
    assert!(full.text.contains("allow.scratch of the manifest"), "{}", full.text);
    let late = run(&client, &["temporary", "/work/late", "x", "60000"]).await;
    assert_eq!(late.str("status"), "failed by timeout", "{}", late.text);
    for stop in ["cancel", "delete"] {
        let id = submit(&client, &["temporary", "/work/stopped", "x", "60000"]).await;
        until(&server, 1).await;
        let answer = match stop {
            "cancel" => client.post(&format!("/task/{id}/cancel"), &json!({})).await,
            _ => client.delete(&format!("/task/{id}")).await,
        };
        assert!(answer.status.is_success(), "{}", answer.text);
        until(&server, 0).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_nothing_to_the_next() {
    let server = server("allow.scratch = \"1MiB\"", &[]);
    let id = submit(&server.client(), &["temporary", "/tmp/fixed", "x", "600000"]).await;
    until(&server, 1).await;
    let scratch = server.folder().join("data/scratch");
    let left = fs::read_dir(&scratch).expect("readable").flatten().next().expect("a folder").path();
    let server = server.kill_and_restart();
    let deadline = Instant::now() + SOON;
    while left.exists() {
        assert!(Instant::now() < deadline, "{left:?} is left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The task runs again, in a folder of its own.
    until(&server, 1).await;
    let gone = server.client().delete(&format!("/task/{id}")).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    until(&server, 0).await;
}

#[tokio::test]
async fn a_scratch_folder_that_the_host_does_not_allow_is_rejected() {
    let server = server("allow.scratch = \"2MiB\"", &["--disk", "1MiB", "--disk-max", "1MiB"]);
    let plugin = server.client().get("/plugins/program").await;
    assert_eq!(plugin.str("state"), "rejected", "{}", plugin.text);
    assert!(plugin.str("reason").contains("disk_max of this host is 1 MiB"), "{}", plugin.text);
}
