//! The debug port: task activity and CPU profiles; disabled by default.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::black_hole::BlackHole;
use wasmill_tests::{Client, PROGRAM, Server, binary, skip, tiny};

/// Starts a server with a debug port and returns a client of that port.
fn server_and_debug(args: &[&str]) -> (Server, Client) {
    let args: Vec<_> = ["--debug-listen", "127.0.0.1:0"].iter().chain(args).copied().collect();
    let server = Server::start(&args);
    let debug =
        Client::new(debug_address(&server).expect("the log says where the debug port is")).undocumented();
    (server, debug)
}

fn debug_address(server: &Server) -> Option<SocketAddr> {
    server.log().lines().find_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        event["message"]
            .as_str()?
            .starts_with("debug port")
            .then(|| event["address"].as_str()?.parse().ok())?
    })
}

/// Waits until a task is shown like this, and returns its entry.
async fn until_shown(debug: &Client, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let dump = debug.get("/debug/tasks?format=json").await;
        assert_eq!(dump.status, StatusCode::OK, "{}", dump.text);
        let tasks = dump.json["tasks"].as_array().expect("an array");
        if let Some(task) = tasks.iter().find(|task| task["task"] == id)
            && is_so(task)
        {
            return task.clone();
        }
        assert!(Instant::now() < deadline, "task {id} is not shown like that: {}", dump.text);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A preview 1 program that sleeps for an hour.
const SLEEPER: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 3600000000000))
        (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;

fn in_call(name: &'static str) -> impl Fn(&Value) -> bool {
    move |task| task["call"]["name"] == name
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one server shows all activities")]
async fn each_task_is_shown_with_its_activity() {
    let (server, debug) = server_and_debug(&["--slots", "20"]);
    let black_hole = BlackHole::listen();
    let shared = server.folder().join("shared");
    fs::create_dir(&shared).expect("a folder");
    fs::write(shared.join("file"), [b'x'; 4096]).expect("written");
    let manifest = format!(
        "[allow]\nhttp = [\"http://{}\"]\ndirs = [{{ host = \"{}\", guest = \"/in\" }}]",
        black_hole.address(),
        shared.display()
    );
    let plugins = server.folder().join("plugins");
    fs::write(plugins.join("program.toml"), manifest).expect("written");
    fs::write(plugins.join("program.wasm"), PROGRAM).expect("written");
    fs::write(plugins.join("sleeper.wasm"), tiny::parse(SLEEPER)).expect("written");
    let server = server.stop_and_restart();
    let debug_after = Client::new(debug_address(&server).expect("a debug port")).undocumented();
    drop(debug);
    let (client, debug) = (server.client(), debug_after);

    let submit =
        async |plugin: &str, input: Value| client.submit(&json!({"plugin": plugin, "input": input})).await;
    let io_stub = submit("io-stub", json!(null)).await;
    let timer = submit("misbehave", json!({"do": "sleep", "ms": 3_600_000})).await;
    let heed = submit("misbehave", json!({"do": "heed", "file": null, "computes": false})).await;
    let spin = submit("misbehave", json!({"do": "spin"})).await;
    let url = format!("http://{}/secret?token=hush", black_hole.address());
    let http = submit("program", json!({"args": ["get", url]})).await;
    let file = submit("program", json!({"args": ["read-for-ever", "/in/file"]})).await;

    let sleeper = submit("sleeper", json!(null)).await;

    let shown = until_shown(&debug, &sleeper, in_call("wasi_snapshot_preview1.poll_oneoff")).await;
    assert!(shown["activity"].as_str().expect("words").starts_with("sleeping until 20"), "{shown}");
    let shown = until_shown(&debug, &timer, in_call("wasi:io/poll")).await;
    assert_eq!(shown["state"], "waiting");
    assert!(shown["activity"].as_str().expect("words").starts_with("sleeping until 20"), "{shown}");
    assert!(shown["call"]["until"].is_string(), "{shown}");
    assert_eq!((&shown["plugin"], &shown["attempt"]), (&json!("misbehave"), &json!(1)));
    let instance = &shown["instance"];
    assert_eq!((&instance["kind"], &instance["profile"]), (&json!("task"), &json!("pooled")));
    assert_eq!(instance["digest"].as_str().map(str::len), Some(64), "{shown}");
    let memory = |field: &str| instance[field].as_u64().expect("a number");
    assert!(memory("memory_bytes") >= 1 << 20 && memory("tables_bytes") > 0, "{shown}");
    assert!(memory("memory_bytes") > memory("tables_bytes"), "{shown}");
    assert_eq!(memory("memory_max_bytes"), 64 << 20);

    let shown = until_shown(&debug, &heed, in_call("wasmill:task/host.sleep")).await;
    assert!(shown["activity"].as_str().expect("words").starts_with("sleeping until 20"), "{shown}");
    until_shown(&debug, &io_stub, |task| task["state"] == "waiting").await;

    let shown = until_shown(&debug, &spin, |task| task["instance"]["cpu_ms"].as_u64() > Some(20)).await;
    assert_eq!((&shown["state"], &shown["call"]), (&json!("computing"), &Value::Null));

    let shown = until_shown(&debug, &http, |task| !task["instance"]["http"][0].is_null()).await;
    assert_eq!(shown["state"], "waiting");
    let call = &shown["instance"]["http"][0];
    assert_eq!(call["origin"], format!("http://{}", black_hole.address()));
    assert_eq!((&call["method"], &call["has_head"]), (&json!("GET"), &json!(false)));
    assert!(
        shown["activity"].as_str().expect("words").contains(&black_hole.address().to_string()),
        "{shown}"
    );
    assert!(!shown.to_string().contains("hush"), "a path may hold secrets: {shown}");

    // File calls run on the guest's thread.
    until_shown(&debug, &file, |task| task["activity"] == "on a thread").await;

    let text = debug.get("/debug/tasks").await;
    assert!(text.headers[CONTENT_TYPE].to_str().is_ok_and(|kind| kind.starts_with("text/plain")));
    assert!(text.text.contains("7 of 20 slots used"), "{}", text.text);
    for words in [&timer, &spin, "[computing]", "sleeping until", "http GET"] {
        assert!(text.text.contains(words), "{words} is missing in {}", text.text);
    }
    let some = debug.get("/debug/tasks?format=json&state=waiting&plugin=misbehave&limit=1").await;
    assert_eq!((&some.json["found"], some.json["tasks"].as_array().map(Vec::len)), (&json!(2), Some(1)));

    client.delete(&format!("/task/{spin}")).await;
    let without = debug.get("/debug/tasks").await;
    assert!(!without.text.contains(&spin), "{}", without.text);
    for id in [&io_stub, &timer, &heed, &http, &file, &sleeper] {
        client.delete(&format!("/task/{id}")).await;
    }
    let none = debug.get("/debug/tasks?format=json").await;
    assert_eq!((&none.json["found"], &none.json["slots_used"]), (&json!(0), &json!(0)), "{}", none.text);
}

#[tokio::test]
async fn a_stop_request_is_shown() {
    let (server, debug) = server_and_debug(&["--slots", "2"]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 3_600_000}})).await;
    let shown = until_shown(&debug, &id, in_call("wasi:io/poll")).await;
    assert_eq!(shown["stop_requested"], false);
    let path = format!("/task/{id}/cancel?grace=50s");
    let cancel = {
        let client = client.clone();
        tokio::spawn(async move { client.post(&path, &json!({})).await })
    };
    until_shown(&debug, &id, |task| task["stop_requested"] == true).await;
    assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
    cancel.abort();
}

