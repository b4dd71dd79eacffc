//! Limits of keys and of addresses, and the headers of every answer.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use wasmill_tests::{Client, Server, command, skip, sleep, wasmill};

/// Returns a client with a new key of a server.
fn client_with(server: &Server, name: &str, options: &[&str]) -> Client {
    server.client().with_key(&server.create_key(name, options))
}

#[tokio::test]
async fn one_key_at_its_rate_slows_nobody_else() {
    let server = Server::start(&[]);
    let other = client_with(&server, "other", &["--scope", "admin"]);
    let limited = client_with(&server, "limited", &["--scope", "watch", "--rate", "50/d"]);
    let requests: Vec<_> = (0..1_000)
        .map(|_| {
            let limited = limited.clone();
            tokio::spawn(async move { limited.get("/stats").await })
        })
        .collect();
    let (mut passed, mut refused) = (0, 0);
    for request in requests {
        let answer = request.await.expect("an answer");
        match answer.status {
            StatusCode::OK => passed += 1,
            StatusCode::TOO_MANY_REQUESTS => {
                assert_eq!(answer.str("code"), "too-many-requests");
                assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
                refused += 1;
            }
            _ => panic!("{}", answer.text),
        }
        assert_eq!(other.get("/healthz").await.status, StatusCode::OK);
    }
    // None was lost or counted twice.
    assert_eq!((passed, refused), (50, 950));
    for _ in 0..100 {
        assert_eq!(other.get("/stats").await.status, StatusCode::OK);
    }
    let metrics = other.get("/metrics").await.text;
    let line =
        metrics.lines().find(|line| line.starts_with("wasmill_key_refused_requests_total{key=\"limited\""));
    assert!(line.is_some_and(|line| line.ends_with(" 950.0")), "{line:?}");
    let listed: Value =
        serde_json::from_str(&wasmill(server.folder(), &["key", "list", "--json"]).out).expect("JSON");
    assert_eq!((&listed[0]["rate"], &listed[1]["rate"]), (&json!("50/86400s"), &Value::Null), "{listed}");
    // A change of the files does not fill it again, and a rotation keeps the rate.
    client_with(&server, "third", &["--scope", "watch"]);
    assert_eq!(limited.get("/stats").await.str("code"), "too-many-requests");
    server.rotate_key("limited", &[]);
    let file = std::fs::read_to_string(server.folder().join("data/keys.toml")).expect("a file");
    assert_eq!(file.matches("rate = \"50/86400s\"").count(), 2, "{file}");
    let invalid = wasmill(server.folder(), &["key", "create", "bad", "--scope", "watch", "--rate", "fast"]);
    assert!(invalid.code == 2 && invalid.err.contains("100/s"), "{}", invalid.err);
}

#[tokio::test]
async fn each_task_of_a_batch_counts_against_the_rate() {
    let server = Server::start(&[]);
    let limited = client_with(&server, "limited", &["--scope", "submit,read", "--rate", "10/d"]);
    let batch = |tasks: usize| Value::from(vec![sleep(1); tasks]);
    assert_eq!(limited.post("/task/batch", &batch(7)).await.status, StatusCode::CREATED);
    let refused = limited.post("/task/batch", &batch(4)).await;
    assert_eq!((refused.status.as_u16(), refused.str("code")), (429, "too-many-requests"));
    // The request itself was counted; nothing was stored, and two are left.
    assert_eq!(limited.post("/task/batch", &batch(2)).await.status, StatusCode::CREATED);
    assert_eq!(limited.post("/task", &sleep(1)).await.str("code"), "too-many-requests");
    assert_eq!(server.query("SELECT count(*) FROM task"), ["9"]);
}

