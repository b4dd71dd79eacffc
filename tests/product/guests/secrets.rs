//! Secrets of the operator: placed by the host, revealed and removed, rotated, pinned, missing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wasmill_tests::mock_server::{MockServer, Reply};
use wasmill_tests::{Authority, Client, SECRETIVE, Server, wasmill};

const SOON: Duration = Duration::from_secs(60);

/// The value of a secret, in the tests that look for it everywhere.
const VALUE: &str = "hunter2-correct-horse-battery";

/// A server that records the raw requests it gets.
struct Recorder {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// Listens on loopback, with TLS if there is an authority. Requests for `/redirect` are sent to this URL.
    async fn start(authority: Option<&Authority>, redirect: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let acceptor = authority.map(|authority| {
            let certificate = authority.issue();
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(
                    vec![CertificateDer::from(certificate.der)],
                    PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key"),
                );
            TlsAcceptor::from(Arc::new(config.expect("a pair")))
        });
        let recorded = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, recorded, redirect) =
                    (acceptor.clone(), Arc::clone(&recorded), redirect.clone());
                tokio::spawn(async move {
                    match acceptor {
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                record(stream, &recorded, &redirect).await;
                            }
                        }
                        None => record(stream, &recorded, &redirect).await,
                    }
                });
            }
        });
        Self { port, requests }
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.requests.lock().expect("a list")).join("\n")
    }
}

