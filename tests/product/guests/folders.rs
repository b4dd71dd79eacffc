//! Granted folders: no guest escapes them or exhausts resources of the server.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::{Answer, Client, PROGRAM, Server, ServerFolder, tiny};

/// Deadline for what happens within seconds.
const SOON: Duration = Duration::from_secs(60);

/// Creates a folder with the program under these plugin names, and folders to grant.
fn folder(plugins: &[(&str, String)]) -> Arc<ServerFolder> {
    let folder = ServerFolder::new();
    for path in ["plugins", "work/out", "other", "secrets"] {
        fs::create_dir_all(folder.path().join(path)).expect("a folder");
    }
    fs::write(folder.path().join("secrets/key"), "secret").expect("written");
    fs::write(folder.path().join("work/out/key"), "own").expect("written");
    for (name, manifest) in plugins {
        add(folder.path(), name, PROGRAM, manifest);
    }
    folder
}

fn add(folder: &Path, name: &str, wasm: &[u8], manifest: &str) {
    let plugins = folder.join("plugins");
    fs::write(plugins.join(format!("{name}.toml")), manifest.replace("ROOT", &folder.display().to_string()))
        .expect("written");
    fs::write(plugins.join(format!("{name}.wasm")), wasm).expect("written");
}

fn dirs(granted: &[(&str, &str, bool)]) -> String {
    let dir = |(host, guest, write): &(&str, &str, bool)| {
        format!("{{ host = \"ROOT/{host}\", guest = \"{guest}\", write = {write} }}")
    };
    format!("allow.dirs = [{}]", granted.iter().map(dir).collect::<Vec<_>>().join(", "))
}