#[tokio::test]
async fn the_debug_port_is_disabled_by_default() {
    let server = Server::start(&[]);
    assert_eq!(debug_address(&server), None, "{}", server.log());
    for path in ["/debug", "/debug/tasks", "/debug/pprof/profile?seconds=1"] {
        let answer = server.client().get(path).await;
        assert_eq!((answer.status, answer.str("code")), (StatusCode::NOT_FOUND, "unknown-route"), "{path}");
    }
}

#[test]
fn the_debug_port_is_loopback_only_by_default() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut serve = Command::new(binary().expect("a binary"));
    let refused = serve.args(["serve", "--debug-listen", "0.0.0.0:0"]).current_dir(folder.path()).output();
    let refused = refused.expect("a run");
    let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && printed.contains("is not a loopback address"), "{printed}");
    let server = Server::start(&["--debug-listen", "0.0.0.0:0", "--debug-remote"]);
    assert!(debug_address(&server).is_some_and(|address| address.ip().is_unspecified()), "{}", server.log());
}

#[tokio::test]
async fn errors_of_the_debug_port_are_problems() {
    let (_server, debug) = server_and_debug(&[]);
    for (path, status, code) in [
        ("/debug/nothing", StatusCode::NOT_FOUND, "unknown-route"),
        ("/debug/tasks?format=xml", StatusCode::UNPROCESSABLE_ENTITY, "invalid-request"),
        ("/debug/tasks?limit=0", StatusCode::UNPROCESSABLE_ENTITY, "invalid-request"),
        ("/debug/tasks?state=idle", StatusCode::UNPROCESSABLE_ENTITY, "invalid-request"),
        ("/debug/tasks?plugin=A%20B", StatusCode::UNPROCESSABLE_ENTITY, "invalid-request"),
        ("/debug/tasks?verbose=1", StatusCode::UNPROCESSABLE_ENTITY, "invalid-request"),
        ("/debug/pprof/profile?seconds=0", StatusCode::UNPROCESSABLE_ENTITY, "invalid-request"),
        ("/debug/pprof/profile?seconds=301", StatusCode::UNPROCESSABLE_ENTITY, "invalid-request"),
        ("/debug/pprof/profile?second=1", StatusCode::UNPROCESSABLE_ENTITY, "invalid-request"),
        ("/debug/pprof/heap", StatusCode::NOT_IMPLEMENTED, "no-heap-profile"),
    ] {
        let answer = debug.get(path).await;
        assert_eq!((answer.status, answer.str("code")), (status, code), "{path}: {}", answer.text);
        assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
    }
    let answer = debug.send(Method::POST, "/debug/tasks", None).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(debug.get("/debug").await.text.contains("/debug/pprof/profile"));
}

