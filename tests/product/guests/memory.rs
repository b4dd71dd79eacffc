//! The memory budget of all tasks: tasks that do not fit wait, and the host survives.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_tests::{Client, Server};

const MIB: u64 = 1 << 20;

fn hog() -> Value {
    json!({"plugin": "misbehave", "input": {"do": "hog-then-answer"}})
}

async fn memory(client: &Client) -> Value {
    client.get("/stats").await.json["memory"].clone()
}

#[tokio::test]
async fn two_hundred_hogs_complete_in_the_memory_of_eight() {
    let server = Server::start(&["--memory-total", "512MiB", "--slots", "200", "--memory", "64MiB"]);
    let client = server.client();
    let neighbour = json!({"plugin": "io-stub", "input": {"min_ms": 3_000, "max_ms": 3_000, "fail_rate": 0}});
    let neighbour = client.submit(&neighbour).await;
    client.until(&neighbour, "running").await;
    let before = server.memory("VmRSS");
    // At once: one after the other they might run as fast as they are stored.
    let hogs: Vec<_> = (0..200).map(|_| hog()).collect();
    let accepted = client.post("/task/batch", &json!(hogs)).await;
    let ids =
        accepted.json.as_array().expect("a list").iter().map(|task| task["id"].as_str().expect("an id"));
    let mut were_held_back = false;
    for id in ids {
        were_held_back |= memory(&client).await["blocks_queue"] == true;
        let task = client.until_finished(id).await;
        assert_eq!(task.str("state"), "completed", "{}", task.text);
        assert_eq!(task.json["attempt"], 1, "{}", task.text);
    }
    assert!(were_held_back, "200 hogs of 64 MiB had room in 512 MiB");
    // Memory of the host itself: stacks of 200 guests, inputs, results and caches.
    let grown = server.memory("VmHWM") - before;
    assert!(grown < (512 + 96) * MIB, "{} MiB", grown / MIB);
    let task = client.until(&neighbour, "completed").await;
    assert_eq!(task.json["attempt"], 1, "{}", task.text);
    let memory = memory(&client).await;
    assert_eq!((&memory["used_bytes"], &memory["blocks_queue"]), (&json!(0), &json!(false)));
}

#[tokio::test]
async fn a_single_task_may_use_its_whole_limit_beyond_the_budget() {
    let server = Server::start(&["--memory-total", "64MiB", "--slots", "4"]);
    let client = server.client();
    assert!(memory(&client).await["total_bytes"].as_u64().is_some_and(|total| total < 64 * MIB));
    let ids = [client.submit(&hog()).await, client.submit(&hog()).await];
    for id in ids {
        let task = client.until(&id, "completed").await;
        let got: u64 = task.str("result").trim_end_matches(" MiB").parse().expect("a number");
        assert!(got >= 56, "{got} MiB");
    }
}

#[tokio::test]
async fn small_tasks_run_beside_many_hogs() {
    let server = Server::start(&["--memory-total", "256MiB", "--slots", "100"]);
    let client = server.client();
    let mut hogs = Vec::new();
    for _ in 0..40 {
        hogs.push(client.submit(&hog()).await);
    }
    for _ in 0..20 {
        let small = client.submit(&json!({"plugin": "noop"})).await;
        client.until(&small, "completed").await;
    }
    for id in &hogs {
        client.until(id, "completed").await;
    }
}

#[tokio::test]
async fn a_thousand_sleeping_tasks_fit_in_memory_they_could_not_all_touch() {
    // Each has 1.1 MiB of initial memory, and touches less than a tenth.
    let server = Server::start(&["--memory-total", "384MiB", "--slots", "1000"]);
    let client = server.client();
    let sleeper = json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}});
    for _ in 0..1_000 {
        client.submit(&sleeper).await;
    }
    until(&client, |stats| stats["running"] == 1_000).await;
    let used = memory(&client).await["used_bytes"].as_u64().expect("a number");
    assert!((1 << 20..288 * MIB).contains(&used), "{used}");
}

#[tokio::test]
async fn tasks_that_touch_their_memory_late_are_evicted_and_complete_eventually() {
    let server = Server::start(&["--memory-total", "512MiB", "--slots", "60"]);
    let client = server.client();
    let neighbour =
        json!({"plugin": "io-stub", "input": {"min_ms": 24_000, "max_ms": 24_000, "fail_rate": 0}});
    let neighbour = client.submit(&neighbour).await;
    client.until(&neighbour, "running").await;
    let before = server.memory("VmRSS");
    let late = json!({"plugin": "misbehave", "input": {"do": "hog-late", "mib": 40, "ms": 20_000}});
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(client.submit(&late).await);
        // Each is admitted once the memory of the previous one turns out to be untouched.
        until(&client, |stats| stats["memory"]["free_bytes"].as_u64() > Some(200 * MIB)).await;
    }
    // All of them start while they sleep: nothing predicts that they will touch their memory.
    until(&client, |stats| stats["running"] == 51).await;
    for id in &ids {
        let task = client.until_finished(id).await;
        assert_eq!((task.str("state"), task.str("result")), ("completed", "40 MiB"), "{}", task.text);
        assert_eq!(task.json["attempt"], 1, "an eviction does not count: {}", task.text);
    }
    // They would touch 2 GiB. Allows for what two of them touch in one instruction before it is noticed, and
    // the time until evicted ones are gone.
    let grown = server.memory("VmHWM") - before;
    assert!(grown < (512 + 256) * MIB, "{} MiB", grown / MIB);
    let task = client.until(&neighbour, "completed").await;
    assert_eq!(task.json["attempt"], 1, "{}", task.text);
}

async fn until(client: &Client, is_so: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let stats = client.get("/stats").await;
        if is_so(&stats.json) {
            return;
        }
        assert!(Instant::now() < deadline, "timed out: {}", stats.text);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
