//! TCP of guests: to what the manifest names and nowhere else, counted, shown, and ended with the task.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, PROGRAM, PostgresServer, Server, ServerFolder, skip};

/// How soon a cancelled guest is gone.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Starts a server with the program, whose manifest has this line under `[allow]`.
fn start(allow: &str, args: &[&str]) -> Server {
    let folder = ServerFolder::new();
    let plugins = folder.path().join("plugins");
    fs::create_dir_all(&plugins).expect("a folder");
    fs::write(plugins.join("program.toml"), format!("[allow]\n{allow}\n")).expect("written");
    fs::write(plugins.join("program.wasm"), PROGRAM).expect("written");
    let server = Server::start_in(folder, args).expect("a server");
    server.wait_for_plugins();
    server
}

fn net(args: &[&str]) -> Value {
    let args: Vec<_> = ["net"].iter().chain(args).collect();
    json!({"plugin": "program", "input": {"args": args}})
}

async fn run(client: &Client, args: &[&str]) -> Answer {
    client.until_finished(&client.submit(&net(args)).await).await
}

async fn result(client: &Client, args: &[&str]) -> String {
    let task = run(client, args).await;
    assert_eq!(task.str("state"), "completed", "{}", task.text);
    task.str("result").to_owned()
}

/// Answers each connection with what it sent, in capitals.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut text = String::new();
                stream.read_to_string(&mut text).expect("a text");
                let _ = stream.write_all(text.to_uppercase().as_bytes());
            });
        }
    });
    address
}

/// Accepts connections, reads nothing, and passes them on.
fn silent() -> (SocketAddr, mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, accepted) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if sender.send(stream.expect("a connection")).is_err() {
                break;
            }
        }
    });
    (address, accepted)
}

/// Returns an address whose backlog is full, so that nothing connects to it, with what keeps it so.
fn full() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    // The standard library listens with a backlog of 128 or more, which is filled here.
    let address = listener.local_addr().expect("an address");
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        held.push(stream);
        assert!(held.len() < 10_000, "the backlog has an end");
    }
    (address, listener, held)
}

fn is_private(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_private() || address.is_loopback())
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(AT_ONCE)).expect("a timeout");
    let mut sink = [0; 64 << 10];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[tokio::test]
async fn a_guest_talks_to_an_allowed_address_and_its_bytes_are_counted() {
    let address = echo();
    let server = start(&format!("tcp = [\"{address}\"]"), &[]);
    let client = server.client();
    let task = run(&client, &["talk", &address.to_string(), "hello"]).await;
    assert_eq!(task.str("result"), "HELLO", "{}", task.text);
    let usage = &task.json["usage"];
    assert_eq!(usage["tcp_connections"], 1, "{usage}");
    assert_eq!((&usage["tcp_sent_bytes"], &usage["tcp_received_bytes"]), (&json!(5), &json!(5)), "{usage}");
    let metrics = client.get("/metrics").await.text;
    assert!(metrics.contains("wasmill_task_tcp_sent_bytes_total{plugin=\"program\"} 5"), "{metrics}");
    let shown = client.get("/plugins/program").await.json;
    assert_eq!(shown["permissions"]["tcp"], json!([address.to_string()]));
}

