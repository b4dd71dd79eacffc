//! DELETE and cancel in every state of a task: it has stopped when the response arrives, and stays stopped.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::black_hole::BlackHole;
use wasmill_tests::{Client, MISBEHAVE, PROGRAM, Server, tiny};

/// Programs that run one huge instruction, or never reach their main function.
const MODULES: [(&str, &str); 6] = [
    ("memory.fill", "(loop (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x3800000)) (br 0))"),
    ("memory.copy", "(loop (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x3700000)) (br 0))"),
    ("memory.fill, without a loop", "FILLS"),
    (
        "memory.grow",
        "(loop (drop (memory.grow (i32.const 1))) (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x3800000)) (br 0))",
    ),
    ("table.fill", "(loop (table.fill (i32.const 0) (ref.null func) (i32.const 500000)) (br 0))"),
    ("table.copy", "(loop (table.copy (i32.const 1) (i32.const 0) (i32.const 499999)) (br 0))"),
];

fn module(body: &str) -> Vec<u8> {
    // Runs longer than the test would wait.
    let fills = "(memory.fill (i32.const 0) (i32.const 7) (i32.const 0x3800000))".repeat(20_000);
    let body = body.replace("FILLS", &fills);
    tiny::parse(&format!(
        "(module (memory (export \"memory\") 896) (table 500000 funcref) (func (export \"_start\") {body}))"
    ))
}

