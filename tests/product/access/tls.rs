//! https: certificates, their change while a server runs, and clients that stall or speak something else.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::version;
use wasmill_tests::{Authority, Certificate, Server, TlsClient, command, wasmill};

/// Deadline for what takes a second.
const SOON: Duration = Duration::from_secs(30);

/// The flags that name the files of [`Certificate::write`].
const FLAGS: [&str; 4] = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];

/// Starts a server with a certificate of this authority.
fn serve(authority: &Authority, args: &[&str]) -> (Server, Certificate) {
    let folder = Server::folder_with_guests();
    let certificate = authority.issue();
    certificate.write(folder.path());
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("written");
    (Server::start_in(folder, &[&FLAGS, args].concat()).expect("a server"), certificate)
}

/// Waits until a new connection gets this certificate.
async fn until_serves(server: &Server, authority: &Authority, certificate: &Certificate) {
    let start = Instant::now();
    while TlsClient::connect(server.address(), authority).await.expect("it serves").certificate
        != certificate.der
    {
        assert!(start.elapsed() < SOON, "the new certificate is not served: {}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the metrics have this line.
async fn until_metric(client: &mut TlsClient, line: &str) {
    let start = Instant::now();
    loop {
        let (_, metrics) = client.get("/metrics").await.expect("metrics");
        if metrics.lines().any(|given| given == line) {
            return;
        }
        assert!(start.elapsed() < SOON, "{line}: {metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_speaks_https() {
    let authority = Authority::new();
    let (server, certificate) = serve(&authority, &[]);
    for versions in [[&version::TLS13], [&version::TLS12]] {
        authority.connect_with(server.address(), &versions).await.expect("TLS");
    }
    let other = Authority::new().connect(server.address()).await.expect_err("it trusts another authority");
    assert!(other.to_string().contains("invalid peer certificate"), "{other}");
    let mut client = TlsClient::connect(server.address(), &authority).await.expect("https");
    assert_eq!(client.certificate, certificate.der);
    let task = json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 1}}).to_string();
    let (status, text) = client.send(Method::POST, "/task", &task).await.expect("an answer");
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let (status, metrics) = client.get("/metrics").await.expect("metrics");
    let expires =
        metrics.lines().find_map(|line| line.strip_prefix("wasmill_tls_certificate_expires_seconds "));
    let expires: f64 = expires.and_then(|value| value.parse().ok()).expect("a number");
    assert!(status == StatusCode::OK && expires > 1e6, "{expires}");
}

#[tokio::test]
async fn plain_http_on_the_port_of_tls_gets_a_sentence() {
    let authority = Authority::new();
    let (server, _) = serve(&authority, &[]);
    let answer = server.client().post("/task", &json!({"input": "a secret"})).await;
    assert_eq!((answer.status, answer.str("code")), (StatusCode::BAD_REQUEST, "https-needed"));
    assert!(answer.str("detail").contains("https://"), "{}", answer.text);
    assert_eq!(answer.headers["connection"], "close");
    // What is neither is answered by HTTP, too.
    let mut other = TcpStream::connect(server.address()).await.expect("a connection");
    other.write_all(b"\0\0\0\0\r\n\r\n").await.expect("written");
    let mut text = String::new();
    other.read_to_string(&mut text).await.expect("an answer");
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    let url = format!("http://{}", server.address());
    let failed = wasmill(server.folder(), &["stats", "--server", &url]);
    assert!(failed.code != 0 && failed.err.contains("https://"), "{}", failed.err);
}

#[test]
fn commands_speak_https_with_an_authority_of_their_own() {
    let authority = Authority::new();
    let (server, _) = serve(&authority, &[]);
    let url = format!("https://localhost:{}", server.address().port());
    let unknown = wasmill(server.folder(), &["stats", "--server", &url]);
    assert!(unknown.code != 0 && unknown.err.contains("TLS failed"), "{}", unknown.err);
    let stats = wasmill(server.folder(), &["stats", "--json", "--server", &url, "--ca", "ca.pem"]);
    assert_eq!(stats.code, 0, "{}", stats.err);
    let mut by_variable = command(server.folder(), &["submit", "noop", "--wait", "--quiet"]);
    by_variable.env("WASMILL_SERVER", &url).env("WASMILL_CA", "ca.pem").stdin(Stdio::null());
    let submitted = by_variable.output().expect("it starts");
    assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
    // As in the image: the variables of the server say what to ask, and whom the certificate is for does not matter.
    for listen in [format!("0.0.0.0:{}", server.address().port()), server.address().to_string()] {
        let mut health = command(server.folder(), &["health"]);
        health.env("WASMILL_LISTEN", &listen).env("WASMILL_TLS_CERT", "cert.pem");
        let health = health.output().expect("it starts");
        assert!(health.status.success(), "{}", String::from_utf8_lossy(&health.stderr));
    }
    let plain = wasmill(server.folder(), &["health", "--listen", &server.address().to_string()]);
    assert!(plain.code == 1 && plain.err.contains("https"), "{}", plain.err);
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_lost_request() {
    let authority = Authority::new();
    let (server, _) = serve(&authority, &[]);
    let mut open = TlsClient::connect(server.address(), &authority).await.expect("https");
    let (is_done, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let authority = Arc::new(authority);
    let load: Vec<_> = (0..4)
        .map(|number| {
            let (is_done, requests, authority) = (is_done.clone(), requests.clone(), authority.clone());
            let address = server.address();
            tokio::spawn(async move {
                let mut kept = TlsClient::connect(address, &authority).await.expect("https");
                while !is_done.load(Ordering::Relaxed) {
                    if number % 2 == 0 {
                        kept = TlsClient::connect(address, &authority).await.expect("a connection");
                    }
                    let (status, text) = kept.get("/healthz").await.expect("an answer");
                    assert_eq!(status, StatusCode::OK, "{text}");
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let next = authority.issue();
        next.write(server.folder());
        until_serves(&server, &authority, &next).await;
    }
    // At a signal, it looks at once.
    let last = authority.issue();
    last.write(server.folder());
    send(server.pid(), Signal::HUP);
    until_serves(&server, &authority, &last).await;
    is_done.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no request is lost");
    }
    assert!(requests.load(Ordering::Relaxed) > 20);
    // The first connection has its first certificate, and still serves.
    assert_eq!(open.get("/healthz").await.expect("an answer").0, StatusCode::OK);
    assert!(server.log().contains("SIGHUP"), "{}", server.log());
    assert!(server.log().contains("the certificate has changed"), "{}", server.log());
}

#[tokio::test]
async fn half_of_a_new_pair_changes_nothing() {
    let authority = Authority::new();
    let (server, first) = serve(&authority, &[]);
    let mut client = TlsClient::connect(server.address(), &authority).await.expect("https");
    until_metric(&mut client, "wasmill_tls_stale 0.0").await;
    let (folder, next) = (server.folder(), authority.issue());
    let halves: [&dyn Fn(); 4] = [
        &|| std::fs::write(folder.join("cert.pem"), &next.pem).expect("written"),
        &|| std::fs::write(folder.join("cert.pem"), &next.pem[..next.pem.len() / 2]).expect("written"),
        &|| std::fs::write(folder.join("cert.pem"), "").expect("written"),
        &|| std::fs::remove_file(folder.join("key.pem")).expect("a file"),
    ];
    for half in halves {
        half();
        until_metric(&mut client, "wasmill_tls_stale 1.0").await;
        let other = TlsClient::connect(server.address(), &authority).await.expect("https");
        assert_eq!(other.certificate, first.der);
        first.write(folder);
        until_metric(&mut client, "wasmill_tls_stale 0.0").await;
    }
    assert!(server.log().contains("the certificate before stays in force"), "{}", server.log());
    next.write(folder);
    until_serves(&server, &authority, &next).await;
    until_metric(&mut client, "wasmill_tls_stale 0.0").await;
    let secret = next.key.lines().nth(1).expect("a line");
    assert!(!server.log().contains(secret), "the log has the key");
}

#[test]
fn a_certificate_that_does_not_fit_refuses_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let (one, other) = (authority.issue(), authority.issue());
    one.write(folder.path());
    std::fs::write(folder.path().join("other.pem"), &other.key).expect("written");
    std::fs::write(folder.path().join("wasmill.toml"), "listen = \"127.0.0.1:0\"").expect("written");
    std::fs::write(folder.path().join("half.pem"), &one.pem[..one.pem.len() / 2]).expect("written");
    for (args, why) in [
        (&["--tls-cert", "cert.pem", "--tls-key", "other.pem"][..], "does not belong to the key"),
        (&["--tls-cert", "half.pem", "--tls-key", "key.pem"], "half.pem"),
        (&["--tls-cert", "cert.pem", "--tls-key", "missing.pem"], "failed to read missing.pem"),
        (&["--tls-cert", "cert.pem"], "--tls-cert needs --tls-key"),
        (&["--tls-key", "key.pem"], "--tls-key needs --tls-cert"),
        (
            &["--listen", "unix:a.sock", FLAGS[0], FLAGS[1], FLAGS[2], FLAGS[3]],
            "a Unix socket is not encrypted",
        ),
    ] {
        let refused = wasmill(folder.path(), &[&["serve"], args].concat());
        assert!(refused.code == 2 && refused.err.contains(why), "{args:?}: {} {}", refused.code, refused.err);
        let doctor = wasmill(folder.path(), &[&["doctor"], args].concat());
        assert!(doctor.code == 1 && doctor.out.contains(why), "{args:?}: {} {}", doctor.code, doctor.out);
    }
    let doctor = wasmill(folder.path(), &[&["doctor"], &FLAGS[..]].concat());
    assert!(doctor.out.contains("cert.pem ends at"), "{}", doctor.out);
    assert!(doctor.out.contains("chmod 600 key.pem"), "{}", doctor.out);
}

#[tokio::test]
async fn a_handshake_that_stalls_costs_one_place_for_ten_seconds() {
    let authority = Authority::new();
    let (server, _) = serve(&authority, &[]);
    // Nothing; the type of a record; the head of a record of 512 bytes; a part of it.
    let parts: [&[u8]; 4] =
        [b"", b"\x16", b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"];
    let start = Instant::now();
    let mut stalled = Vec::new();
    for part in parts.iter().cycle().take(200) {
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        stream.write_all(part).await.expect("written");
        stalled.push(stream);
    }
    // Others are served meanwhile.
    let mut client = TlsClient::connect(server.address(), &authority).await.expect("https");
    assert_eq!(client.get("/healthz").await.expect("an answer").0, StatusCode::OK);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    for mut stream in stalled {
        let mut rest = Vec::new();
        // A reset counts as closed.
        let closed = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "it is still open");
    }
    assert!(start.elapsed() > Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(client.get("/healthz").await.expect("an answer").0, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_gets_its_response() {
    let authority = Authority::new();
    let (server, _) = serve(&authority, &[]);
    let mut stream = authority.connect(server.address()).await.expect("https");
    stream.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("written");
    stream.shutdown().await.expect("closed");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("a response and a farewell");
    assert!(bytes.starts_with(b"HTTP/1.1 200 ") && bytes.len() > 100_000, "{} bytes", bytes.len());
}

#[tokio::test]
async fn the_debug_port_speaks_https_too() {
    let authority = Authority::new();
    let (server, _) = serve(&authority, &["--debug-listen", "127.0.0.1:0"]);
    let address = server.log().lines().find_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        event["message"]
            .as_str()?
            .starts_with("debug port")
            .then(|| event["address"].as_str()?.parse().ok())?
    });
    let mut client = TlsClient::connect(address.expect("an address"), &authority).await.expect("https");
    assert_eq!(client.get("/debug/tasks").await.expect("an answer").0, StatusCode::OK);
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("a process");
}

/// A server on `api.sock` of a folder; dropping it kills it.
struct UnixServer(Child);

impl UnixServer {
    fn start(folder: &Path) -> Self {
        let mut command = command(folder, &["serve", "--listen", "unix:api.sock", "--log-format", "json"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let serving = lines.find(|line| line.contains("\"message\":\"serving\"")).expect("it serves");
        assert!(serving.contains("\"address\":\"unix:api.sock\""), "{serving}");
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for UnixServer {
    fn drop(&mut self) {
        // Both fail if it has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_unix_socket_serves_commands_and_replaces_one_that_nobody_listens_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, path) = (folder.path(), folder.path().join("api.sock"));
    let mut server = UnixServer::start(folder);
    let mode = path.metadata().expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let at = ["--server", "unix:api.sock"];
    let stats = wasmill(folder, &[&["stats", "--json"], &at[..]].concat());
    assert_eq!(stats.code, 0, "{}", stats.err);
    const INPUT: &str = r#"{"min_ms": 1, "max_ms": 1, "fail_rate": 0}"#;
    let task = wasmill(folder, &[&["submit", "--wait", "--quiet", "--input", INPUT], &at[..]].concat());
    assert_eq!(task.code, 0, "{}", task.err);
    assert_eq!(wasmill(folder, &["health", "--listen", "unix:api.sock"]).code, 0);
    let second = ["serve", "--listen", "unix:api.sock", "--data", "other"];
    let refused = wasmill(folder, &second);
    assert!(refused.code != 0 && refused.err.contains("another process listens there"), "{}", refused.err);
    server.0.kill().expect("a process");
    server.0.wait().expect("its end");
    assert!(path.exists(), "nobody has removed it");
    let none = wasmill(folder, &[&["stats"], &at[..]].concat());
    assert!(none.code != 0 && none.err.contains("unix:api.sock"), "{}", none.err);
    let mut server = UnixServer::start(folder);
    assert_eq!(wasmill(folder, &["health", "--listen", "unix:api.sock"]).code, 0);
    send(server.0.id(), Signal::TERM);
    assert!(server.0.wait().expect("its end").success());
    assert!(!path.exists(), "a server takes its socket along");
    std::fs::write(&path, "precious").expect("written");
    let refused = wasmill(folder, &["serve", "--listen", "unix:api.sock"]);
    assert!(refused.code != 0 && refused.err.contains("no socket"), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), "precious");
}

#[tokio::test]
async fn browsers_are_told_to_stay_with_https_only_if_the_settings_say_so() {
    let authority = Authority::new();
    for (args, expected) in
        [(&[][..], None), (&["--hsts", "1h"], Some("strict-transport-security: max-age=3600\r\n"))]
    {
        let (server, _) = serve(&authority, args);
        for path in ["/healthz", "/ui/login", "/nothing", "/task"] {
            let mut stream = authority.connect(server.address()).await.expect("a connection");
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = Vec::new();
            // Some servers end without a farewell.
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
            match expected {
                None => assert!(!answer.contains("strict-transport-security"), "{answer}"),
                Some(header) => assert!(answer.contains(header), "{path}: {answer}"),
            }
        }
        // Nobody is told in plain text, which anybody on the way could have written.
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.contains("https-needed") && !answer.contains("strict-transport-security"), "{answer}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let refused = wasmill(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--hsts", "1h"]);
    assert!(refused.code == 2 && refused.err.contains("--hsts needs --tls-cert"), "{}", refused.err);
}
