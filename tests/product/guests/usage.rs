//! Resource usage of attempts during and after the run, and function names in traps.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, PROGRAM, Server, tiny};

fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}

async fn run(client: &Client, input: Value) -> Answer {
    client.until_finished(&client.submit(&misbehave(&input)).await).await
}

fn usage_value(record: &Value, name: &str) -> u64 {
    record["usage"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {record}"))
}

/// Responds to one request with these bytes, and returns the request.
fn answer_once(answer: &'static str) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let (mut request, mut piece) = (Vec::new(), [0; 1024]);
        while !request.ends_with(b"\r\n\r\n") {
            let bytes = stream.read(&mut piece).expect("a request");
            request.extend_from_slice(&piece[..bytes]);
        }
        stream.write_all(answer.as_bytes()).expect("sent");
        request
    });
    (address, served)
}

#[tokio::test]
async fn cpu_memory_log_and_checkpoints_of_a_guest_are_measured() {
    let server = Server::start(&["--cpu", "200ms"]);
    let client = server.client();
    let spun = run(&client, json!({"do": "spin"})).await.json;
    let cpu_ms = usage_value(&spun, "cpu_ms");
    assert!((200..1_000).contains(&cpu_ms), "{spun}");
    assert!(usage_value(&spun, "wall_ms") >= cpu_ms - 1, "{spun}");
    assert_eq!(usage_value(&spun, "wall_ms"), spun["duration_ms"]);

    let slept = run(&client, json!({"do": "sleep", "ms": 300})).await.json;
    assert!(usage_value(&slept, "cpu_ms") < 100 && usage_value(&slept, "wall_ms") >= 300, "{slept}");
    assert!(usage_value(&slept, "instantiate_us") > 0, "{slept}");
    let small = usage_value(&slept, "peak_memory_bytes");
    let hogged = run(&client, json!({"do": "hog-then-answer"})).await.json;
    let large = usage_value(&hogged, "peak_memory_bytes");
    assert!(small < 4 << 20 && large > 60 << 20 && large <= 64 << 20, "{small} and {large}");

    let logged = run(&client, json!({"do": "log", "out": "four", "err": "five!"})).await.json;
    assert_eq!(usage_value(&logged, "log_bytes"), "four\nfive!\n".len() as u64);
    assert_eq!(usage_value(&logged, "checkpoints"), 0);
    let flooded = run(&client, json!({"do": "flood", "bytes": 409_600})).await.json;
    assert_eq!(usage_value(&flooded, "log_bytes"), 409_600, "dropped lines are counted too");
    let saved = run(&client, json!({"do": "save", "state": "half"})).await.json;
    assert_eq!(usage_value(&saved, "checkpoints"), 1);
    let refused = run(&client, json!({"do": "save-bytes", "bytes": 2_000_000})).await.json;
    assert_eq!(usage_value(&refused, "checkpoints"), 0, "a refused one does not count");
}

#[tokio::test]
async fn http_requests_are_measured_to_the_byte_without_denied_ones() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\ntwelve bytes";
    let server = Server::start(&[]);
    let (address, served) = answer_once(ANSWER);
    let plugins = server.folder().join("plugins");
    fs::write(plugins.join("program.wasm"), PROGRAM).expect("written");
    fs::write(plugins.join("program.toml"), format!("allow.http = [\"http://{address}\"]")).expect("written");
    let server = server.stop_and_restart();
    let client = server.client();
    let get = |url: String| json!({"plugin": "program", "input": {"args": ["get", url]}});
    let task = client.until_finished(&client.submit(&get(format!("http://{address}/a?b=c"))).await).await;
    assert_eq!(task.str("result"), "200 twelve bytes", "{}", task.text);
    let request = served.join().expect("it served");
    assert_eq!(usage_value(&task.json, "http_requests"), 1);
    assert_eq!(usage_value(&task.json, "http_sent_bytes"), request.len() as u64);
    assert_eq!(usage_value(&task.json, "http_received_bytes"), ANSWER.len() as u64);

    let denied = client.until_finished(&client.submit(&get("http://other.example/".to_owned())).await).await;
    assert!(denied.str("result").contains("Denied"), "{}", denied.text);
    for name in ["http_requests", "http_sent_bytes", "http_received_bytes"] {
        assert_eq!(usage_value(&denied.json, name), 0, "{name}");
    }
}

#[tokio::test]
async fn a_task_shows_its_time_in_the_queue() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let first = client.submit(&misbehave(&json!({"do": "sleep", "ms": 600_000}))).await;
    client.until(&first, "running").await;
    let second = client.submit(&misbehave(&json!({"do": "noop"}))).await;
    let accepted = Instant::now();
    assert_eq!(client.get(&format!("/task/{second}/status")).await.json["usage"], Value::Null);
    while accepted.elapsed() < Duration::from_millis(200) {
        client.get("/healthz").await;
    }
    client.delete(&format!("/task/{first}")).await;
    let second = client.until(&second, "completed").await.json;
    assert!(usage_value(&second, "queue_ms") >= 200, "{second}");
    assert_eq!(usage_value(&second, "wall_ms"), second["duration_ms"]);
}

