//! Bodies in flight share a budget, and are not charged to guests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;
use wasmill_tests::{Client, Server};

const MIB: u64 = 1 << 20;

/// Sends an incomplete batch.
fn begin(server: &Server, announced: u64, sent: u64) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let head = format!(
        "POST /task/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {announced}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("written");
    // Without budget the server stops reading.
    let piece = vec![b' '; MIB as usize];
    for _ in 0..sent / MIB {
        if stream.write_all(&piece).is_err() {
            break;
        }
    }
    stream
}

async fn in_flight(client: &Client) -> u64 {
    let metrics = client.get("/metrics").await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("wasmill_body_bytes ")).expect("a gauge");
    line.parse::<f64>().expect("a number") as u64
}

async fn until_in_flight(client: &Client, what: &str, is_so: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let bytes = in_flight(client).await;
        if is_so(bytes) {
            return;
        }
        assert!(Instant::now() < deadline, "timed out for {what}: {bytes} bytes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn incomplete_request_bodies_use_bounded_memory() {
    let server = Server::start(&["--batch-body-max", "64MiB"]);
    let client = server.client();
    let slow: Vec<_> = (0..4).map(|_| begin(&server, 32 * MIB, 31 * MIB)).collect();
    until_in_flight(&client, "124 MiB", |bytes| bytes > 123 * MIB).await;
    let late = begin(&server, 32 * MIB, 6 * MIB);
    let mut refused = String::new();
    let mut reading = late.try_clone().expect("a socket");
    reading.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let mut piece = [0; 4_096];
    while !refused.contains("overloaded") {
        let count = reading.read(&mut piece).expect("an answer");
        assert!(count > 0, "{refused}");
        refused.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert!(in_flight(&client).await <= 128 * MIB);
    // Small bodies are not delayed.
    client.submit(&json!({"plugin": "noop"})).await;
    drop((slow, late, reading));
    until_in_flight(&client, "nothing", |bytes| bytes == 0).await;
}

#[tokio::test]
async fn unread_responses_use_bounded_memory() {
    let server = Server::start(&["--result", "16MiB"]);
    let client = server.client();
    let task = json!({"plugin": "misbehave", "input": {"do": "result", "bytes": 6 * MIB}});
    let task = client.submit(&task).await;
    client.until(&task, "completed").await;
    let request = format!("GET /task/{task}/result HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let deadline = Instant::now() + Duration::from_secs(60);
    // Clients that do not read are disconnected after a while, so on a busy machine other ones may be served.
    let still = loop {
        let still: Vec<_> = (0..30)
            .map(|_| {
                let mut stream = TcpStream::connect(server.address()).expect("a connection");
                stream.write_all(request.as_bytes()).expect("written");
                stream
            })
            .collect();
        until_in_flight(&client, "answers without room for another", |bytes| bytes > 122 * MIB).await;
        let refused = client.get(&format!("/task/{task}/result")).await;
        assert!(in_flight(&client).await <= 128 * MIB);
        if refused.status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(refused.str("code"), "overloaded");
            assert!(refused.headers.contains_key("retry-after"));
            break still;
        }
        assert!(Instant::now() < deadline, "none is refused");
    };
    drop(still);
    until_in_flight(&client, "nothing", |bytes| bytes == 0).await;
    let taken = client.get(&format!("/task/{task}/result")).await;
    assert_eq!(taken.status, StatusCode::OK);
}