#[tokio::test]
async fn a_name_is_looked_up_and_leads_only_to_its_port() {
    let (address, other) = (echo(), echo());
    let port = address.port();
    let server = start(&format!("tcp = [\"localhost:{port}\"]"), &[]);
    let client = server.client();
    assert_eq!(result(&client, &["talk", &format!("localhost:{port}"), "hello"]).await, "HELLO");
    assert_eq!(result(&client, &["talk", &format!("LOCALHOST.:{port}"), "hello"]).await, "HELLO");
    let found = result(&client, &["lookup", "localhost"]).await;
    assert!(found.contains("127.0.0.1") || found.contains("::1"), "{found}");
    for (to, denied) in [
        (format!("localhost:{}", other.port()), "127.0.0.1"),
        (format!("127.0.0.1:{port}"), "127.0.0.1"),
        ("169.254.169.254:80".to_owned(), "169.254.169.254:80"),
        ("other.example:5432".to_owned(), "other.example"),
    ] {
        let said = result(&client, &["talk", &to, "hello"]).await;
        assert!(said.starts_with("PermissionDenied") || said.contains("denied"), "{to}: {said}");
        let log = server.log();
        let line = log.lines().find(|line| line.contains("was denied") && line.contains(denied));
        assert!(line.is_some_and(|line| line.contains("tcp = [")), "{to}: {log}");
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_denied_unless_its_network_is_named() {
    let host = fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned();
    let inner = (host.as_str(), 0)
        .to_socket_addrs()
        .ok()
        .and_then(|found| found.map(|address| address.ip()).find(is_private));
    let Some(inner) = inner else {
        return skip("the name of this machine resolves to no private address");
    };
    let listener = TcpListener::bind((inner, 0)).expect("an address of this machine");
    let port = listener.local_addr().expect("an address").port();
    let talk = format!("{host}:{port}");
    let server = start(&format!("tcp = [\"{talk}\"]"), &[]);
    let said = result(&server.client(), &["talk", &talk, "hello"]).await;
    assert!(!said.contains("HELLO"), "{said}");
    let log = server.log();
    assert!(log.contains("is not a public address") && log.contains("within"), "{log}");
    drop(server);

    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        // What is unread when it is closed would reset the connection.
        stream.read_to_string(&mut String::new()).expect("a text");
        stream.write_all(b"hello from inside").expect("sent");
    });
    let server = start(&format!("tcp = [{{ to = \"{talk}\", within = [\"{inner}\"] }}]"), &[]);
    assert_eq!(result(&server.client(), &["talk", &talk, "hello"]).await, "hello from inside");
    served.join().expect("it served");
}

#[tokio::test]
async fn sockets_do_nothing_but_connect() {
    let server = start("tcp = [\"127.0.0.1:1\"]", &[]);
    let client = server.client();
    let codes = result(&client, &["codes"]).await;
    let expected = "bind access-denied\nlisten access-denied\nconnect access-denied\naccept invalid-state\n\
                    udp access-denied\nname \"other.example\" access-denied\nname \"a b\" invalid-argument\n\
                    name \"\" invalid-argument\nname \"127.0.0.1\" success\n";
    assert_eq!(codes, expected);
    let log = server.log();
    for what in ["bind a socket", "listen on a socket", "use UDP"] {
        assert!(log.contains(&format!("tried to {what}, which is always denied")), "{what}: {log}");
    }
    for args in [&["listen"], &["udp"]] {
        assert!(result(&client, args).await.starts_with("PermissionDenied"), "{args:?}");
    }
    let refused = result(&client, &["talk", "127.0.0.1:1", "hello"]).await;
    assert!(refused.starts_with("ConnectionRefused"), "{refused}");
}

#[tokio::test]
async fn without_permission_there_is_no_socket_and_no_look_up() {
    let server = start("", &[]);
    let client = server.client();
    let codes = result(&client, &["codes"]).await;
    assert!(codes.starts_with("tcp access-denied\nudp access-denied\n"), "{codes}");
    assert!(codes.contains("name \"other.example\" access-denied"), "{codes}");
    let log = server.log();
    assert!(log.contains("a TCP socket was denied") && log.contains("a look-up of other.example"), "{log}");
}

#[tokio::test]
async fn a_cancel_ends_a_guest_that_waits_for_a_socket_at_once() {
    let (address, accepted) = silent();
    let (closed, _listener, _held) = full();
    let server = start(&format!("tcp = [\"{address}\", \"{closed}\"]"), &["--debug-listen", "127.0.0.1:0"]);
    let (client, debug) = (server.client(), debug_client(&server));
    for (args, state) in [
        (["hold", &address.to_string()], "connected"),
        (["fill", &address.to_string()], "connected"),
        (["hold", &closed.to_string()], "connecting"),
    ] {
        let id = client.submit(&net(&args)).await;
        let socket = until_socket(&debug, &id, state).await;
        assert_eq!(socket["to"], args[1], "{socket}");
        let asked = Instant::now();
        client.delete(&format!("/task/{id}")).await;
        assert!(asked.elapsed() < AT_ONCE, "{args:?}: {:?}", asked.elapsed());
        if state == "connected" {
            let mut stream = accepted.recv_timeout(AT_ONCE).expect("it had connected");
            assert!(is_closed(&mut stream), "{args:?}");
        }
        assert_eq!(client.slots_used().await, 0);
    }
}

fn debug_client(server: &Server) -> Client {
    let log = server.log();
    let line = log.lines().find(|line| line.contains("debug port")).expect("the debug port is in the log");
    let event: Value = serde_json::from_str(line).expect("a line of JSON");
    Client::new(event["address"].as_str().expect("an address").parse().expect("an address")).undocumented()
}