#[tokio::test]
async fn no_quota_is_exceeded_by_a_thousand_at_once() {
    let server = Server::start(&[]);
    let other = client_with(&server, "other", &["--scope", "admin"]);
    other.post("/pause", &json!({})).await;
    let options = ["--scope", "submit,read,cancel", "--waiting", "50", "--stored", "1KiB"];
    let limited = client_with(&server, "limited", &options);
    let task = |bytes: usize| json!({"plugin": "noop", "input": "x".repeat(bytes - 2), "delay": "1h"});
    let requests: Vec<_> = (0..1_000)
        .map(|_| {
            let limited = limited.clone();
            tokio::spawn(async move { limited.post("/task", &task(10)).await })
        })
        .collect();
    let (mut stored, mut refused) = (Vec::new(), 0);
    for request in requests {
        let answer = request.await.expect("an answer");
        if answer.status == StatusCode::CREATED {
            stored.push(answer.str("id").to_owned());
        } else {
            assert_eq!((answer.status.as_u16(), answer.str("code")), (429, "key-queue-full"));
            assert!(answer.headers.contains_key("retry-after"));
            refused += 1;
        }
    }
    assert_eq!((stored.len(), refused), (50, 950));
    let answer = limited.post("/task", &task(10)).await;
    assert_eq!(
        answer.str("detail"),
        "50 tasks of the key limited wait, and its limit waiting is 50; try again once some of them run, or cancel some"
    );
    // A batch is refused as a whole, and so is a retry.
    assert_eq!(limited.delete(&format!("/task/{}", stored[0])).await.status, StatusCode::NO_CONTENT);
    let batch = limited.post("/task/batch", &json!([task(10), task(10)])).await;
    assert_eq!((batch.str("code"), batch.pointers()), ("key-queue-full", vec!["/1"]));
    assert_eq!(server.query("SELECT count(*) FROM task"), ["49"]);
    assert_eq!(other.post("/task", &task(10)).await.status, StatusCode::CREATED, "others have room");
    let cancel = format!("/task/{}/cancel", stored[1]);
    let post = async |path: &str| limited.send(Method::POST, path, None).await.expect("an answer").status;
    assert_eq!(post(&cancel).await, StatusCode::OK);
    assert_eq!(post(&format!("/task/{}/retry", stored[1])).await, StatusCode::CREATED);
    // Bytes: 49 inputs of ten, and that of the cancelled one.
    let large = limited.post("/task", &task(525)).await;
    assert_eq!((large.status.as_u16(), large.str("code")), (429, "key-storage-full"));
    assert!(large.str("detail").contains("take up 500B, and its limit stored is 1KiB"), "{}", large.text);
    assert!(!large.headers.contains_key("retry-after"));
    assert_eq!(limited.post("/task", &task(524)).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_is_deleted_is_room_again() {
    let server = Server::start(&[]);
    let limited = client_with(&server, "limited", &["--scope", "submit,read,cancel", "--stored", "100B"]);
    // An input of 54 bytes, and a result.
    let echo = json!({"plugin": "misbehave", "input": {"do": "echo", "text": "x".repeat(30)}});
    let id = limited.submit(&echo).await;
    limited.until(&id, "completed").await;
    let refused = limited.post("/task", &json!({"plugin": "noop", "input": "x".repeat(28)})).await;
    assert_eq!(refused.str("code"), "key-storage-full", "{}", refused.text);
    // A rotation keeps the limits and what counts against them.
    let rotated = server.client().with_key(&server.rotate_key("limited", &[]));
    let refused = rotated.post("/task", &json!({"plugin": "noop", "input": "x".repeat(28)})).await;
    assert_eq!(refused.str("code"), "key-storage-full", "{}", refused.text);
    assert_eq!(rotated.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
    limited.submit(&json!({"plugin": "noop", "input": "x".repeat(90)})).await;
}

#[tokio::test]
async fn a_tenant_at_its_limit_of_running_tasks_delays_no_other() {
    let server = Server::start(&["--slots", "6"]);
    let options = ["--scope", "submit,read,cancel", "--group", "t1", "--running", "2"];
    let limited = client_with(&server, "limited", &options);
    let other = client_with(&server, "other", &["--scope", "submit,read", "--group", "t2"]);
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(limited.submit(&sleep(600_000)).await);
    }
    // All of the other tenant, though six slots and eight tasks are before them.
    for _ in 0..20 {
        let id = other.submit(&json!({"plugin": "noop"})).await;
        other.until(&id, "completed").await;
    }
    let running = async || {
        let listed = limited.get("/task?state=running").await;
        listed.json.as_array().map(Vec::len)
    };
    assert_eq!(running().await, Some(2));
    // A higher limit applies without a restart; a lower one ends nothing.
    let file = server.folder().join("data/keys.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("running = 2", "running = 4")).expect("written");
    let start = Instant::now();
    while running().await != Some(4) {
        assert!(start.elapsed() < Duration::from_secs(30), "two more run");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(other.get("/task?state=running").await.json, json!([]));
    for (options, why) in [
        (&["--running", "2"][..], "needs exactly one group"),
        (&["--running", "2", "--group", "a", "--group", "b"], "needs exactly one group"),
        (&["--waiting", "0"], "must be at least 1"),
        (&["--stored", "much"], "must be a size"),
        (&["--stored", "0"], "must be at least 1"),
    ] {
        let refused =
            wasmill(server.folder(), &[&["key", "create", "bad", "--scope", "submit"], options].concat());
        assert!(refused.code == 2 && refused.err.contains(why), "{options:?}: {}", refused.err);
    }
    let listed = wasmill(server.folder(), &["key", "list"]).out;
    assert!(listed.contains("within groups t1; at most 4 running"), "{listed}");
    let listed: Value =
        serde_json::from_str(&wasmill(server.folder(), &["key", "list", "--json"]).out).expect("JSON");
    let limits = |row: &Value| (row["waiting"].clone(), row["running"].clone(), row["stored"].clone());
    assert_eq!(limits(&listed[0]), (Value::Null, json!(4), Value::Null), "{listed}");
}

#[tokio::test]
async fn a_page_counts_as_one_request() {
    let server = Server::start(&[]);
    let limited = client_with(&server, "limited", &["--scope", "watch,read", "--rate", "4/d"]).undocumented();
    for _ in 0..4 {
        assert_eq!(limited.get("/ui/").await.status, StatusCode::OK);
    }
    assert_eq!(limited.get("/ui/").await.status, StatusCode::TOO_MANY_REQUESTS);
}

/// A server on every interface; dropping it kills it.
struct PublicServer(Child);

impl Drop for PublicServer {
    fn drop(&mut self) {
        // Both fail if it has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server that takes three connections of an address.
fn serve_publicly(folder: &std::path::Path) -> (PublicServer, SocketAddr) {
    let args = ["serve", "--listen", "0.0.0.0:0", "--auth", "none", "--log-format", "json"];
    let mut command = command(folder, &[&args[..], &["--connections-per-address", "3"]].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let address = lines.find_map(|line| {
        let event: Value = serde_json::from_str(&line).ok()?;
        (event["message"] == "serving").then(|| event["address"].as_str()?.parse().ok())?
    });
    std::thread::spawn(move || lines.for_each(drop));
    (PublicServer(child), address.expect("it serves"))
}

/// Connects and sends a request; false if the connection is closed at once.
async fn is_served(connection: &mut TcpStream) -> bool {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut bytes = [0; 512];
    // Both fail on a connection that was closed.
    connection.write_all(request).await.is_ok()
        && connection.read(&mut bytes).await.is_ok_and(|count| count > 0)
}

#[tokio::test]
async fn an_address_has_its_connections_and_this_machine_any_number() {
    // No packet is sent: it tells the address of this machine in its network.
    let probe = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let Some(own) = probe.ok().map(|address| address.ip()).filter(|address| !address.is_loopback()) else {
        skip("this machine has no address but loopback");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = serve_publicly(folder.path());
    let connect = |ip| TcpStream::connect(SocketAddr::new(ip, address.port()));
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut connection = connect(own).await.expect("a connection");
        assert!(is_served(&mut connection).await);
        held.push(connection);
    }
    for _ in 0..3 {
        assert!(!is_served(&mut connect(own).await.expect("the kernel accepts it")).await);
    }
    // This machine is not counted, and the others are served on.
    let mut local = Vec::new();
    for _ in 0..10 {
        let mut connection = connect([127, 0, 0, 1].into()).await.expect("a connection");
        assert!(is_served(&mut connection).await);
        local.push(connection);
    }
    for connection in &mut held {
        assert!(is_served(connection).await);
    }
    held.pop();
    let start = Instant::now();
    while !is_served(&mut connect(own).await.expect("the kernel accepts it")).await {
        assert!(start.elapsed() < Duration::from_secs(30), "there is no room again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a head a byte at a time from an address of this machine, until the server closes; returns after how long, and
/// what was answered.
async fn slow_head(server: SocketAddr, from: [u8; 4]) -> std::io::Result<(Duration, usize)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let (start, mut stream) = (Instant::now(), socket.connect(server).await?);
    let (mut reader, mut writer) = stream.split();
    let mut answer = [0; 4 << 10];
    let bytes = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ".iter().chain([b'a'; 100].iter());
    let sent = async {
        for byte in bytes {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let answered = tokio::select! {
        // A connection that is reset has ended, too.
        read = reader.read(&mut answer) => read.unwrap_or(0),
        () = sent => 0,
    };
    Ok((start.elapsed(), answered))
}

#[tokio::test]
async fn slow_heads_hold_no_other_client() {
    let server = Server::start(&[]);
    let client = server.client();
    let task = client.submit(&sleep(1)).await;
    // Half of them from one address, half from a hundred.
    let slow: Vec<_> = (0..2_000_u16)
        .map(|number| {
            let last = if number % 2 == 0 { 1 } else { u8::try_from(number % 100 + 2).expect("below 102") };
            tokio::spawn(slow_head(server.address(), [127, 0, 2, last]))
        })
        .collect();
    let (start, mut slowest) = (Instant::now(), Duration::ZERO);
    while start.elapsed() < Duration::from_secs(8) {
        let sent = Instant::now();
        // On a connection of its own, which has to be accepted among the slow ones.
        let fresh = server.client();
        assert_eq!(fresh.get(&format!("/task/{task}")).await.status, StatusCode::OK);
        slowest = slowest.max(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(slowest < Duration::from_secs(5), "another client waited for {slowest:?}");
    for slow in slow {
        let (after, answered) = slow.await.expect("it ends").expect("a connection");
        assert_eq!(answered, 0);
        assert!(after < Duration::from_secs(40), "a place was taken for {after:?}");
    }
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client().undocumented();
    let document = client.get("/openapi.json").await.json;
    let mut requests = vec![
        (Method::GET, "/nothing".to_owned()),
        (Method::PATCH, "/task".to_owned()),
        (Method::GET, "/%ff".to_owned()),
    ];
    let pages = ["/ui/", "/ui/login", "/ui/tasks", "/ui/plugins", "/ui/schedules", "/ui/nothing"];
    requests.extend(pages.map(|path| (Method::GET, path.to_owned())));
    for (path, methods) in document["paths"].as_object().expect("paths") {
        // Streams end with their task, or not at all.
        if path.contains("events") {
            continue;
        }
        let path = path.replace(['{', '}'], "");
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_uppercase().parse::<Method>().expect("a method");
            requests.push((method, path.clone()));
        }
    }
    // Last, since it ends the server's work.
    requests.sort_by_key(|(_, path)| path == "/drain");
    assert!(requests.len() > 40, "{}", requests.len());
    let mut pages_seen = 0;
    for (method, path) in requests {
        let answer = client.send(method.clone(), &path, None).await.expect("an answer");
        let header = |name: &str| {
            let values: Vec<_> = answer.headers.get_all(name).iter().collect();
            assert_eq!(values.len(), 1, "{method} {path}: {name}");
            values[0].to_str().expect("text").to_owned()
        };
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        // A page says to its own server where its forms come from; nothing else says so to anyone.
        let content_type = answer.headers.get("content-type").map_or(&[][..], |value| value.as_bytes());
        let is_page = path.starts_with("/ui") && content_type.starts_with(b"text/html");
        let referrer = if is_page { "same-origin" } else { "no-referrer" };
        assert_eq!(header("referrer-policy"), referrer, "{method} {path}");
        pages_seen += usize::from(is_page);
        let isolated = [("cross-origin-opener-policy", "same-origin"), ("permissions-policy", "camera=()")];
        for (name, expected) in isolated.iter().filter(|_| is_page) {
            assert!(header(name).starts_with(expected), "{method} {path}: {name}");
        }
        assert_eq!(header("x-frame-options"), "DENY");
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        let is_file = path.starts_with("/docs/");
        assert_eq!(header("cache-control") == "no-store", !is_file, "{method} {path}");
        assert!(!answer.headers.contains_key("server"), "{method} {path}");
    }
    assert_eq!(pages_seen, pages.len());
}

/// Posts a task in pieces with a pause after each, and returns the answer, and after how long it came.
async fn slow_body(server: SocketAddr, length: usize, piece: usize, pause: Duration) -> (String, Duration) {
    let (start, mut stream) = (Instant::now(), TcpStream::connect(server).await.expect("a connection"));
    let (mut reader, mut writer) = stream.split();
    let text = format!("{{\"plugin\":\"noop\",\"input\":\"{}\"}}", "x".repeat(length));
    let head = format!(
        "POST /task HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        text.len()
    );
    writer.write_all(head.as_bytes()).await.expect("sent");
    let sent = async {
        for piece in text.as_bytes().chunks(piece) {
            // Fails once the server has had enough.
            if writer.write_all(piece).await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        // A connection that is reset has ended, too.
        _ = reader.read_to_end(&mut answer) => {}
        () = sent => {}
    }
    (String::from_utf8_lossy(&answer).into_owned(), start.elapsed())
}

#[tokio::test]
async fn a_body_that_trickles_is_ended_and_one_that_is_merely_slow_is_not() {
    let server = Server::start(&[]);
    let address = server.address();
    let client = server.client();
    let second = Duration::from_secs(1);
    let (trickling, stopped, slow, bursts) = tokio::join!(
        slow_body(address, 10_000, 10, second),
        slow_body(address, 10_000, 9_000, second * 60),
        // 15 seconds, at twice the floor.
        slow_body(address, 30_000, 2_000, second),
        slow_body(address, 30_000, 14_000, second * 7),
    );
    for (answer, after) in [trickling, stopped] {
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body-too-slow"), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
        assert!(after >= Duration::from_secs(9) && after < Duration::from_secs(25), "{after:?}");
    }
    for (answer, after) in [slow, bursts] {
        assert!(answer.starts_with("HTTP/1.1 201 "), "after {after:?}: {answer}");
        assert!(after > Duration::from_secs(13), "{after:?}");
    }
    // Nothing of what was ended is stored.
    assert_eq!(client.get("/task").await.json.as_array().map(Vec::len), Some(2));
}
