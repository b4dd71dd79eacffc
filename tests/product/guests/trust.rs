//! Which files may be plugins: listed ones, or signed ones.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, NOOP, Server, ServerFolder, Signer, tiny, wasmill};

const SOON: Duration = Duration::from_secs(60);

/// Waits until a plugin is in this state, and returns it.
async fn until_plugin(client: &Client, name: &str, state: &str) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        let plugin = client.get(&format!("/plugins/{name}")).await;
        if plugin.json["state"] == state {
            return plugin.json;
        }
        assert!(Instant::now() < deadline, "{name} is not {state}: {}", plugin.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn reason(plugin: &Value) -> &str {
    plugin["reason"].as_str().unwrap_or_default()
}

/// Uploads a plugin with a signature.
async fn put(client: &Client, name: &str, query: &str, wasm: &[u8], signature: Option<&str>) -> Answer {
    let signature = signature.map(|signature| BASE64.encode(signature.as_bytes()));
    let headers: Vec<_> = signature.iter().map(|value| ("wasmill-signature", value.as_str())).collect();
    let body = Some(("application/wasm", wasm.to_vec()));
    let path = format!("/plugins/{name}{query}");
    client.send_with(Method::PUT, &path, &headers, body).await.expect("an answer")
}

/// A server that takes signed plugins only.
struct SignedServer {
    server: Server,
    signer: Signer,
}

impl SignedServer {
    fn start(prepare: impl FnOnce(&Signer, PathBuf)) -> Self {
        let (signer, folder) = (Signer::new(), ServerFolder::new());
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins).expect("a folder");
        prepare(&signer, plugins);
        let keys = folder.path().join("keys.pub");
        fs::write(&keys, format!("{}{}", Signer::new().public(), signer.public())).expect("written");
        let keys = keys.to_str().expect("UTF-8").to_owned();
        let args = ["--allow-upload", "--plugin-trust", "signed", "--plugin-keys", &keys];
        let server = Server::start_in(Arc::clone(&folder), &args).expect("a server");
        server.wait_for_plugins();
        Self { server, signer }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.server.folder().join("plugins").join(name)
    }
}

