//! A failed start claims, counts and changes nothing, however late it fails.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use wasmill_tests::{Server, binary};

const TASKS: usize = 50;

/// Starts a server that must fail, and returns its exit code and output.
fn refusal(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut server = Command::new(binary().expect("a binary"))
        .args(["serve", "--data", "data"])
        .env("WASMILL_PLUGINS", "plugins")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.try_wait().expect("a process").is_none() {
        if Instant::now() > deadline {
            server.kill().expect("a process");
            panic!("{args:?} is not refused");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let printed = server.wait_with_output().expect("its end");
    (printed.status.code(), String::from_utf8(printed.stderr).expect("text"))
}

#[tokio::test]
async fn a_failed_start_changes_no_waiting_task() {
    let folder = Server::folder_with_guests();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = port.local_addr().expect("an address").to_string();
    std::fs::write(folder.path().join("secret"), "no secret").expect("written");
    std::fs::write(folder.path().join("roots.pem"), "no certificate").expect("written");

    let mut server =
        Server::start_in(Arc::clone(&folder), &["--slots", "1", "--drain", "0s"]).expect("a server");
    let client = server.client();
    let first = client.submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}})).await;
    client.until(&first, "running").await;
    let mut ids = Vec::new();
    for _ in 0..TASKS {
        ids.push(
            client.submit(&json!({"plugin": "misbehave", "input": {"do": "echo", "text": "well"}})).await,
        );
    }
    // The running task is requeued.
    assert!(server.terminate().success(), "{}", server.log());
    drop(server);

    // As often as a task may crash its host.
    for _ in 0..3 {
        for (args, exit, reason) in [
            (&["--listen", "127.0.0.1:0", "--webhook-secret-file", "secret"][..], 2, "webhook_secret_file"),
            (&["--listen", "127.0.0.1:0", "--http-roots", "roots.pem"], 2, "http_roots"),
            (&["--listen", "127.0.0.1:0", "--otlp-endpoint", "ftp://nowhere"], 2, "otlp_endpoint"),
            (&["--listen", "127.0.0.1:0", "--debug-listen", &taken], 1, "with --debug-listen"),
            (&["--listen", &taken], 1, "with --listen"),
        ] {
            let (code, printed) = refusal(folder.path(), args);
            assert!(code == Some(exit) && printed.contains(reason), "{args:?}: {code:?}: {printed}");
        }
    }

    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    for id in &ids {
        let task = client.until(id, "completed").await;
        assert_eq!(
            (&task.json["attempt"], &task.json["host_crashes"]),
            (&json!(1), &json!(0)),
            "{}",
            task.text
        );
    }
    let task = client.until(&first, "running").await;
    assert_eq!((&task.json["attempt"], &task.json["host_crashes"]), (&json!(1), &json!(0)), "{}", task.text);
}

#[tokio::test]
async fn a_start_without_plugins_leaves_the_tasks_of_a_crashed_host_to_the_next() {
    let folder = Server::folder_with_guests();
    std::fs::write(folder.path().join("file"), "no folder").expect("written");
    let mut server = Server::start_in(Arc::clone(&folder), &[]).expect("a server");
    let client = server.client();
    let id = client.submit(&json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}})).await;
    client.until(&id, "running").await;
    server.kill();
    drop(server);

    let (code, printed) = refusal(folder.path(), &["--listen", "127.0.0.1:0", "--plugins", "file"]);
    assert_ne!(code, Some(0), "{printed}");
    assert!(
        !printed.contains("a host crashed while tasks were running"),
        "a failed start recovered tasks: {printed}"
    );

    let server = Server::start_in(folder, &[]).expect("a server");
    let task = server.client().until(&id, "running").await;
    assert_eq!((&task.json["attempt"], &task.json["host_crashes"]), (&json!(2), &json!(1)), "{}", task.text);
    assert!(server.log().contains("a host crashed while tasks were running"), "{}", server.log());
}
