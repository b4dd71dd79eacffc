//! Manifests, uploads, and plugins in the API.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{NOOP, Server};

#[tokio::test]
async fn a_plugin_is_shown_with_its_manifest_but_without_secrets() {
    let manifest = r#"
        description = "Does what it should not"
        limits = { memory = "2MiB", timeout = "5s", concurrency = 2 }
        retry = { max_attempts = 3, backoff = { first = "10ms" } }
        [allow]
        http = ["https://*.example.com/img/"]
        env = { TOKEN = "hush" }
        dirs = [{ host = "/usr", guest = "/in" }]
        scratch = { size = "1MiB", files = 7 }
    "#;
    let server = Server::start_with_manifest(manifest, &[]);
    let plugin = server.client().get("/plugins/misbehave").await;
    assert_eq!((plugin.str("state"), plugin.str("kind")), ("ready", "task"), "{}", plugin.text);
    assert_eq!(plugin.str("description"), "Does what it should not");
    assert_eq!(plugin.json["limits"]["memory_bytes"], 2 << 20);
    assert_eq!(plugin.json["limits"]["concurrency"], 2);
    assert_eq!(plugin.json["retry"]["max_attempts"], 3);
    assert_eq!(plugin.json["retry"]["backoff"]["first_ms"], 10);
    assert_eq!(plugin.json["permissions"]["http"], json!(["https://*.example.com:443/img/"]));
    assert_eq!(plugin.json["permissions"]["env"], json!(["TOKEN"]));
    assert_eq!(plugin.json["permissions"]["dirs"], json!([{"host": "/usr", "guest": "/in", "write": false}]));
    let scratch = json!({"guest": "/tmp", "bytes": 1 << 20, "files": 7});
    assert_eq!(plugin.json["permissions"]["scratch"], scratch);
    assert_eq!((&plugin.json["tasks"]["waiting"], &plugin.json["tasks"]["running"]), (&json!(0), &json!(0)));
    assert!(!plugin.text.contains("hush"), "{}", plugin.text);
}

#[tokio::test]
async fn the_manifest_applies_to_the_tasks_of_its_plugin() {
    let manifest = r#"
        limits = { timeout = "5s", result = "100B", logs = "64B", memory = "2MiB" }
        retry = { max_attempts = 2, backoff = { first = "1ms", factor = 1, max = "1ms" } }
    "#;
    let server = Server::start_with_manifest(manifest, &[]);
    let client = server.client();
    let run = async |input, more: Value| {
        let mut task = json!({"plugin": "misbehave", "input": input});
        task.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        client.until_finished(&client.submit(&task).await).await
    };
    let failed = run(json!({"do": "fail", "kind": "io", "message": "no"}), json!({})).await;
    assert_eq!((&failed.json["attempt"], &failed.json["timeout_ms"]), (&json!(2), &json!(5_000)));
    let once = run(json!({"do": "fail", "kind": "io", "message": "no"}), json!({"max_attempts": 1})).await;
    assert_eq!(once.json["attempt"], 1, "the request overrides the manifest");
    let longer = run(json!({"do": "noop"}), json!({"timeout": "1h"})).await;
    assert_eq!((longer.str("state"), &longer.json["timeout_ms"]), ("completed", &json!(3_600_000)));
    let large = run(json!({"do": "result", "bytes": 101}), json!({})).await;
    assert_eq!(large.str("status"), "failed by result limit");
    let hog = run(json!({"do": "hog"}), json!({})).await;
    assert_eq!(hog.str("status"), "failed by memory limit");
    let line = "x".repeat(50);
    let log = run(json!({"do": "log", "out": format!("{line}\n{line}"), "err": ""}), json!({})).await;
    assert!(log.str("log").contains("earlier bytes dropped"), "{}", log.text);
}

#[tokio::test]
async fn concurrency_of_a_manifest_limits_the_running_tasks() {
    let server = Server::start_with_manifest("limits.concurrency = 2", &[]);
    let client = server.client();
    let sleep = json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}});
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.submit(&sleep).await);
    }
    client.until(&ids[0], "running").await;
    client.until(&ids[1], "running").await;
    let other = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&other, "completed").await;
    assert_eq!(client.get(&format!("/task/{}", ids[2])).await.str("state"), "waiting");
    let plugin = client.get("/plugins/misbehave").await;
    assert_eq!((&plugin.json["tasks"]["waiting"], &plugin.json["tasks"]["running"]), (&json!(1), &json!(2)));
    client.delete(&format!("/task/{}", ids[0])).await;
    client.until(&ids[2], "running").await;
}

