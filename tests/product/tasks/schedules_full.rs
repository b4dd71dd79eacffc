//! Schedules with a full plugin queue: they wait, report why, and delay nothing else.

use std::fs;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Client, NOOP, Server};

async fn make(client: &Client, name: &str, plugin: &str) {
    let schedule = json!({"cron": "* * * * * *", "task": {"plugin": plugin, "input": {"do": "noop"}}});
    let body = ("application/json", schedule.to_string().into_bytes());
    let answer =
        client.send(Method::PUT, &format!("/schedules/{name}"), Some(body)).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
}

async fn until(client: &Client, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client.get(&format!("/schedules/{name}")).await;
        if is_so(&answer.json) {
            return answer.json;
        }
        assert!(Instant::now() < deadline, "'{name}' never becomes so: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the number of commits of the store.
async fn commits(client: &Client) -> u64 {
    let metrics = client.get("/metrics").await.text;
    let of_commits = |line: &&str| line.starts_with("wasmill_store_commit_seconds_count");
    let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
    let counts: Vec<_> = metrics.lines().filter(of_commits).filter_map(count).collect();
    assert!(!counts.is_empty(), "{metrics}");
    counts.iter().sum()
}

#[tokio::test]
async fn a_schedule_with_a_full_plugin_queue_waits_and_delays_no_other() {
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    fs::write(plugins.join("small.wasm"), NOOP).expect("a plugin");
    fs::write(plugins.join("small.toml"), "[limits]\nwaiting = 1\n").expect("a manifest");
    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    client.post("/plugins/small/pause", &json!({})).await;
    let waiting = client.submit(&json!({"plugin": "small"})).await;
    make(&client, "full", "small").await;
    make(&client, "free", "noop").await;
    let why = |full: &Value| full["last_error"].as_str().unwrap_or_default().to_owned();
    until(&client, "full", |full| {
        why(full).contains("the queue of plugin 'small' is full: 1 tasks are waiting")
    })
    .await;

    let before = commits(&client).await;
    let runs = until(&client, "free", |_| true).await["runs"].as_u64().expect("a number");
    let free = until(&client, "free", |free| free["runs"].as_u64() >= Some(runs + 3)).await;
    let made = free["runs"].as_u64().expect("a number") - runs;
    // A run is stored, claimed and finished; periodic work adds a few commits. A schedule that retries at
    // once would add hundreds.
    let spent = commits(&client).await - before;
    assert!(spent <= made * 20, "{spent} commits for {made} runs");
    let full = until(&client, "full", |full| !why(full).is_empty()).await;
    assert_eq!(full["runs"], 0);

    assert_eq!(client.delete(&format!("/task/{waiting}")).await.status, StatusCode::NO_CONTENT);
    until(&client, "full", |full| full["runs"] == 1).await;
}
