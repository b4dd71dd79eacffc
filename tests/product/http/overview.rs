//! What the server says about itself: the history of its statistics, and what needs a person.

use std::fs;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server, sleep};

/// A generous deadline.
const SOON: Duration = Duration::from_secs(60);

/// Asks until the answer fulfils a condition.
async fn until(client: &Client, path: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Answer {
    let deadline = Instant::now() + SOON;
    loop {
        let answer = client.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        if is_so(&answer.json) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{path} does not say {what}: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn sum(column: &Value) -> u64 {
    column.as_array().expect("a column").iter().filter_map(Value::as_u64).sum()
}

/// Returns the item of this kind.
fn item<'a>(answer: &'a Value, code: &str) -> Option<&'a Value> {
    answer["items"].as_array().expect("items").iter().find(|item| item["code"] == code)
}

#[tokio::test]
async fn the_history_counts_each_task_once() {
    let server = Server::start(&["--slots", "2"]);
    let client = server.client();
    // Before the first sample there is nothing to compare with.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let tasks = client.submit_batch(&json!(vec![sleep(1); 7])).await;
    let fail = json!({"do": "fail", "kind": "io", "message": "no route"});
    let failed = client.submit(&json!({"plugin": "misbehave", "input": fail, "max_attempts": 1})).await;
    for id in tasks.iter().chain([&failed]) {
        client.until_finished(id).await;
    }
    let running = client.submit(&sleep(60_000)).await;
    client.until(&running, "running").await;
    let history = until(&client, "/stats/history", "what happened", |history| {
        sum(&history["completed"]) == 7
            && sum(&history["failed"]) == 1
            && history["running"].as_array().and_then(|column| column.last()) == Some(&json!(1))
    })
    .await;
    let columns = &history.json;
    assert_eq!(sum(&columns["server"]["accepted"]), 9, "{}", history.text);
    let length = columns["at_ms"].as_array().map(Vec::len);
    for name in
        ["seconds", "completed", "failed", "cancelled", "waiting", "running", "run_p50_ms", "run_p99_ms"]
    {
        assert_eq!(columns[name].as_array().map(Vec::len), length, "{name}");
    }
    for (name, column) in columns["server"].as_object().expect("columns") {
        assert_eq!(column.as_array().map(Vec::len), length, "{name}");
    }
    assert!(
        columns["run_p50_ms"].as_array().expect("a column").iter().any(Value::is_number),
        "{}",
        history.text
    );
    let newest = client.get("/stats/history?limit=1").await;
    assert_eq!(newest.json["at_ms"].as_array().map(Vec::len), Some(1));
    for step in ["10s", "60s"] {
        assert_eq!(client.get(&format!("/stats/history?step={step}")).await.str("step"), step);
    }
    let of_plugin = client.get("/stats/history?plugin=misbehave").await;
    assert_eq!((of_plugin.str("step"), &of_plugin.json["server"]), ("10s", &json!(null)));
    for query in ["step=1h", "limit=0", "limit=3601", "plugin=No+Name", "plugin=noop&step=1s"] {
        let refused = client.get(&format!("/stats/history?{query}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {}", refused.text);
    }
}

#[tokio::test]
async fn a_failing_plugin_needs_a_person() {
    let server = Server::start(&[]);
    let client = server.client();
    // The plugin has samples once it was seen.
    client.submit(&sleep(1)).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    let fail = json!({"plugin": "misbehave", "input": {"do": "fail", "kind": "io", "message": "no route"}, "max_attempts": 1});
    client.submit_batch(&json!(vec![fail; 12])).await;
    let answer = until(&client, "/attention", "that a plugin fails", |answer| {
        item(answer, "plugin-failing").is_some_and(|item| item["count"] == 12)
    })
    .await;
    let failing = item(&answer.json, "plugin-failing").expect("found");
    assert_eq!((&failing["level"], &failing["subject"]), (&json!("error"), &json!("misbehave")));
    assert!(failing["detail"].as_str().is_some_and(|detail| detail.contains("by io")), "{}", answer.text);
    let listed = client.get(failing["link"].as_str().expect("a link")).await;
    assert_eq!(listed.json.as_array().map(Vec::len), Some(12), "the link leads to them");
    let of_plugin = client.get("/stats/history?plugin=misbehave").await;
    assert_eq!(sum(&of_plugin.json["failed"]), 12, "{}", of_plugin.text);
}

#[tokio::test]
async fn what_is_paused_full_or_rejected_needs_a_person() {
    let folder = Server::folder_with_guests();
    fs::write(folder.path().join("plugins/broken.wasm"), b"no wasm").expect("written");
    let server = Server::start_in(folder, &["--slots", "1", "--waiting-max", "2"]).expect("a server");
    server.wait_for_plugins();
    let client = server.client();
    let rejected =
        until(&client, "/attention", "what was rejected", |answer| item(answer, "plugin-rejected").is_some());
    let rejected = rejected.await;
    let item_of = |answer: &Answer, code: &str| {
        item(&answer.json, code).unwrap_or_else(|| panic!("no {code} in {}", answer.text)).clone()
    };
    let broken = item_of(&rejected, "plugin-rejected");
    assert_eq!((&broken["level"], &broken["subject"]), (&json!("error"), &json!("broken")));
    assert_eq!(client.get(broken["link"].as_str().expect("a link")).await.json["state"], "rejected");
    assert_eq!(
        rejected.json["items"].as_array().map(Vec::len),
        Some(1),
        "all else is well: {}",
        rejected.text
    );

    client.post("/pause", &json!({})).await;
    client.post("/plugins/noop/pause", &json!({})).await;
    client.submit_batch(&json!([{"plugin": "noop"}, {"plugin": "noop"}])).await;
    let answer = client.get("/attention").await;
    assert_eq!(item_of(&answer, "queue-paused")["level"], "warning");
    assert_eq!(item_of(&answer, "plugin-paused")["count"], 2);
    assert_eq!(
        (&item_of(&answer, "queue-full")["level"], &item_of(&answer, "queue-full")["count"]),
        (&json!("error"), &json!(2))
    );
    assert_eq!(client.post("/task", &json!({"plugin": "noop"})).await.str("code"), "queue-full");
    client.post("/resume", &json!({})).await;
    client.post("/plugins/noop/resume", &json!({})).await;
    until(&client, "/attention", "that the rest is well again", |answer| {
        answer["items"].as_array().is_some_and(|items| items.len() == 1)
    })
    .await;
}