/// Copies 4 MiB into its memory and then loops forever, during instantiation.
fn endless_start() -> Vec<u8> {
    let data = "x".repeat(4 << 20);
    tiny::parse(&format!(
        "(module (memory (export \"memory\") 896) (data (i32.const 0) \"{data}\")
           (func $spin (loop (br 0))) (start $spin) (func (export \"_start\")))"
    ))
}

fn plugin_name(position: &str) -> String {
    position.replace([' ', ','], "-")
}

/// A server with all plugins, and the servers its guests talk to.
struct Stage {
    server: Server,
    black_hole: BlackHole,
}

impl Stage {
    fn set() -> Self {
        let server = Server::start(&["--slots", "50", "--timeout", "1h"]);
        let black_hole = BlackHole::listen();
        let shared = server.folder().join("shared");
        fs::create_dir(&shared).expect("a folder");
        fs::write(shared.join("file"), vec![7; 1 << 20]).expect("a file");
        let plugins = server.folder().join("plugins");
        let put = |name: &str, wasm: &[u8], manifest: &str| {
            fs::write(plugins.join(format!("{name}.wasm")), wasm).expect("written");
            fs::write(plugins.join(format!("{name}.toml")), manifest).expect("written");
        };
        let (shared, address) = (shared.display(), black_hole.address());
        put(
            "program",
            PROGRAM,
            &format!(
                "[allow]\nhttp = [\"http://{address}\"]
                dirs = [{{ host = \"{shared}\", guest = \"/in\", write = true }}]"
            ),
        );
        put("queue", MISBEHAVE, "limits.concurrency = 1");
        put("start", &endless_start(), "");
        for (position, body) in MODULES {
            put(&plugin_name(position), &module(body), "");
        }
        Self { server: server.stop_and_restart(), black_hole }
    }

    fn shared(&self, file: &str) -> std::path::PathBuf {
        self.server.folder().join("shared").join(file)
    }

    /// Brings a task into each state, and returns the states with their tasks. The first task acquires and
    /// releases its slot over and over.
    async fn fill(&self, client: &Client) -> Vec<(String, String)> {
        let submit = async |plugin: &str, input: Value, more: Value| {
            let mut task = json!({"plugin": plugin, "input": input});
            task.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            client.submit(&task).await
        };
        let program = async |args: &[&str]| submit("program", json!({"args": args}), json!({})).await;
        let fail = json!({"do": "fail", "kind": "io", "message": "as requested"});
        let mut places = Vec::new();

        let quick = json!({"first": "300ms", "factor": 1, "max": "300ms"});
        let retried = submit("misbehave", fail.clone(), json!({"max_attempts": 100, "backoff": quick})).await;
        client.until_task(&retried, "retried", |task| task["attempt"].as_u64() > Some(1)).await;
        places.push(("in its retries".to_owned(), retried));

        let slow = json!({"first": "1h"});
        let delayed = submit("misbehave", fail, json!({"max_attempts": 2, "backoff": slow})).await;
        let is_delayed = |task: &Value| task["state"] == "waiting" && task["attempt"] == 1;
        client.until_task(&delayed, "between attempts", is_delayed).await;
        places.push(("between attempts".to_owned(), delayed));

        let first = submit("queue", json!({"do": "sleep", "ms": 3_600_000}), json!({})).await;
        client.until(&first, "running").await;
        let waiting = submit("queue", json!({"do": "noop"}), json!({})).await;
        places.push(("waiting".to_owned(), waiting));
        places.push(("in a host sleep".to_owned(), first));

        let mut running = vec![
            ("in a loop".to_owned(), submit("misbehave", json!({"do": "spin"}), json!({})).await),
            (
                "in an HTTP call".to_owned(),
                program(&["get", &format!("http://{}/", self.black_hole.address())]).await,
            ),
            ("in reads of a file".to_owned(), program(&["read-for-ever", "/in/file"]).await),
            ("in writes to a file".to_owned(), program(&["append-for-ever", "/in/written"]).await),
            ("in its instantiation".to_owned(), submit("start", json!(null), json!({})).await),
        ];
        for (position, _) in MODULES {
            running.push((position.to_owned(), submit(&plugin_name(position), json!(null), json!({})).await));
        }
        for (_, id) in &running {
            client.until(id, "running").await;
        }
        places.extend(running);
        places
    }
}

/// Waits for a condition that must hold soon.
async fn soon<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a minute: {what}");
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |file| file.len())
}

/// Stops the task in each state, kills the host after the last response, and checks what remains.
async fn it_is_over_in_each_place(
    end: impl AsyncFn(&Client, &str, &str),
    is_over: impl AsyncFn(&Client, &str, &str),
) {
    let stage = Stage::set();
    let client = stage.server.client();
    let places = stage.fill(&client).await;
    soon("the call comes", || (stage.black_hole.calls() == 1).then_some(())).await;
    let written = stage.shared("written");
    soon("the guest writes", || (size(&written) > 3).then_some(())).await;

    let mut size_at_end = 0;
    for (position, id) in &places {
        let used = client.slots_used().await;
        end(&client, position, id).await;
        if !position.starts_with("in its retries") {
            let had_slot = u64::from(!matches!(position.as_str(), "waiting" | "between attempts"));
            let list = client.get("/task").await.text;
            assert_eq!(client.slots_used().await, used - had_slot, "{position}: {list}");
        }
        if position == "in writes to a file" {
            size_at_end = size(&written);
        }
    }
    assert_eq!(client.slots_used().await, 0);

    let Stage { server, black_hole } = stage;
    let server = server.kill_and_restart();
    let client = server.client();
    let next = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&next, "completed").await;
    for (position, id) in &places {
        is_over(&client, position, id).await;
    }
    let stats = client.get("/stats").await.json;
    assert_eq!((&stats["waiting"], &stats["running"]), (&json!(0), &json!(0)));
    assert_eq!(black_hole.calls(), 1, "no second request");
    // A write that the kernel already accepted may still complete.
    assert!(size(&written) <= size_at_end + 1, "{} after {size_at_end}", size(&written));
}

#[tokio::test]
async fn a_task_can_be_deleted_in_every_state() {
    let end = async |client: &Client, position: &str, id: &str| {
        let answer = client.delete(&format!("/task/{id}")).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{position}: {}", answer.text);
    };
    let is_over = async |client: &Client, position: &str, id: &str| {
        assert_eq!(client.get(&format!("/task/{id}")).await.status, StatusCode::NOT_FOUND, "{position}");
    };
    it_is_over_in_each_place(end, is_over).await;
}

#[tokio::test]
async fn a_task_can_be_cancelled_in_every_state() {
    let end = async |client: &Client, position: &str, id: &str| {
        let answer = client.post(&format!("/task/{id}/cancel"), &json!({})).await;
        assert_eq!(answer.status, StatusCode::OK, "{position}: {}", answer.text);
        assert_eq!(answer.str("state"), "cancelled", "{position}");
    };
    let is_over = async |client: &Client, position: &str, id: &str| {
        let task = client.get(&format!("/task/{id}")).await;
        assert_eq!(task.str("state"), "cancelled", "{position}");
        assert_eq!(task.json["host_crashes"], 0, "{position}: it did not run when the host died");
        if position != "in its retries" {
            assert!(task.json["attempt"].as_u64() <= Some(1), "{position}: {}", task.text);
        }
    };
    it_is_over_in_each_place(end, is_over).await;
}
