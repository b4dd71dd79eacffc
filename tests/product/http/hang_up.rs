//! A server whose terminal or log pipe is closed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use hyper::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use wasmill_tests::{Client, Server, binary};

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("a process");
}

#[tokio::test]
async fn sighup_drains_the_server_like_sigterm() {
    let mut server = Server::start(&["--slots", "1", "--drain", "100ms"]);
    let client = server.client();
    let task = client.submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}})).await;
    client.until(&task, "running").await;
    // Both the terminal and the shell may send it.
    send(server.pid(), Signal::HUP);
    send(server.pid(), Signal::HUP);
    assert!(server.wait().success(), "{}", server.log());
    assert!(server.log().contains("\"requeued\":1"), "{}", server.log());
    let server = server.start_beside().expect("a server");
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