#[tokio::test]
async fn usage_is_visible_while_a_task_runs_and_after_its_cancel() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&misbehave(&json!({"do": "spin"}))).await;
    let computed = |least| move |record: &Value| record["usage"]["cpu_ms"].as_u64() > Some(least);
    let early = usage_value(&client.until_task(&id, "computing", computed(20)).await.json, "cpu_ms");
    let later = client.until_task(&id, "computing on", computed(early)).await.json;
    assert!(usage_value(&later, "wall_ms") >= 20 && usage_value(&later, "peak_memory_bytes") > 0, "{later}");
    let status = client.get(&format!("/task/{id}/status")).await;
    assert!(usage_value(&status.json, "cpu_ms") >= early, "{}", status.text);
    let cancelled = client.post(&format!("/task/{id}/cancel"), &json!({})).await;
    assert!(usage_value(&cancelled.json, "cpu_ms") >= early, "{}", cancelled.text);
    assert_eq!(usage_value(&cancelled.json, "wall_ms"), cancelled.json["duration_ms"]);
}

#[tokio::test]
async fn usage_is_that_of_the_last_attempt_and_survives_the_host() {
    let server = Server::start(&[]);
    let client = server.client();
    let mut task = misbehave(&json!({"do": "count-then-fail", "succeed_on": 3}));
    task["max_attempts"] = json!(2);
    task["backoff"] = json!({"first": "1h"});
    let id = client.submit(&task).await;
    let failed_once = |record: &Value| record["state"] == "waiting" && record["attempt"] == 1;
    let between = client.until_task(&id, "failed once", failed_once).await.json;
    assert_eq!(usage_value(&between, "checkpoints"), 1, "{between}");
    let done = run(&client, json!({"do": "log", "out": "a", "err": ""})).await.json;
    let server = server.kill_and_restart();
    let client = server.client();
    for before in [between, done] {
        let after = client.get(&format!("/task/{}", before["id"].as_str().expect("an id"))).await.json;
        assert_eq!(after["usage"], before["usage"], "{after}");
    }
}

#[tokio::test]
async fn a_trap_names_demangled_functions() {
    let server = Server::start(&[]);
    let cpp = r#"(module (memory (export "memory") 1)
        (func $_ZN3geo5Shape4areaEid unreachable)
        (func $nameless (call $_ZN3geo5Shape4areaEid))
        (func (export "_start") call $nameless))"#;
    fs::write(server.folder().join("plugins/shapes.wasm"), tiny::parse(cpp)).expect("written");
    let server = server.stop_and_restart();
    let client = server.client();
    let message = |task: &Answer| task.json["error"]["message"].as_str().expect("a message").to_owned();
    let rust = message(&run(&client, json!({"do": "trap"})).await);
    assert!(rust.contains("`unreachable`"), "{rust}");
    assert!(rust.contains("\n   0: misbehave::fall_into_a_trap\n"), "{rust}");
    let task = client.until_finished(&client.submit(&json!({"plugin": "shapes"})).await).await;
    let cpp = message(&task);
    assert!(cpp.contains("\n   0: geo::Shape::area(int, double)\n   1: nameless\n"), "{cpp}");
    let deep = message(&run(&client, json!({"do": "recurse"})).await);
    assert!(deep.contains(" times)") && deep.len() < 2_000, "{deep}");
}

/// Builds a 600-byte name that demangles in C++ to terabytes: each part names the previous one twice.
fn name_of_terabytes() -> String {
    let digit = |number| char::from_digit(number, 36).expect("a digit").to_ascii_uppercase();
    let earlier = |position: u32| match position {
        0..36 => format!("S{}_", digit(position)),
        _ => format!("S{}{}_", digit(position / 36), digit(position % 36)),
    };
    (0..40)
        .fold("_Z1fSt4pairIiiE".to_owned(), |name, part| format!("{name}St4pairI{0}{0}E", earlier(2 * part)))
}

#[tokio::test]
async fn a_function_name_that_demangles_to_terabytes_is_harmless() {
    let server = Server::start(&[]);
    let name = name_of_terabytes();
    let wat = format!(
        r#"(module (memory (export "memory") 1) (func ${name} unreachable)
        (func (export "_start") call ${name}))"#
    );
    fs::write(server.folder().join("plugins/bomb.wasm"), tiny::parse(&wat)).expect("written");
    let server = server.stop_and_restart();
    let client = server.client();
    let task = client.until_finished(&client.submit(&json!({"plugin": "bomb"})).await).await;
    let message = task.json["error"]["message"].as_str().expect("a message");
    assert!(message.contains("0: f(std::pair<int, int>") && message.len() < 1_000, "{message}");
}