/// Waits until `/debug/tasks` shows a socket of this task in this state, and returns that.
async fn until_socket(debug: &Client, id: &str, state: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let dump = debug.get("/debug/tasks?format=json").await.json;
        let tasks = dump["tasks"].as_array().cloned().unwrap_or_default();
        let task = tasks.iter().find(|task| task["task"] == id);
        let sockets = task.and_then(|task| task["instance"]["tcp"].as_array()).cloned().unwrap_or_default();
        if let Some(socket) = sockets.iter().find(|socket| socket["state"] == state) {
            let activity = task.and_then(|task| task["activity"].as_str()).unwrap_or_default();
            assert!(activity.contains("TCP: ") || activity.contains("thread"), "{activity}");
            return socket.clone();
        }
        assert!(Instant::now() < deadline, "no socket is {state}: {dump}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_timeout_ends_a_guest_that_waits_for_a_socket() {
    let (address, accepted) = silent();
    let server = start(&format!("tcp = [\"{address}\"]\n[limits]\ntimeout = \"1s\""), &[]);
    let client = server.client();
    let task = run(&client, &["hold", &address.to_string()]).await;
    assert_eq!(task.str("status"), "failed by timeout", "{}", task.text);
    assert!(is_closed(&mut accepted.recv_timeout(AT_ONCE).expect("it had connected")));
    // A timeout of the guest's own leaves it alone.
    let gave_up = result(&client, &["timeout", &address.to_string(), "50"]).await;
    assert!(gave_up == "it gave up" || gave_up.contains("unsupported"), "{gave_up}");
}

#[tokio::test]
async fn sockets_and_look_ups_of_one_guest_are_bounded() {
    let (address, _accepted) = silent();
    let server = start(&format!("tcp = [\"{address}\", \"localhost:1\"]"), &[]);
    let client = server.client();
    let said = result(&client, &["many", &address.to_string(), "1000"]).await;
    let (opened, why) = said.split_once(" connections, then ").expect(&said);
    let opened: usize = opened.parse().expect("a number");
    assert!((2..=64).contains(&opened), "{said}");
    assert!(why.contains("os error"), "{said}");
    assert!(
        server.log().contains(&format!("limit of {opened} open sockets for one guest")),
        "{}",
        server.log()
    );
    // What it held is free again.
    assert_eq!(result(&client, &["many", &address.to_string(), "2"]).await, "2 connections");
    let lookups = result(&client, &["lookups", "localhost", "9"]).await;
    assert_eq!(lookups, "8 started, [\"temporary-resolver-failure\"]");
    let buffers = result(&client, &["buffers", "1000000000"]).await;
    let sizes: Vec<u64> = buffers
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().expect("a number"))
        .collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size <= 4 << 20), "{buffers}");
}

#[tokio::test]
async fn an_unmodified_client_of_postgresql_talks_to_a_real_server_and_ends_with_its_task() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let settings = format!("listen_addresses = '127.0.0.1'\nport = {port}");
    let Some(_database) = PostgresServer::start(&settings) else { return };
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/postgres");
    let built = wasmill_guest_build::build_in(&guest, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests"));
    let wasm = fs::read(built.unwrap_or_else(|error| panic!("{error}"))).expect("readable");

    let server = start(&format!("tcp = [\"localhost:{port}\"]"), &["--debug-listen", "127.0.0.1:0"]);
    let plugins = server.folder().join("plugins");
    fs::write(plugins.join("postgres.toml"), format!("allow.tcp = [\"localhost:{port}\"]")).expect("written");
    fs::write(plugins.join("postgres.wasm"), wasm).expect("written");
    let server = server.stop_and_restart();
    server.wait_for_plugins();
    let (client, debug) = (server.client(), debug_client(&server));
    let talk = |more: &[&str]| {
        let to = format!("localhost:{port}");
        let args = [&[&*to, "user=wasmill dbname=postgres"], more].concat();
        json!({"plugin": "postgres", "input": {"args": args}})
    };
    let task = client.until_finished(&client.submit(&talk(&[])).await).await;
    assert_eq!(task.str("result"), "1000 parts for 1501500\n42703\nclosed\n", "{}", task.text);
    assert_eq!(task.json["usage"]["tcp_connections"], 1, "{}", task.text);

    let id = client.submit(&talk(&["sleep"])).await;
    until_socket(&debug, &id, "connected").await;
    let asked = Instant::now();
    client.delete(&format!("/task/{id}")).await;
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
}
