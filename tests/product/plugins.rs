//! What is in the plugins folder when the server starts.

use serde_json::json;
use wasmill_tests::{NOOP, Server};

#[tokio::test]
async fn a_broken_file_is_rejected_with_the_reason() {
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
async fn a_file_overrides_the_plugin_that_is_built_in() {
    let server = Server::start(&[]);
    let built_in = server.client().get("/plugins/io-stub").await;
    assert_eq!((built_in.str("state"), built_in.json["file"].is_null()), ("ready", true));
    std::fs::write(server.folder().join("plugins/io-stub.wasm"), NOOP).expect("written");
    let server = server.stop_and_restart();
    let client = server.client();
    assert!(client.get("/plugins/io-stub").await.str("file").ends_with("io-stub.wasm"));
    let id = client.submit(&json!({})).await;
    assert_eq!(client.until(&id, "completed").await.str("result"), "ok");
}

#[tokio::test]
async fn tasks_of_a_plugin_that_is_gone_wait_for_it() {
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
