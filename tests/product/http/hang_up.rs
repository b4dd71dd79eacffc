//! A server whose terminal or log pipe is closed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use wasmill_tests::{Client, Server, ServerFolder, Terminal, binary, embedded_only};

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("a process");
}

#[tokio::test]
async fn a_closed_terminal_drains_the_server_like_sigterm() {
    embedded_only!("it starts its first server in a terminal");
    let folder = Server::folder_with_guests();
    let args =
        ["serve", "--listen", "127.0.0.1:0", "--slots", "1", "--drain", "100ms", "--log-format", "json"];
    let terminal = Terminal::start(folder.path(), &args);
    terminal.until_shows("\"serving\"");
    let shown = terminal.written();
    let address = shown.lines().find_map(|line| {
        let event: Value = serde_json::from_str(line.trim()).ok()?;
        (event["message"] == "serving").then(|| event["address"].as_str()?.parse().ok())?
    });
    let client = Client::new(address.expect("an address"));
    let task = client.submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}})).await;
    client.until(&task, "running").await;
    drop(terminal);
    let start = Instant::now();
    while client.send(Method::GET, "/healthz", None).await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(60), "it still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let server = start_when_free(&folder).await;
    let client = server.client();
    client.until(&task, "running").await;
    let record = client.get(&format!("/task/{task}")).await;
    assert_eq!(
        (&record.json["attempt"], &record.json["host_crashes"]),
        (&json!(1), &json!(0)),
        "{}",
        record.text
    );
}

/// Starts a server on a folder whose last server is ending.
async fn start_when_free(folder: &Arc<ServerFolder>) -> Server {
    let start = Instant::now();
    loop {
        match Server::start_in(Arc::clone(folder), &[]) {
            Ok(server) => return server,
            Err(why) => assert!(start.elapsed() < Duration::from_secs(60), "{why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn sighup_stops_no_server_that_has_no_terminal() {
    let server = Server::start(&[]);
    let client = server.client();
    for _ in 0..3 {
        send(server.pid(), Signal::HUP);
        assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
    }
    let start = Instant::now();
    while !server.log().contains("SIGHUP") {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", server.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_server_under_nohup_survives_its_terminal() {
    let folder = Server::folder_with_guests();
    let mut child = Command::new("nohup")
        .arg(binary().expect("a binary"))
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nohup of coreutils");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut serving = lines.by_ref().filter_map(|line| {
        let event: Value = serde_json::from_str(&line).ok()?;
        (event["message"] == "serving").then(|| event["address"].as_str()?.parse().ok())?
    });
    let client = Client::new(serving.next().expect("it serves"));
    send(child.id(), Signal::HUP);
    // It still responds after the SIGHUP.
    for _ in 0..20 {
        assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(child.try_wait().expect("a process").is_none(), "it ended");
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
    // From here on nobody reads its log.
    drop(serving);
    drop(lines);
    let id = client.submit(&json!({"plugin": "misbehave", "input": {"do": "trap"}})).await;
    client.until(&id, "failed").await;
    assert_eq!(client.post("/drain", &json!({})).await.status, StatusCode::ACCEPTED);
    send(child.id(), Signal::TERM);
    let status = tokio::task::spawn_blocking(move || child.wait().expect("its end")).await.expect("no panic");
    assert!(status.success(), "{status}: a closed stderr must not hurt");
}
