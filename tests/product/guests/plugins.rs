//! What is in the plugins folder when the server starts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use wasmill_tests::{NOOP, Server, ServerFolder, tiny, wasmill};

/// Waits for a line of the log.
async fn until_logged(server: &Server, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.log().contains(text) {
        assert!(Instant::now() < deadline, "no '{text}' in: {}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_file_that_only_looks_like_a_plugin_is_logged_once() {
    let server = Server::start(&[]);
    std::fs::write(server.folder().join("plugins/UP.WASM"), NOOP).expect("written");
    until_logged(&server, "UP.WASM").await;
    std::fs::write(server.folder().join("plugins/up.wat"), "(module)").expect("written");
    until_logged(&server, "up.wat").await;
    let log = server.log();
    assert_eq!(log.matches("UP.WASM").count(), 1, "{log}");
    assert!(log.contains("the name of a plugin ends with .wasm, in lower case"), "{log}");
}

#[tokio::test]
async fn a_server_without_plugin_files_says_what_to_do() {
    let empty = ServerFolder::new();
    let server = Server::start_in(Arc::clone(&empty), &[]).expect("a server");
    until_logged(&server, "the folder does not exist: create it").await;
    std::fs::create_dir(empty.path().join("plugins")).expect("a folder");
    let server = server.stop_and_restart();
    until_logged(&server, "the folder has no .wasm file").await;
    let server = Server::start(&[]);
    until_logged(&server, "serving").await;
    assert!(!server.log().contains("the folder "), "{}", server.log());
}

#[tokio::test]
async fn a_broken_file_is_rejected_with_a_reason() {
    let server = Server::start(&[]);
    let plugins = server.folder().join("plugins");
    std::fs::write(plugins.join("garbage.wasm"), b"not wasm at all").expect("written");
    std::fs::write(plugins.join("half.wasm"), &NOOP[..NOOP.len() / 2]).expect("written");
    std::fs::write(plugins.join("module.wasm"), b"\0asm\x01\0\0\0").expect("written");
    std::fs::write(plugins.join("Bad Name.wasm"), NOOP).expect("written");
    let server = server.stop_and_restart();
    let client = server.client();
    for name in ["garbage", "half", "module"] {
        let plugin = client.get(&format!("/plugins/{name}")).await;
        assert_eq!(plugin.str("state"), "rejected", "{}", plugin.text);
        assert!(!plugin.str("reason").is_empty());
        let refused = client.post("/task", &json!({"plugin": name})).await;
        assert_eq!(refused.status, 422);
        assert!(refused.str("detail").contains(plugin.str("reason")), "{}", refused.text);
    }
    assert!(server.log().contains("Bad Name"), "{}", server.log());
    let good = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&good, "completed").await;
}

#[tokio::test]
async fn a_file_overrides_the_built_in_plugin() {
    let server = Server::start(&[]);
    let built_in = server.client().get("/plugins/io-stub").await;
    assert_eq!((built_in.str("state"), built_in.json["file"].is_null()), ("ready", true));
    let listed = |server: &Server| {
        let url = format!("http://{}", server.address());
        wasmill(server.folder(), &["plugin", "list", "--server", &url]).out
    };
    let from = |list: &str| {
        let line = list.lines().find(|line| line.starts_with("io-stub ")).expect("a line").to_owned();
        line.split_whitespace().nth(2).expect("a column").to_owned()
    };
    assert_eq!(from(&listed(&server)), "built-in");
    std::fs::write(server.folder().join("plugins/io-stub.wasm"), NOOP).expect("written");
    let server = server.stop_and_restart();
    until_logged(&server, "plugin is ready, and replaces the built-in one of its name").await;
    assert_eq!(from(&listed(&server)), "file");
    let client = server.client();
    assert!(client.get("/plugins/io-stub").await.str("file").ends_with("io-stub.wasm"));
    let id = client.submit(&json!({})).await;
    assert_eq!(client.until(&id, "completed").await.str("result"), "ok");
}

#[tokio::test]
async fn tasks_of_a_removed_plugin_wait_for_it() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let running = client.submit(&json!({})).await;
    client.until(&running, "running").await;
    let orphan = client.submit(&json!({"plugin": "noop"})).await;
    let file = server.folder().join("plugins/noop.wasm");
    std::fs::rename(&file, file.with_extension("away")).expect("moved");
    let server = server.kill_and_restart();
    let client = server.client();
    client.delete(&format!("/task/{running}")).await;
    let other = client.submit(&json!({"plugin": "misbehave", "input": {"do": "noop"}})).await;
    client.until(&other, "completed").await;
    assert_eq!(client.get(&format!("/task/{orphan}")).await.str("state"), "waiting");
    std::fs::rename(file.with_extension("away"), &file).expect("moved");
    let server = server.stop_and_restart();
    server.client().until(&orphan, "completed").await;
}

#[tokio::test]
async fn a_running_task_keeps_its_plugin_version() {
    let server = Server::start(&[]);
    let client = server.client();
    let input = json!({"do": "progress", "fraction": 0.5, "note": "half", "ms": 8000});
    let old = client.submit(&json!({"plugin": "misbehave", "input": input})).await;
    client.until_progress(&old).await;
    std::fs::write(server.folder().join("plugins/misbehave.wasm"), tiny::plugin("new!")).expect("written");
    until_plugin(&server, "misbehave", |plugin| plugin["size_bytes"] == tiny::plugin("new!").len()).await;
    let new = client.submit(&json!({"plugin": "misbehave"})).await;
    assert_eq!(client.until(&new, "completed").await.str("result"), "new!");
    assert_ne!(client.until(&old, "completed").await.str("result"), "new!");
}

#[tokio::test]
async fn added_plugins_run_and_removed_ones_do_not() {
    let server = Server::start(&[]);
    let client = server.client();
    let path = server.folder().join("plugins/late.wasm");
    std::fs::write(&path, tiny::plugin("late")).expect("written");
    until_plugin(&server, "late", |plugin| plugin["state"] == "ready").await;
    let task = client.submit(&json!({"plugin": "late"})).await;
    assert_eq!(client.until(&task, "completed").await.str("result"), "late");
    std::fs::remove_file(path).expect("removed");
    until_plugin(&server, "late", |plugin| plugin["status"] == 404).await;
    assert_eq!(client.post("/task", &json!({"plugin": "late"})).await.status, 422);
}

async fn until_plugin(server: &Server, name: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let plugin = server.client().get(&format!("/plugins/{name}")).await;
        if is_so(&plugin.json) && plugin.json["state"] != "compiling" {
            return;
        }
        assert!(Instant::now() < deadline, "timed out: {}", plugin.text);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