#[tokio::test]
async fn an_input_against_the_schema_is_422_with_a_pointer_to_each_error() {
    let server = Server::start(&[]);
    let plugins = server.folder().join("plugins");
    let schema = json!({
        "type": "object",
        "required": ["do"],
        "properties": {"ms": {"type": "integer", "maximum": 10}},
    });
    fs::write(plugins.join("misbehave.schema.json"), schema.to_string()).expect("written");
    let server = {
        let manifest = "input.schema = \"misbehave.schema.json\"";
        fs::write(plugins.join("misbehave.toml"), manifest).expect("written");
        server.stop_and_restart()
    };
    let client = server.client();
    let refused = client.post("/task", &json!({"plugin": "misbehave", "input": {"ms": 11}})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
    let faults = refused.json["errors"].as_array().expect("faults");
    let mut pointers: Vec<_> = faults.iter().filter_map(|fault| fault["pointer"].as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/input", "/input/ms"]);
    let none = client.post("/task", &json!({"plugin": "misbehave"})).await;
    assert_eq!(none.json["errors"][0]["pointer"], "/input", "{}", none.text);
    let fits = client.submit(&json!({"plugin": "misbehave", "input": {"do": "noop"}})).await;
    client.until(&fits, "completed").await;
}

#[tokio::test]
async fn an_invalid_manifest_rejects_its_plugin() {
    for (manifest, named) in [
        ("limits.memory = \"2GiB\"", ["2 GiB", "256 MiB"]),
        ("limits.logs = \"8KiB\"", ["8 KiB", "4 KiB"]),
        ("colour = \"red\"", ["line 1, column 1", "colour"]),
        ("input.schema = \"gone.json\"", ["gone.json", "no such file"]),
    ] {
        let server = Server::start_with_manifest(manifest, &["--log-tail-max", "4KiB", "--log-tail", "4KiB"]);
        let client = server.client();
        let plugin = client.get("/plugins/misbehave").await;
        assert_eq!(plugin.str("state"), "rejected", "{}", plugin.text);
        assert!(named.iter().all(|word| plugin.str("reason").contains(word)), "{}", plugin.text);
        let refused = client.post("/task", &json!({"plugin": "misbehave"})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn a_task_shows_the_digest_of_its_plugin() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let digest = client.get("/plugins/misbehave").await.str("digest").to_owned();
    let sleep = json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}});
    let first = client.submit(&sleep).await;
    let second = client.submit(&sleep).await;
    // It is running from the claim on, and gets its version a moment later.
    let bound = |record: &Value| record["state"] == "running" && !record["plugin_digest"].is_null();
    assert_eq!(client.until_task(&first, "runs a version", bound).await.str("plugin_digest"), digest);
    let waiting = client.get(&format!("/task/{second}/status")).await;
    assert!(waiting.json["plugin_digest"].is_null(), "{}", waiting.text);
    let cancelled = client.post(&format!("/task/{first}/cancel"), &json!({})).await;
    assert_eq!(cancelled.str("plugin_digest"), digest);
    client.delete(&format!("/task/{second}")).await;
    let noop = client.submit(&json!({"plugin": "noop"})).await;
    let done = client.until(&noop, "completed").await;
    assert_eq!(done.str("plugin_digest"), client.get("/plugins/noop").await.str("digest"));
}

#[tokio::test]
async fn an_invalid_backoff_is_422() {
    let server = Server::start(&[]);
    let client = server.client();
    for (backoff, pointer) in [
        (json!("1s"), "/backoff"),
        (json!(["1s", 2, "5m"]), "/backoff"),
        (json!({"first": "soon"}), "/backoff/first"),
        (json!({"factor": "2"}), "/backoff/factor"),
        (json!({"factor": 0.5}), "/backoff"),
        (json!({"first": "2s", "max": "1s"}), "/backoff"),
        (json!({"last": "1s"}), "/backoff/last"),
    ] {
        let refused = client.post("/task", &json!({"plugin": "noop", "backoff": backoff})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{backoff}");
        assert_eq!(refused.json["errors"][0]["pointer"], pointer, "{}", refused.text);
    }
    let fine = json!({"plugin": "noop", "backoff": {"first": "1s", "factor": 2, "max": "5m"}});
    client.submit(&fine).await;
}

#[tokio::test]
async fn an_upload_adds_a_plugin_and_a_broken_one_changes_nothing() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let new = client.put_plugin("fresh", NOOP).await;
    assert_eq!((new.status, new.str("state")), (StatusCode::CREATED, "ready"), "{}", new.text);
    assert_eq!(client.put_plugin("fresh", NOOP).await.status, StatusCode::OK);
    for broken in [&b"not wasm"[..], &NOOP[..NOOP.len() / 2], b""] {
        let refused = client.put_plugin("fresh", broken).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
        assert_eq!(refused.str("code"), "plugin-rejected");
    }
    let id = client.submit(&json!({"plugin": "fresh"})).await;
    client.until(&id, "completed").await;
    let files = fs::read_dir(server.folder().join("plugins")).expect("a folder");
    let names: Vec<_> = files.map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(names.len(), 3, "no upload leaves anything behind: {names:?}");
    assert_eq!(client.delete("/plugins/fresh").await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.delete("/plugins/fresh").await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.delete("/plugins/io-stub").await.str("code"), "built-in-plugin");
    let refused = client.post("/task", &json!({"plugin": "fresh"})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn uploads_need_permission_a_name_and_a_content_type() {
    let server = Server::start(&[]);
    let client = server.client();
    assert_eq!(client.put_plugin("fresh", NOOP).await.str("code"), "uploads-disabled");
    let refused = client.delete("/plugins/noop").await;
    assert_eq!((refused.status, refused.str("code")), (StatusCode::FORBIDDEN, "uploads-disabled"));
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    assert_eq!(client.put_plugin("Bad%20Name", NOOP).await.str("code"), "invalid-plugin-name");
    let body = Some(("text/plain", NOOP.to_vec()));
    let refused = client.send(Method::PUT, "/plugins/fresh", body).await.expect("an answer");
    assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn an_unwritable_plugins_folder_is_reported() {
    let server = Server::start(&["--allow-upload"]);
    let plugins = server.folder().join("plugins");
    // Root ignores permissions, but a file in place of the folder fails for everyone.
    fs::set_permissions(&plugins, fs::Permissions::from_mode(0o555)).expect("set");
    fs::rename(&plugins, server.folder().join("away")).expect("moved");
    fs::write(&plugins, "in the way").expect("written");
    let refused = server.client().put_plugin("fresh", NOOP).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text);
    assert_eq!(refused.str("code"), "plugins-folder-unavailable");
    assert!(refused.str("detail").contains("cannot be changed"), "{}", refused.text);
}