#[tokio::test]
async fn unlisted_and_unsigned_files_never_run_and_say_why() {
    let folder = Server::folder_with_guests();
    let listed = wasmill(folder.path(), &["plugin", "trust", "plugins/noop.wasm"]);
    assert!(listed.code == 0 && listed.out.contains("noop.wasm trusted with"), "{listed:?}");
    let args = ["--allow-upload", "--plugin-trust", "listed"];
    let server = Server::start_in(Arc::clone(&folder), &args).expect("a server");
    server.wait_for_plugins();
    let client = server.client();
    until_plugin(&client, "noop", "ready").await;
    until_plugin(&client, "io-stub", "ready").await;
    let refused = until_plugin(&client, "misbehave", "rejected").await;
    assert!(
        reason(&refused).contains("misbehave.wasm is not listed")
            && reason(&refused).contains("wasmill plugin trust misbehave.wasm"),
        "{refused}"
    );
    let task = client.post("/task", &json!({"plugin": "misbehave", "input": {"do": "noop"}})).await;
    assert_eq!(task.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", task.text);
    let doctor = wasmill(folder.path(), &["doctor", "--plugin-trust", "listed"]);
    assert!(doctor.out.contains("1 of 2 plugins are not trusted"), "{doctor:?}");

    // Neither an upload nor its preview gets in.
    let unknown = tiny::plugin("abcd");
    for query in ["", "?dry_run=true"] {
        let refused = put(&client, "fresh", query, &unknown, None).await;
        assert_eq!(
            (refused.status, refused.str("code")),
            (StatusCode::UNPROCESSABLE_ENTITY, "plugin-rejected")
        );
        assert!(refused.str("detail").contains("not listed"), "{}", refused.text);
    }
    fs::write(folder.path().join("fresh.wasm"), &unknown).expect("written");
    for file in ["fresh.wasm", "plugins/misbehave.wasm"] {
        assert!(wasmill(folder.path(), &["plugin", "trust", file]).code == 0);
    }
    // The server notices the list.
    until_plugin(&client, "misbehave", "ready").await;
    assert_eq!(put(&client, "fresh", "?dry_run=true", &unknown, None).await.status, StatusCode::OK);
    assert_eq!(put(&client, "fresh", "", &unknown, None).await.status, StatusCode::CREATED);

    let signed = SignedServer::start(|signer, plugins| {
        fs::write(plugins.join("good.wasm"), NOOP).expect("written");
        fs::write(plugins.join("good.wasm.minisig"), signer.sign(NOOP, "file:good.wasm")).expect("written");
        fs::write(plugins.join("bad.wasm"), NOOP).expect("written");
        fs::write(plugins.join("foreign.wasm"), NOOP).expect("written");
        let foreign = Signer::new().sign(NOOP, "file:foreign.wasm");
        fs::write(plugins.join("foreign.wasm.minisig"), foreign).expect("written");
    });
    let client = signed.server.client();
    until_plugin(&client, "good", "ready").await;
    until_plugin(&client, "io-stub", "ready").await;
    assert!(reason(&until_plugin(&client, "bad", "rejected").await).contains("bad.wasm is not signed"));
    assert!(reason(&until_plugin(&client, "foreign", "rejected").await).contains("a key that is not in"));
    let refused = put(&client, "fresh", "", NOOP, None).await;
    assert_eq!((refused.status, refused.str("code")), (StatusCode::UNPROCESSABLE_ENTITY, "plugin-rejected"));
    // A signature that comes later is noticed.
    fs::write(signed.file("bad.wasm.minisig"), signed.signer.sign(NOOP, "bad.wasm")).expect("written");
    until_plugin(&client, "bad", "ready").await;
    assert!(!signed.server.log().contains("looks like"), "{}", signed.server.log());
}

#[tokio::test]
async fn a_signature_of_another_plugin_or_an_older_one_is_refused() {
    let SignedServer { server, signer } = SignedServer::start(|_, _| {});
    let client = server.client();
    let [one, two] = ["aaaa", "bbbb"].map(tiny::plugin);
    let sign = |wasm: &[u8], comment: &str| Some(signer.sign(wasm, comment));
    let of_two = sign(&two, "file:p.wasm version=1.10");
    let added = put(&client, "p", "", &two, of_two.as_deref()).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    for (wasm, signature, said) in [
        (&one, sign(&one, "file:q.wasm version=2"), "does not name the file"),
        (&one, sign(&one, "file:p.wasm version=1.9"), "of version 1.9, and version 1.10 has been"),
        (&one, sign(&one, "file:p.wasm"), "names no version"),
        (&one, sign(&two, "file:p.wasm version=3"), "of other bytes"),
        (&one, None, "of other bytes"),
    ] {
        for query in ["?dry_run=true", ""] {
            let refused = put(&client, "p", query, wasm, signature.as_deref()).await;
            assert_eq!(refused.str("code"), "plugin-rejected", "{}", refused.text);
            assert!(refused.str("detail").contains(said), "{said}: {}", refused.text);
        }
    }
    for signature in ["not base64!", "", &BASE64.encode(&[b'x'; 9_000])] {
        let headers = [("wasmill-signature", signature)];
        let body = Some(("application/wasm", one.clone()));
        let refused = client.send_with(Method::PUT, "/plugins/p", &headers, body).await.expect("an answer");
        assert!(
            refused.status.is_client_error() && refused.text.contains("Wasmill-Signature"),
            "{}",
            refused.text
        );
    }
    assert_eq!(until_plugin(&client, "p", "ready").await["in_service"], added.json["digest"]);

    // Nor after a restart, when somebody copies old files over.
    drop(client);
    let plugins = server.folder().join("plugins");
    let mut server = server;
    assert!(server.terminate().success());
    fs::write(plugins.join("p.wasm"), &one).expect("written");
    fs::write(plugins.join("p.wasm.minisig"), signer.sign(&one, "file:p.wasm version=1.9")).expect("written");
    let server = server.start_beside().expect("a server");
    let client = server.client();
    let refused = until_plugin(&client, "p", "rejected").await;
    assert!(reason(&refused).contains("--allow-older") && refused["in_service"].is_null(), "{refused}");
    let mut server = server;
    assert!(server.terminate().success());
    let server = server.start_beside_with(&["--allow-older"]).expect("a server");
    until_plugin(&server.client(), "p", "ready").await;
}

#[tokio::test]
async fn an_upload_brings_its_signature_and_a_restart_finds_both() {
    let SignedServer { server, signer } = SignedServer::start(|_, _| {});
    let wasm = tiny::plugin("aaaa");
    let file = server.folder().join("built.wasm");
    fs::write(&file, &wasm).expect("written");
    fs::write(server.folder().join("built.wasm.minisig"), signer.sign(&wasm, "file:p.wasm version=1"))
        .expect("written");
    let url = format!("http://{}", server.address());
    let args = ["plugin", "put", "built.wasm", "--name", "p", "--server", &url];
    let added = wasmill(server.folder(), &args);
    assert!(added.code == 0 && added.out.contains("p added"), "{added:?}");
    let named = [&args[..], &["--signature", "missing.minisig"]].concat();
    assert!(wasmill(server.folder(), &named).code != 0);
    let signature = server.folder().join("plugins/p.wasm.minisig");
    assert_eq!(
        fs::read_to_string(&signature).expect("it is there"),
        signer.sign(&wasm, "file:p.wasm version=1")
    );
    let server = server.kill_and_restart();
    let client = server.client();
    until_plugin(&client, "p", "ready").await;
    assert_eq!(client.delete("/plugins/p").await.status, StatusCode::NO_CONTENT);
    assert!(!signature.exists());
}

#[tokio::test]
async fn a_manifest_cannot_be_slipped_beside_a_signed_plugin() {
    let signed = SignedServer::start(|signer, plugins| {
        fs::write(plugins.join("p.wasm"), NOOP).expect("written");
        fs::write(plugins.join("p.wasm.minisig"), signer.sign(NOOP, "file:p.wasm")).expect("written");
    });
    let client = signed.server.client();
    until_plugin(&client, "p", "ready").await;
    let manifest = "allow.env = { TOKEN = \"x\" }\ninput.schema = \"in/p.json\"\n";
    fs::create_dir(signed.file("in")).expect("a folder");
    fs::write(signed.file("in/p.json"), "{}").expect("written");
    fs::write(signed.file("p.toml"), manifest).expect("written");
    let refused = until_plugin(&client, "p", "rejected").await;
    assert!(
        reason(&refused).contains("p.toml is not signed") && refused["in_service"].is_string(),
        "{refused}"
    );
    // A signature of other bytes, or of another file, is none.
    for bytes in [&b"result = \"json\""[..], NOOP] {
        fs::write(signed.file("p.toml.minisig"), signed.signer.sign(bytes, "file:p.toml")).expect("written");
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(reason(&until_plugin(&client, "p", "rejected").await).contains("p.toml"));
    }
    let of_manifest = signed.signer.sign(manifest.as_bytes(), "file:p.toml");
    fs::write(signed.file("p.toml.minisig"), of_manifest).expect("written");
    // Its schema has to be signed, too.
    let deadline = Instant::now() + SOON;
    while !reason(&client.get("/plugins/p").await.json).contains("in/p.json is not signed") {
        assert!(Instant::now() < deadline, "{}", client.get("/plugins/p").await.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::write(signed.file("in/p.json.minisig"), signed.signer.sign(b"{}", "file:in/p.json"))
        .expect("written");
    assert_eq!(until_plugin(&client, "p", "ready").await["permissions"]["env"], json!(["TOKEN"]));

    // The same with a list.
    let folder = Server::folder_with_guests();
    assert!(wasmill(folder.path(), &["plugin", "trust", "plugins/noop.wasm"]).code == 0);
    let server = Server::start_in(Arc::clone(&folder), &["--plugin-trust", "listed"]).expect("a server");
    let client = server.client();
    until_plugin(&client, "noop", "ready").await;
    fs::write(folder.path().join("plugins/noop.toml"), "allow.env = { TOKEN = \"x\" }").expect("written");
    assert!(reason(&until_plugin(&client, "noop", "rejected").await).contains("noop.toml is not listed"));
    assert!(wasmill(folder.path(), &["plugin", "trust", "plugins/noop.toml"]).code == 0);
    assert_eq!(until_plugin(&client, "noop", "ready").await["permissions"]["env"], json!(["TOKEN"]));
}

#[test]
fn a_server_does_not_start_with_keys_that_are_none() {
    let folder = ServerFolder::new();
    let serve = |args: &[&str]| {
        let output = wasmill(folder.path(), &[&["serve", "--listen", "127.0.0.1:0"], args].concat());
        assert_eq!(output.code, 2, "{output:?}");
        output.err
    };
    assert!(serve(&["--plugin-trust", "signed"]).contains("needs --plugin-keys"));
    assert!(serve(&["--plugin-keys", "keys.pub"]).contains("needs --plugin-trust signed"));
    let args = ["--plugin-trust", "signed", "--plugin-keys", "keys.pub"];
    assert!(serve(&args).contains("keys.pub"));
    fs::write(folder.path().join("keys.pub"), "RWQ").expect("written");
    assert!(serve(&args).contains("line 1 is no public key"));
}