/// The parts of a profile that these tests check.
struct Profile {
    /// Functions of each sample, innermost first, with its nanoseconds.
    samples: Vec<(Vec<String>, u64)>,
    period_nanos: u64,
}

/// A field of a message: number and content.
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// Parses the fields of a protocol buffers message.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        fields.push((
            key >> 3,
            match key & 7 {
                0 => Field::Number(varint(&mut bytes)),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).expect("a length");
                    let (content, rest) = bytes.split_at(length);
                    bytes = rest;
                    Field::Bytes(content.to_vec())
                }
                other => panic!("a field of type {other}"),
            },
        ));
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().expect("another byte");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    unreachable!("the loop has no end")
}

fn packed(mut bytes: &[u8]) -> Vec<u64> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(varint(&mut bytes));
    }
    values
}

impl Profile {
    fn read(gzip: &[u8]) -> Self {
        let mut bytes = Vec::new();
        GzDecoder::new(gzip).read_to_end(&mut bytes).expect("gzip");
        let (mut strings, mut functions, mut locations, mut samples) =
            (Vec::new(), HashMap::new(), HashMap::new(), Vec::new());
        let mut period_nanos = 0;
        let number = |message: &[u8], wanted: u64| {
            fields(message).into_iter().find_map(|(field, content)| match content {
                Field::Number(number) if field == wanted => Some(number),
                _ => None,
            })
        };
        for (field, content) in fields(&bytes) {
            match (field, content) {
                (2, Field::Bytes(sample)) => samples.push(sample),
                (4, Field::Bytes(location)) => {
                    let line = fields(&location).into_iter().find_map(|(field, content)| match content {
                        Field::Bytes(line) if field == 4 => Some(line),
                        _ => None,
                    });
                    let function = number(&line.expect("a line"), 1).expect("a function");
                    locations.insert(number(&location, 1).expect("an id"), function);
                }
                (5, Field::Bytes(function)) => {
                    functions
                        .insert(number(&function, 1).expect("an id"), number(&function, 2).expect("a name"));
                }
                (6, Field::Bytes(string)) => strings.push(String::from_utf8(string).expect("text")),
                (12, Field::Number(period)) => period_nanos = period,
                _ => {}
            }
        }
        assert_eq!(strings[0], "");
        let name = |location: &u64| {
            strings[usize::try_from(functions[&locations[location]]).expect("an index")].clone()
        };
        let samples = samples.into_iter().map(|sample| {
            let (mut stack, mut nanos) = (Vec::new(), 0);
            for (field, content) in fields(&sample) {
                match (field, content) {
                    (1, Field::Bytes(locations)) => stack = packed(&locations).iter().map(name).collect(),
                    (2, Field::Bytes(values)) => nanos = packed(&values)[1],
                    _ => {}
                }
            }
            (stack, nanos)
        });
        Self { samples: samples.collect(), period_nanos }
    }