/// Reads one request, records it, and answers it.
async fn record(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    recorded: &Mutex<Vec<String>>,
    redirect: &str,
) {
    let mut received = Vec::new();
    let is_whole = |received: &[u8]| {
        let text = String::from_utf8_lossy(received).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        match length.map(|length| length.parse::<usize>().unwrap_or(0)) {
            Some(length) => body.len() >= length,
            None => !head.contains("chunked") || body.ends_with("0\r\n\r\n"),
        }
    };
    while !is_whole(&received) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(bytes) => received.extend_from_slice(&piece[..bytes]),
        }
    }
    let text = String::from_utf8_lossy(&received).into_owned();
    let head = match text.split(' ').nth(1) {
        Some("/redirect") => format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {redirect}\r\n"),
        _ => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    recorded.lock().expect("a list").push(text);
    let answer = format!("{head}content-length: 0\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Starts a server with these secrets and a manifest for the plugin `secretive`.
fn serve(
    secrets: &[(&str, &str)],
    extra: &str,
    manifest: &str,
    args: &[&str],
    prepare: impl FnOnce(&Path),
) -> Server {
    let folder = Server::folder_with_guests();
    let mut settings = "[secrets]\n".to_owned();
    for (name, value) in secrets {
        let file = folder.path().join(name);
        fs::write(&file, format!("{value}\n")).expect("written");
        settings.push_str(&format!("{name} = {{ file = {file:?}{extra} }}\n"));
    }
    fs::write(folder.path().join("wasmill.toml"), settings).expect("written");
    let plugins = folder.path().join("plugins");
    fs::write(plugins.join("secretive.wasm"), SECRETIVE).expect("written");
    fs::write(plugins.join("secretive.toml"), manifest).expect("written");
    prepare(folder.path());
    let server = Server::start_in(folder, args).expect("a server");
    server.wait_for_plugins();
    server
}

/// Runs a deed, and returns the result.
async fn result_of(client: &Client, input: &Value) -> Value {
    let id = client.submit(&json!({"plugin": "secretive", "input": input})).await;
    let task = client.until(&id, "completed").await;
    serde_json::from_str(task.str("result")).unwrap_or_else(|_| task.json["result"].clone())
}

async fn until_plugin(client: &Client, said: &str) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        let plugin = client.get("/plugins/secretive").await;
        if plugin.text.contains(said) {
            return plugin.json;
        }
        assert!(Instant::now() < deadline, "{said}: {}", plugin.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A try to get a secret out: what it is, where the request goes, a header with its value, a body, and the value of the
/// header as it arrives, or nothing if no secret does.
type Try = (&'static str, &'static str, (&'static str, &'static str), &'static str, &'static str);

/// `{own}`, `{other}` and `{plain}` are ports; the first is that of the origin in the manifest.
const TRIES: [Try; 22] = [
    ("its origin", "https://localhost:{own}/", BEARER, "", SENT),
    ("another path", "https://localhost:{own}/v1/charges?x=1", BEARER, "", SENT),
    ("upper case", "https://LOCALHOST:{own}/", BEARER, "", SENT),
    ("a trailing dot", "https://localhost.:{own}/", BEARER, "", SENT),
    ("another header", "https://localhost:{own}/", ("x-api-key", "${KEY}"), "", VALUE),
    (
        "within a value",
        "https://localhost:{own}/",
        ("x", "a ${KEY} b"),
        "",
        "a hunter2-correct-horse-battery b",
    ),
    (
        "basic",
        "https://localhost:{own}/",
        ("authorization", "Basic ${USER}"),
        "",
        "Basic YWRhOnBhc3Mtb2YtYWRh",
    ),
    ("a redirect", "https://localhost:{own}/redirect", BEARER, "", SENT),
    ("user information", "https://ada@localhost:{own}/", BEARER, "", ""),
    ("another port", "https://localhost:{other}/", BEARER, "", ""),
    ("plain HTTP", "http://localhost:{plain}/", BEARER, "", ""),
    ("plain HTTP at its port", "http://localhost:{own}/", BEARER, "", ""),
    ("an address", "https://127.0.0.1:{own}/", BEARER, "", ""),
    ("a subdomain", "https://sub.localhost:{own}/", BEARER, "", ""),
    ("a longer name", "https://localhost.evil.example:{own}/", BEARER, "", ""),
    ("the path", "https://localhost:{own}/${KEY}", ("x", "y"), "", ""),
    ("the query", "https://localhost:{own}/?key=${KEY}", ("x", "y"), "", ""),
    ("the body", "https://localhost:{own}/", ("x", "y"), "key=${KEY}", ""),
    ("the name of a header", "https://localhost:{own}/", ("${KEY}", "y"), "", ""),
    ("a secret for another origin", "https://localhost:{own}/", ("x", "${OTHER}"), "", ""),
    ("the name of the variable", "https://localhost:{own}/", ("x", "KEY"), "", ""),
    (
        "a placeholder of nobody",
        "https://localhost:{own}/",
        ("x", "wmsecret:00000000000000000000000000000000"),
        "",
        "",
    ),
];
const BEARER: (&str, &str) = ("authorization", "Bearer ${KEY}");
const SENT: &str = "Bearer hunter2-correct-horse-battery";

/// Tries in which the placeholder arrives in vain, which shows that they were really made.
const IN_VAIN: [&str; 6] = ["another port", "plain HTTP", "an address", "the path", "the query", "the body"];

/// The servers of the tries, and one of Wasmill.
struct Place {
    own: Recorder,
    other: Recorder,
    plain: Recorder,
    server: Server,
}

impl Place {
    async fn start() -> Self {
        let authority = Authority::new();
        let other = Recorder::start(Some(&authority), String::new()).await;
        let plain = Recorder::start(None, String::new()).await;
        let own = Recorder::start(Some(&authority), format!("https://localhost:{}/", other.port)).await;
        let place = |template: &str| {
            let ports = [("{own}", own.port), ("{other}", other.port), ("{plain}", plain.port)];
            ports.iter().fold(template.to_owned(), |text, (name, port)| text.replace(name, &port.to_string()))
        };
        let manifest = place(
            "[allow]\nhttp = [\"https://localhost:{own}\", \"https://127.0.0.1:{own}\", \
             \"https://*.localhost:{own}\", \"https://localhost:{other}\", \"http://localhost:{plain}\"]\n\
             [allow.secrets]\nKEY = { to = [\"https://localhost:{own}\"], in = \"header\" }\n\
             USER = { to = [\"https://localhost:{own}\"], in = \"basic:ada\" }\n\
             OTHER = { to = [\"https://localhost:{other}\"], in = \"header\" }\n",
        );
        let secrets = [("KEY", VALUE), ("USER", "pass-of-ada"), ("OTHER", "for-another-origin")];
        let prepare = |folder: &Path| fs::write(folder.join("ca.pem"), authority.pem()).expect("written");
        let server = serve(&secrets, "", &manifest, &["--http-roots", "ca.pem"], prepare);
        Self { own, other, plain, server }
    }

    /// Returns the input of the guest for a try.
    fn input(&self, (_, url, (name, value), body, _): Try) -> Value {
        let ports = [("{own}", &self.own), ("{other}", &self.other), ("{plain}", &self.plain)];
        let url =
            ports.iter().fold(url.to_owned(), |url, (name, at)| url.replace(name, &at.port.to_string()));
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (authority, path) = rest.split_once('/').expect("a path");
        let headers = BTreeMap::from([(name, value)]);
        let path = format!("/{path}");
        let request =
            json!({"scheme": scheme, "authority": authority, "path": path, "headers": headers, "body": body});
        json!({"do": "send", "requests": [request]})
    }
}

#[tokio::test]
async fn a_placed_secret_leaves_only_to_its_origin_in_a_header_over_tls() {
    let place = Place::start().await;
    let client = place.server.client();
    until_plugin(&client, "\"ready\"").await;
    for attempt in TRIES {
        let (what, _, (header, _), _, expected) = attempt;
        let done = result_of(&client, &place.input(attempt)).await;
        let (at_own, elsewhere) = (place.own.take(), format!("{}{}", place.other.take(), place.plain.take()));
        for value in [VALUE, "pass-of-ada", "for-another-origin"] {
            assert!(!elsewhere.contains(value), "{what}: {elsewhere}");
            assert!(!done.to_string().contains(value), "{what}: {done}");
            assert!(!expected.is_empty() || !at_own.contains(value), "{what}: {at_own}");
        }
        if !expected.is_empty() {
            assert!(at_own.contains(&format!("{header}: {expected}\r\n")), "{what}: {done} {at_own}");
            assert!(!at_own.contains("wmsecret:"), "{what}: {at_own}");
        }
        if IN_VAIN.contains(&what) {
            assert!(format!("{at_own}{elsewhere}").contains("wmsecret:"), "{what}: {done}");
        }
        if what == "a redirect" {
            assert_eq!(done["outcomes"][0], "307 then 200");
            assert!(elsewhere.contains("Bearer wmsecret:"), "{elsewhere}");
        }
    }
    assert!(!place.server.log().contains(VALUE), "{}", place.server.log());
}

/// Returns a manifest that places the secret `KEY` into requests to this port, with further secrets.
fn places_key(port: u16, others: &str) -> String {
    let origin = format!("\"https://localhost:{port}\"");
    format!(
        "[allow]\nhttp = [{origin}]\nsecrets = {{ KEY = {{ to = [{origin}], in = \"header\" }}{others} }}\n"
    )
}

#[tokio::test]
async fn a_guest_never_sees_a_placed_secret() {
    let authority = Authority::new();
    let own = Recorder::start(Some(&authority), String::new()).await;
    let manifest = places_key(own.port, "");
    let prepare = |folder: &Path| fs::write(folder.join("ca.pem"), authority.pem()).expect("written");
    let server = serve(&[("KEY", VALUE)], "", &manifest, &["--http-roots", "ca.pem"], prepare);
    let client = server.client();
    until_plugin(&client, "\"ready\"").await;
    let backwards = |text: &str| text.chars().rev().collect::<String>();
    let request = json!({
        "scheme": "https", "authority": format!("localhost:{}", own.port), "path": "/",
        "headers": {"authorization": "Bearer ${KEY}"}, "body": "a-needle-in-the-memory",
    });
    let looked = [backwards(VALUE), backwards("a-needle-in-the-memory")];
    let done = result_of(&client, &json!({"do": "send", "requests": [request], "backwards": looked})).await;
    assert_eq!(done["outcomes"], json!(["200"]), "{done}");
    assert!(own.take().contains(&format!("authorization: Bearer {VALUE}\r\n")));
    assert_eq!(done["found"][0], 0, "{done}");
    assert!(done["found"][1].as_u64() > Some(0), "the memory was searched: {done}");
    assert!(done["variables"]["KEY"].as_str().is_some_and(|seen| seen.starts_with("wmsecret:")), "{done}");

    // Nor does the interface show it.
    let shown = client.get("/plugins/secretive").await;
    let origin = format!("https://localhost:{}", own.port);
    let secret = json!([{"name": "KEY", "to": [origin], "revealed": false}]);
    assert_eq!(shown.json["permissions"]["secrets"], secret);
    for path in ["/plugins", "/stats", "/metrics", "/doctor", "/task"] {
        assert!(!client.get(path).await.text.contains(VALUE), "{path}");
    }
}

/// Finds the files below a folder that contain a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_revealed_secret_is_in_no_record_log_checkpoint_or_webhook() {
    let receiver = MockServer::start(|_| Reply::Json(200, json!({})));
    let args = ["--webhook-allow", "127.0.0.1", "--debug-listen", "127.0.0.1:0", "--log", "debug"];
    let server =
        serve(&[("DB_URL", VALUE)], "", "allow.secrets = { DB_URL = { reveal = true } }", &args, |_| {});
    let client = server.client();
    until_plugin(&client, "\"ready\"").await;
    let shown = client.get("/plugins/secretive").await;
    assert_eq!(shown.json["permissions"]["secrets"], json!([{"name": "DB_URL", "to": [], "revealed": true}]));
    // The guest has it.
    let echoed = result_of(&client, &json!({"do": "echo", "text": "it has ${DB_URL}"})).await;
    assert_eq!(echoed, "it has [secret DB_URL]");
    for fails in [true, false] {
        // Longer than a note and a message may be, so that they are cut.
        let text = format!("{} ${{DB_URL}} and {} ${{DB_URL}}", "x".repeat(230), "y".repeat(3_900));
        let task = json!({
            "plugin": "secretive", "input": {"do": "spill", "text": text, "fails": fails},
            "webhook": {"url": receiver.url()},
        });
        let id = client.submit(&task).await;
        let ended = client.until_finished(&id).await;
        assert!(ended.text.contains("[secret DB_URL]"), "{}", ended.text);
        let logs = client.get(&format!("/task/{id}/logs")).await.text;
        assert!(logs.matches("[secret DB_URL]").count() >= 4, "{logs}");
        let events = client.get(&format!("/task/{id}/webhook")).await.text;
        for part in ["hunter2", "hunter", "battery"] {
            for text in [&ended.text, &logs, &events] {
                assert!(!text.contains(part), "{part}: {text}");
            }
        }
    }
    let deadline = Instant::now() + SOON;
    while receiver.count() < 2 {
        assert!(Instant::now() < deadline, "both webhooks are delivered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for request in receiver.requests() {
        assert!(
            request.body.contains("[secret DB_URL]") && !request.body.contains("hunter2"),
            "{}",
            request.body
        );
    }
    assert!(!server.log().contains("hunter2"), "{}", server.log());
    let mut server = server;
    assert!(server.terminate().success());
    assert_eq!(files_with(server.folder(), VALUE), [server.folder().join("DB_URL").display().to_string()]);
}

#[tokio::test]
async fn a_rotated_secret_is_in_the_next_run() {
    let authority = Authority::new();
    let own = Recorder::start(Some(&authority), String::new()).await;
    let manifest = places_key(own.port, ", DB_URL = { reveal = true }");
    let prepare = |folder: &Path| fs::write(folder.join("ca.pem"), authority.pem()).expect("written");
    let secrets = [("KEY", "first-value"), ("DB_URL", "first-address")];
    let server = serve(&secrets, "", &manifest, &["--http-roots", "ca.pem"], prepare);
    let client = server.client();
    until_plugin(&client, "\"ready\"").await;
    let request = json!({
        "scheme": "https", "authority": format!("localhost:{}", own.port), "path": "/", "headers": {"x": "${KEY}"},
    });
    let send = json!({"do": "send", "requests": [request]});
    let echo = json!({"do": "echo", "text": "${DB_URL} of first-address, second-address"});
    for (value, echoed) in [
        ("first-value", "[secret DB_URL] of [secret DB_URL], second-address"),
        ("second-value", "[secret DB_URL] of first-address, [secret DB_URL]"),
    ] {
        result_of(&client, &send).await;
        assert!(own.take().contains(&format!("x: {value}\r\n")));
        assert_eq!(result_of(&client, &echo).await, echoed);
        // In place, and by another file as Kubernetes does.
        fs::write(server.folder().join("KEY"), "second-value").expect("written");
        fs::write(server.folder().join("next"), "second-address").expect("written");
        fs::rename(server.folder().join("next"), server.folder().join("DB_URL")).expect("renamed");
    }
    // One that is taken away ends its use.
    fs::remove_file(server.folder().join("KEY")).expect("removed");
    let id = client.submit(&json!({"plugin": "secretive", "input": send, "max_attempts": 1})).await;
    let failed = client.until_finished(&id).await;
    assert!(failed.str("state") == "failed" || failed.str("error").contains("KEY"), "{}", failed.text);
}

#[tokio::test]
async fn a_replaced_plugin_does_not_get_a_pinned_secret() {
    let digest = HEXLOWER.encode(&Sha256::digest(SECRETIVE));
    let pin = format!(", plugins = [\"secretive\"], digests = [\"sha256:{digest}\"]");
    let manifest = "allow.secrets = { DB_URL = { reveal = true } }";
    let copy = |folder: &Path| {
        fs::write(folder.join("plugins/other.wasm"), SECRETIVE).expect("written");
        fs::write(folder.join("plugins/other.toml"), manifest).expect("written");
    };
    let server = serve(&[("DB_URL", VALUE)], &pin, manifest, &["--allow-upload"], copy);
    let client = server.client();
    until_plugin(&client, "\"ready\"").await;
    assert!(client.get("/plugins/other").await.str("reason").contains("DB_URL is for other plugins"));
    // Another file under the name, with an empty custom section more.
    let changed = [SECRETIVE, &[0, 2, 1, b'x']].concat();
    let refused = client.put_plugin("secretive", &changed).await;
    assert_eq!((refused.status.as_u16(), refused.str("code")), (409, "plugin-not-pinned"));
    assert!(refused.str("detail").contains("secrets"), "{}", refused.text);
    fs::write(server.folder().join("plugins/secretive.wasm"), &changed).expect("written");
    let plugin = until_plugin(&client, "\"rejected\"").await;
    let reason = plugin["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("DB_URL is pinned to other files"), "{plugin}");
    assert_eq!(plugin["in_service"], digest.as_str(), "the reviewed one stays");
}

#[tokio::test]
async fn a_plugin_whose_secret_is_missing_is_rejected_until_it_is_there() {
    let manifest = "allow.secrets = { KEY = { reveal = true } }";
    let server = serve(&[("KEY", "long enough")], "", manifest, &[], |folder| {
        fs::remove_file(folder.join("KEY")).expect("removed");
        fs::write(folder.join("plugins/unknown.wasm"), SECRETIVE).expect("written");
        let manifest = "allow.secrets = { NOBODY = { reveal = true } }";
        fs::write(folder.join("plugins/unknown.toml"), manifest).expect("written");
    });
    let client = server.client();
    until_plugin(&client, "the secret KEY cannot be used").await;
    assert!(client.get("/plugins/unknown").await.str("reason").contains("there is no secret NOBODY"));
    let doctor = wasmill(server.folder(), &["doctor"]);
    assert!(doctor.out.contains("the secret KEY cannot be used"), "{}", doctor.out);
    fs::write(server.folder().join("KEY"), "short").expect("written");
    until_plugin(&client, "fewer than 8 bytes").await;
    fs::write(server.folder().join("KEY"), "tiny").expect("written");
    fs::write(server.folder().join("KEY"), "not short").expect("written");
    until_plugin(&client, "\"ready\"").await;
    fs::remove_file(server.folder().join("KEY")).expect("removed");
    until_plugin(&client, "cannot be read").await;
    fs::write(server.folder().join("KEY"), "long enough").expect("written");
    until_plugin(&client, "\"ready\"").await;
}

#[test]
fn a_value_in_the_settings_is_refused_and_not_shown() {
    let folder = Server::folder_with_guests();
    fs::write(folder.path().join("wasmill.toml"), format!("[secrets]\nKEY = \"{VALUE}\"\n"))
        .expect("written");
    let refused = wasmill(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("secrets.KEY") && !refused.err.contains("hunter2"), "{}", refused.err);
}