async fn plugin(client: &Client, name: &str, state: &str) -> Answer {
    let deadline = Instant::now() + SOON;
    loop {
        let plugin = client.get(&format!("/plugins/{name}")).await;
        if plugin.json["state"] == state {
            return plugin;
        }
        assert!(Instant::now() < deadline, "{name} is not {state}: {}", plugin.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn run(client: &Client, plugin: &str, args: &[&str]) -> Answer {
    let id = client.submit(&json!({"plugin": plugin, "input": {"args": args}})).await;
    client.until_finished(&id).await
}

#[tokio::test]
async fn a_writable_grant_must_not_contain_another_grant() {
    let within = dirs(&[("work", "/work", true), ("work/out", "/out", true)]);
    let folder = folder(&[("both", within), ("writer", dirs(&[("work", "/work", true)]))]);
    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    let refused = plugin(&client, "both", "rejected").await;
    assert!(
        refused.str("reason").contains("is writable and contains")
            && refused.str("reason").contains("work/out"),
        "{}",
        refused.text
    );
    plugin(&client, "writer", "ready").await;

    // A plugin loaded later is checked against those in service.
    add(server.folder(), "reader", PROGRAM, &dirs(&[("work/out", "/out", false)]));
    let refused = plugin(&client, "reader", "rejected").await;
    assert!(refused.str("reason").contains("plugin 'writer'"), "{}", refused.text);
    // And vice versa, once the outer grant is gone.
    fs::remove_file(server.folder().join("plugins/writer.wasm")).expect("removed");
    let gone = async || client.get("/plugins/writer").await.status == StatusCode::NOT_FOUND;
    let deadline = Instant::now() + SOON;
    while !gone().await {
        assert!(Instant::now() < deadline, "the plugin stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    add(server.folder(), "reader", PROGRAM, &format!("{}\n", dirs(&[("work/out", "/out", false)])));
    plugin(&client, "reader", "ready").await;
    add(server.folder(), "writer", PROGRAM, &dirs(&[("work", "/work", true)]));
    let refused = plugin(&client, "writer", "rejected").await;
    assert!(refused.str("reason").contains("plugin 'reader'"), "{}", refused.text);
}

#[tokio::test]
async fn guests_cannot_write_to_configuration_files_or_to_links_that_lead_to_them() {
    // As in a mounted config map: a guest that may write there could grant itself anything.
    let folder = folder(&[("own", String::new()), ("schema", "input.schema = \"s.json\"".to_owned())]);
    let root = folder.path().canonicalize().expect("a path");
    let link = |target: &str, link: &str| {
        let _ = fs::remove_file(root.join(link));
        std::os::unix::fs::symlink(target, root.join(link)).expect("linked");
    };
    let own = dirs(&[("other", "/w", true)]).replace("ROOT", &root.display().to_string());
    fs::write(root.join("other/own.toml"), own).expect("written");
    fs::write(root.join("other/s.json"), "{}").expect("written");
    link("../other/own.toml", "plugins/own.toml");
    link("../other/s.json", "plugins/s.json");
    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    for (name, file) in [("own", "own.toml"), ("schema", "s.json")] {
        let refused = plugin(&client, name, "rejected").await;
        let reason = refused.str("reason");
        assert!(reason.contains(file) && reason.contains("plugin 'own'"), "{reason}");
    }

    // A plugin in service takes precedence, in either order, and a changed link is checked again.
    fs::remove_file(root.join("plugins/own.wasm")).expect("removed");
    fs::write(root.join("plugins/schema.toml"), "input.schema = \"s.json\"\n").expect("written");
    plugin(&client, "schema", "ready").await;
    add(&root, "writer", PROGRAM, &dirs(&[("other", "/w", true)]));
    let refused = plugin(&client, "writer", "rejected").await;
    let reason = refused.str("reason");
    assert!(reason.contains("s.json") && reason.contains("plugin 'schema'"), "{reason}");
    add(&root, "writer", PROGRAM, &dirs(&[("work", "/w", true)]));
    plugin(&client, "writer", "ready").await;
    fs::write(root.join("work/s.json"), "{ }").expect("written");
    link("../work/s.json", "plugins/s.json");
    let refused = plugin(&client, "schema", "rejected").await;
    let reason = refused.str("reason");
    assert!(reason.contains("s.json") && reason.contains("plugin 'writer'"), "{reason}");
}

#[tokio::test]
async fn a_symlink_in_place_of_a_granted_folder_is_refused_with_the_reason() {
    let folder = folder(&[("reader", dirs(&[("work/out", "/out", false)]))]);
    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    plugin(&client, "reader", "ready").await;
    assert_eq!(run(&client, "reader", &["read", "/out/key"]).await.json["result"], "own");
    let (out, old) = (server.folder().join("work/out"), server.folder().join("work/old"));
    fs::rename(&out, &old).expect("renamed");
    std::os::unix::fs::symlink("../secrets", &out).expect("linked");
    let refused = run(&client, "reader", &["read", "/out/key"]).await;
    assert_eq!(refused.str("status"), "failed by fault of the host", "{}", refused.text);
    let message = refused.json["error"]["message"].as_str().expect("a message");
    assert!(message.contains("work/out") && message.contains("removed or replaced"), "{message}");
    let shown = plugin(&client, "reader", "rejected").await;
    assert!(shown.str("reason").contains("passes through the link"), "{}", shown.text);
    // A restart does not follow it either.
    let server = server.stop_and_restart();
    let client = server.client();
    plugin(&client, "reader", "rejected").await;
    fs::remove_file(&out).expect("removed");
    fs::rename(&old, &out).expect("renamed");
    plugin(&client, "reader", "ready").await;
    assert_eq!(run(&client, "reader", &["read", "/out/key"]).await.json["result"], "own");
}

#[tokio::test]
async fn the_servers_own_folders_cannot_be_granted() {
    let granted = [
        ("a", ("plugins", true)),
        ("b", ("plugins/sub", true)),
        ("c", ("data", false)),
        ("d", ("data/cache", true)),
        ("e", (".", true)),
        ("f", (".", false)),
    ];
    let plugins: Vec<_> =
        granted.iter().map(|(name, (host, write))| (*name, dirs(&[(host, "/in", *write)]))).collect();
    let folder = folder(&plugins);
    for path in ["plugins/sub", "data/cache"] {
        fs::create_dir_all(folder.path().join(path)).expect("a folder");
    }
    // The folder of the test, without the dot.
    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    for (name, _) in granted {
        let refused = plugin(&client, name, "rejected").await;
        let reason = refused.str("reason");
        assert!(reason.contains("no plugin may") || reason.contains("link"), "{name}: {reason}");
    }
}

#[tokio::test]
async fn a_denied_write_is_logged_with_the_manifest_line_that_permits_it() {
    let folder = folder(&[("reader", dirs(&[("work", "/work", false)]))]);
    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    plugin(&client, "reader", "ready").await;
    for _ in 0..2 {
        let output = run(&client, "reader", &["put", "/work/new", "text"]).await;
        assert!(!server.folder().join("work/new").exists(), "{}", output.text);
    }
    let log = server.log();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("a write to the folder /work was denied")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("write = true") && lines[0].contains("reader.toml"), "{log}");
}

/// Opens the same file until it fails, logs the error number, and waits.
const HOARD: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $path_open
        (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "key")
    (data (i32.const 128) "stopped by 00\n")
    (func (export "_start") (local $errno i32)
        (loop $more
            (br_if $more (i32.eqz (local.tee $errno (call $path_open (i32.const 3) (i32.const 1)
                (i32.const 64) (i32.const 3) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))))))
        (i32.store8 (i32.const 139) (i32.add (i32.const 48) (i32.div_u (local.get $errno) (i32.const 10))))
        (i32.store8 (i32.const 140) (i32.add (i32.const 48) (i32.rem_u (local.get $errno) (i32.const 10))))
        (i32.store (i32.const 0) (i32.const 128)) (i32.store (i32.const 4) (i32.const 14))
        (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store offset=16 (i32.const 512) (i32.const 1))
        (i64.store offset=24 (i32.const 512) (i64.const 3600000000000))
        (drop (call $poll (i32.const 512) (i32.const 600) (i32.const 1) (i32.const 8)))))"#;

#[tokio::test]
async fn guests_cannot_exhaust_the_servers_file_descriptors() {
    let folder = folder(&[]);
    add(folder.path(), "hoard", &tiny::parse(HOARD), &dirs(&[("work/out", "/out", false)]));
    add(folder.path(), "reader", PROGRAM, &dirs(&[("work/out", "/out", false)]));
    let server = Server::start_with_open_files(folder, &[], 500).expect("a server");
    let client = server.client();
    plugin(&client, "hoard", "ready").await;
    plugin(&client, "reader", "ready").await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        let id = client.submit(&json!({"plugin": "hoard"})).await;
        // 33 is EMFILE: too many open files.
        client
            .until_task(&id, "stopped by too many open files", |record| {
                record["log"].as_str().is_some_and(|log| log.contains("stopped by 33"))
            })
            .await;
        ids.push(id);
    }
    let output = run(&client, "reader", &["read", "/out/key"]).await;
    assert_eq!(output.str("state"), "completed", "{}", output.text);
    assert_ne!(output.json["result"], "own", "all that guests may hold is taken");
    let health = client.send(Method::GET, "/healthz", None).await.expect("an answer");
    assert_eq!(health.status, StatusCode::OK);
    // The plugins folder is still read, and new plugins are loaded.
    add(server.folder(), "later", PROGRAM, &dirs(&[("work/out", "/out", false)]));
    plugin(&client, "later", "ready").await;
    for id in ids {
        client.delete(&format!("/task/{id}")).await;
    }
    assert_eq!(run(&client, "reader", &["read", "/out/key"]).await.json["result"], "own");
    assert!(server.log().contains("reached the limit of open files"), "{}", server.log());
}
