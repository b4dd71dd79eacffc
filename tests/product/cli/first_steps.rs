//! First contact: opening the server in a browser, and following a log with a plain `EventSource`.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::{Client, Server, binary};

#[tokio::test]
async fn the_root_links_the_documentation() {
    let server = Server::start(&[]);
    let client = server.client();
    let root = client.get("/").await;
    assert_eq!((root.status, root.str("name")), (StatusCode::OK, "wasmill"));
    for link in ["docs", "openapi"] {
        let path = format!("/{}", root.str(link));
        assert_eq!(client.get(&path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_browser_that_has_seen_the_end_of_a_log_gets_204() {
    let server = Server::start(&[]);
    let client = server.client();
    let task = json!({"plugin": "misbehave", "input": {"do": "echo", "text": "well"}});
    let id = client.submit(&task).await;
    client.until(&id, "completed").await;
    let path = format!("/task/{id}/logs");
    let mut stream = client.follow(&path, None).await;
    let end = loop {
        let event = stream.next().await.expect("the end event");
        if event.name == "end" {
            break event;
        }
    };
    let headers = [("accept", "text/event-stream"), ("last-event-id", end.id.as_deref().expect("an id"))];
    let again = client.send_with(Method::GET, &path, &headers, None).await.expect("an answer");
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    // A client that was disconnected before the end still gets it.
    let mut before = client.follow(&path, Some("1")).await;
    loop {
        let event = before.next().await.expect("the end event");
        if event.name == "end" {
            break;
        }
    }
    let running = client.submit(&json!({})).await;
    client.until(&running, "running").await;
    let goes_on = client.follow(&format!("/task/{running}/logs"), Some("end")).await;
    assert_eq!(goes_on.status, StatusCode::OK);
}

#[tokio::test]
async fn a_server_with_a_closed_log_pipe_keeps_serving() {
    let folder = Server::folder_with_guests();
    let address =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let mut server = Command::new(binary().expect("a binary"))
        .args(["serve", "--listen", &address.to_string()])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    drop(server.stderr.take());
    let client = Client::new(address);
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.send(Method::GET, "/healthz", None).await.is_err() {
        assert!(server.try_wait().expect("a process").is_none(), "it has ended");
        assert!(Instant::now() < deadline, "it does not serve");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.kill().expect("a process");
    server.wait().expect("its end");
}