    fn millis_with(&self, function: &str) -> u64 {
        let with = self.samples.iter().filter(|(stack, _)| stack.iter().any(|name| name.contains(function)));
        with.map(|(_, nanos)| nanos / 1_000_000).sum()
    }
}

/// Reads a profile with Go's own tool, if Go is installed.
fn told_by_go(gzip: &[u8]) {
    let tools = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let tools = tools.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let go = tools.unwrap_or_default().join("wasmill/plugin-tools/python/bin/go");
    if !go.exists() {
        skip(&format!("a profile was not read by {}, which is missing: .ci/plugin-tools", go.display()));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("profile.pb.gz");
    fs::write(&file, gzip).expect("written");
    let reported = Command::new(go).args(["tool", "pprof", "-top"]).arg(&file).output().expect("a run");
    let printed = String::from_utf8_lossy(&reported.stdout).into_owned();
    assert!(reported.status.success() && printed.contains("misbehave::spin"), "{printed}");
    assert!(printed.contains("Type: cpu"), "{printed}");
}

#[tokio::test]
async fn a_profile_names_the_functions_of_guests_and_the_threads_of_the_host() {
    let (server, debug) = server_and_debug(&["--slots", "4"]);
    let client = server.client();
    let spin = client.submit(&json!({"plugin": "misbehave", "input": {"do": "spin"}})).await;
    let sleep = client.submit(&json!({"plugin": "io-stub"})).await;
    until_shown(&debug, &spin, |task| task["state"] == "computing").await;
    // Only one at a time: of two concurrent requests, one is refused.
    let profile = || debug.send_for_bytes("/debug/pprof/profile?seconds=2");
    let (mut taken, mut refused) = tokio::join!(profile(), profile());
    if taken.0 == StatusCode::CONFLICT {
        std::mem::swap(&mut taken, &mut refused);
    }
    assert_eq!((taken.0, refused.0), (StatusCode::OK, StatusCode::CONFLICT));
    assert!(String::from_utf8_lossy(&refused.1).contains("profile-in-progress"));
    let gzip = taken.1;
    let profile = Profile::read(&gzip);
    assert_eq!(profile.period_nanos, 1_000_000);
    // Half of one core's time, since other processes use the core too.
    assert!(profile.millis_with("misbehave::spin") > 200, "{:?}", profile.samples);
    assert!(profile.millis_with("[plugin misbehave]") >= profile.millis_with("misbehave::spin"));
    assert!(profile.millis_with("[plugin io-stub]") < 100, "it sleeps: {:?}", profile.samples);
    assert!(profile.samples.iter().any(|(stack, _)| stack.contains(&"[thread api]".to_owned())));
    told_by_go(&gzip);
    // Without computing guests, the next profile has none.
    for id in [spin, sleep] {
        client.delete(&format!("/task/{id}")).await;
    }
    let (_, gzip) = debug.send_for_bytes("/debug/pprof/profile?seconds=1").await;
    assert_eq!(Profile::read(&gzip).millis_with("[plugin"), 0);
}

#[tokio::test]
async fn a_profile_whose_client_goes_away_makes_room_for_the_next() {
    let (_server, debug) = server_and_debug(&[]);
    let address = debug.address();
    let request = format!("GET /debug/pprof/profile?seconds=300 HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let deadline = Instant::now() + Duration::from_secs(60);
    let stream = loop {
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        stream.write_all(request.as_bytes()).expect("sent");
        // Of the two the one that comes first is taken; if that is this one, they meet again.
        if debug.get("/debug/pprof/profile?seconds=1").await.status == StatusCode::CONFLICT {
            break stream;
        }
        assert!(Instant::now() < deadline, "it never began");
    };
    drop(stream);
    while debug.get("/debug/pprof/profile?seconds=1").await.status != StatusCode::OK {
        assert!(Instant::now() < deadline, "it never ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn max_attempts_includes_attempts_ended_by_host_crashes() {
    let (server, _) = server_and_debug(&["--slots", "2"]);
    let id = server
        .client()
        .submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 3_600_000}}))
        .await;
    server.client().until(&id, "running").await;
    let server = server.kill_and_restart();
    server.client().until(&id, "running").await;
    let debug = Client::new(debug_address(&server).expect("a debug port")).undocumented();
    let shown = until_shown(&debug, &id, |task| task["attempt"] == 2).await;
    assert_eq!(shown["max_attempts"], 2, "{shown}");
}
