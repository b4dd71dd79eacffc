//! Uploads over HTTP: permissions, slow clients, and clients that hang up.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::{NOOP, PROGRAM, Server, tiny};

const SOON: Duration = Duration::from_secs(60);

/// Sends an incomplete upload.
fn begin(server: &Server, name: &str) -> TcpStream {
    let mut client = TcpStream::connect(server.address()).expect("a connection");
    let length = NOOP.len();
    let head = format!(
        "PUT /plugins/{name} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/wasm\r\n\
         content-length: {length}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).expect("sent");
    client.write_all(&NOOP[..length / 2]).expect("sent");
    client
}

#[tokio::test]
async fn slow_uploads_do_not_delay_complete_ones() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let slow = [begin(&server, "slow-a"), begin(&server, "slow-b"), begin(&server, "slow-c")];
    let others = async {
        assert_eq!(client.put_plugin("quick", NOOP).await.status, StatusCode::CREATED);
        assert_eq!(client.delete("/plugins/quick").await.status, StatusCode::NO_CONTENT);
    };
    tokio::time::timeout(SOON, others).await.expect("others are served");
    // They are served as soon as they send the rest.
    for mut client in slow {
        client.write_all(&NOOP[NOOP.len() / 2..]).expect("sent");
        let mut status = [0; 12];
        client.read_exact(&mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 201");
    }
}

#[tokio::test]
async fn a_folder_or_a_dangling_link_in_place_of_a_plugin_is_named() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let plugins = server.folder().join("plugins");
    fs::create_dir(plugins.join("dir.wasm")).expect("a folder");
    for answer in [client.put_plugin("dir", NOOP).await, client.delete("/plugins/dir").await] {
        assert_eq!((answer.status, answer.str("code")), (StatusCode::CONFLICT, "folder-in-the-way"));
        assert!(answer.str("detail").contains("dir.wasm"), "{}", answer.text);
    }

    std::os::unix::fs::symlink("missing", plugins.join("broken.wasm")).expect("linked");
    let deadline = Instant::now() + SOON;
    loop {
        let shown = client.get("/plugins/broken").await;
        if shown.json["state"] == "rejected" {
            assert_eq!(shown.str("reason"), "it is a link that leads nowhere");
            break;
        }
        assert!(Instant::now() < deadline, "{}", shown.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.put_plugin("broken", NOOP).await.status, StatusCode::OK);
    assert_eq!(client.delete("/plugins/broken").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn aborted_uploads_leave_nothing_behind() {
    let server = Server::start(&["--allow-upload"]);
    for number in 0..40 {
        drop(begin(&server, &format!("gone-{number}")));
        let mut whole = begin(&server, &format!("sent-{number}"));
        whole.write_all(&NOOP[NOOP.len() / 2..]).expect("sent");
        drop(whole);
    }
    let client = server.client();
    assert_eq!(client.put_plugin("fresh", NOOP).await.status, StatusCode::CREATED);
    let plugins = server.folder().join("plugins");
    let deadline = Instant::now() + SOON;
    loop {
        let files = fs::read_dir(&plugins).expect("a folder");
        let names: Vec<_> = files.map(|file| file.expect("a file").file_name()).collect();
        let left: Vec<_> = names.iter().filter(|name| !name.to_string_lossy().ends_with(".wasm")).collect();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "uploads leave behind {left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let gone = client.get("/plugins/gone-0").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_upload_to_a_plugin_with_permissions_must_be_pinned() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let manifest = server.folder().join("plugins/secret.toml");
    let grants = "[allow]\nenv = { TOKEN = \"hunter2\" }";
    fs::write(&manifest, grants).expect("written");
    let refused = client.put_plugin("secret", NOOP).await;
    assert_eq!((refused.status, refused.str("code")), (StatusCode::CONFLICT, "plugin-not-pinned"));
    assert!(
        refused.str("detail").contains("grants env") && !refused.text.contains("hunter2"),
        "{}",
        refused.text
    );
    assert_eq!(client.get("/plugins/secret").await.status, StatusCode::NOT_FOUND);
    let digest = client.get("/plugins/noop").await.str("digest").to_owned();
    fs::write(&manifest, format!("sha256 = \"{digest}\"\n{grants}")).expect("written");
    assert_eq!(client.put_plugin("secret", NOOP).await.status, StatusCode::CREATED);
    let other = client.put_plugin("secret", &tiny::plugin("abcd")).await;
    assert_eq!((other.status, other.str("code")), (StatusCode::CONFLICT, "plugin-not-pinned"));
    assert_eq!(client.get("/plugins/secret").await.str("in_service"), digest);
    let id = client.submit(&json!({"plugin": "secret"})).await;
    client.until(&id, "completed").await;
    // A manifest without permissions may pin a digest too; then another file is rejected.
    fs::write(server.folder().join("plugins/pinned.toml"), format!("sha256 = \"{digest}\""))
        .expect("written");
    let other = client.put_plugin("pinned", &tiny::plugin("abcd")).await;
    assert_eq!((other.status, other.str("code")), (StatusCode::UNPROCESSABLE_ENTITY, "plugin-rejected"));
    assert!(other.str("detail").contains(&digest), "{}", other.text);
}

#[tokio::test]
async fn a_symlink_loop_in_the_plugins_folder_stops_neither_start_nor_reload() {
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    std::os::unix::fs::symlink("loop.wasm", plugins.join("loop.wasm")).expect("a link");
    let server = Server::start_in(folder, &[]).expect("it starts");
    let client = server.client();
    assert_eq!(client.get("/plugins/loop").await.str("state"), "rejected");
    fs::write(plugins.join("later.wasm"), NOOP).expect("written");
    let deadline = Instant::now() + SOON;
    while client.get("/plugins/later").await.json["state"] != "ready" {
        assert!(Instant::now() < deadline, "a new plugin does not come into service");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_takes_nothing() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let plugins = server.folder().join("plugins");
    let dry = async |name: &str, wasm: &[u8]| {
        let body = Some(("application/wasm", wasm.to_vec()));
        client.send(Method::PUT, &format!("/plugins/{name}?dry_run=true"), body).await.expect("an answer")
    };
    let files = || fs::read_dir(&plugins).expect("a folder").count();
    let before = files();
    let new = dry("fresh", NOOP).await;
    assert_eq!((new.status, &new.json["dry_run"], new.str("state")), (StatusCode::OK, &json!(true), "ready"));
    assert_eq!(
        (&new.json["changes"]["is_new"], &new.json["changes"]["replaces"]),
        (&json!(true), &json!(null))
    );
    assert_eq!(client.get("/plugins/fresh").await.str("code"), "unknown-plugin");

    let taken = client.put_plugin("fresh", NOOP).await;
    assert_eq!((taken.status, &taken.json["dry_run"]), (StatusCode::CREATED, &json!(false)));
    let other = dry("fresh", PROGRAM).await;
    let changes = &other.json["changes"];
    assert_eq!(other.status, StatusCode::OK, "{}", other.text);
    assert_eq!((&changes["is_new"], &changes["replaces"]), (&json!(false), &taken.json["digest"]));
    assert_ne!(other.json["digest"], taken.json["digest"]);
    assert_eq!(changes["settings"]["kind"]["from"], "task", "{}", other.text);
    assert!(changes["imports"]["added"].as_array().is_some_and(|names| !names.is_empty()), "{}", other.text);
    assert_eq!(client.get("/plugins/fresh").await.json["in_service"], taken.json["digest"]);

    let broken = dry("fresh", b"no wasm").await;
    assert_eq!((broken.status, broken.str("code")), (StatusCode::UNPROCESSABLE_ENTITY, "plugin-rejected"));
    fs::write(plugins.join("granted.toml"), "[allow]\nenv = { A = \"1\" }\n").expect("written");
    let unpinned = dry("granted", NOOP).await;
    assert_eq!((unpinned.status, unpinned.str("code")), (StatusCode::CONFLICT, "plugin-not-pinned"));
    assert_eq!(files(), before + 2, "a plugin and a manifest, of which none is of a dry run");
}
