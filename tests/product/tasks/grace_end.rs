//! A task in its grace finishes exactly when its guest is gone, whatever happens.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server};

/// A guest that ignores stop requests.
fn spin() -> Value {
    json!({"plugin": "misbehave", "input": {"do": "spin"}, "unique_key": "k", "tags": ["deaf"]})
}

async fn running(client: &Client, task: &Value) -> String {
    let id = client.submit(task).await;
    client.until(&id, "running").await;
    id
}

/// Requests a stop, and waits until the task shows it.
async fn begin(client: &Client, id: &str, method: Method, path: String) -> tokio::task::JoinHandle<Answer> {
    let stopping = tokio::spawn({
        let client = client.clone();
        async move { client.send(method, &path, None).await.expect("an answer") }
    });
    client.until_task(id, "asked to stop", |record| !record["stop_requested_at"].is_null()).await;
    stopping
}

fn ways(id: &str, grace: &str) -> [(Method, String, StatusCode); 3] {
    [
        (Method::POST, format!("/task/{id}/cancel?grace={grace}"), StatusCode::OK),
        (Method::DELETE, format!("/task/{id}?grace={grace}"), StatusCode::NO_CONTENT),
        (Method::POST, format!("/task/cancel?tag=deaf&grace={grace}"), StatusCode::OK),
    ]
}

#[tokio::test]
async fn no_waiter_sees_a_task_finish_before_its_guest_is_gone() {
    let server = Server::start(&["--slots", "5"]);
    let client = server.client();
    for way in 0..3 {
        let id = running(&client, &spin()).await;
        let after = client.submit(&json!({"plugin": "noop", "depends_on": [id], "on_failure": "run"})).await;
        let mut events = client.follow(&format!("/task/{id}/events"), None).await;
        let (method, path, status) = ways(&id, "60s")[way].clone();
        let stopping = begin(&client, &id, method, path).await;

        let record = client.get(&format!("/task/{id}")).await;
        assert_eq!((record.str("state"), &record.json["finished_at"]), ("running", &Value::Null));
        assert_eq!(record.str("status"), "in process");
        let refused = client.post("/task", &spin()).await;
        assert_eq!((refused.status, refused.str("code")), (StatusCode::CONFLICT, "unique-key-taken"));
        assert_eq!(client.get(&format!("/task/{after}")).await.json["pending_dependencies"], 1);
        let stats = client.get("/stats").await.json;
        assert_eq!((&stats["running"], &stats["slots"]["used"]), (&json!(1), &json!(1)));
        assert!(!stopping.is_finished());

        // A second cancel without grace ends the first grace.
        let now = client.send(Method::POST, &format!("/task/{id}/cancel"), None).await.expect("an answer");
        assert_eq!(now.status, if way == 1 { StatusCode::NOT_FOUND } else { StatusCode::OK }, "{}", now.text);
        let answer = stopping.await.expect("no panic");
        assert_eq!(answer.status, status, "{}", answer.text);
        client.until(&after, "completed").await;
        let last = loop {
            let event = events.next().await.expect("an event");
            if event.name != "started" && event.name != "progress" {
                break event.name;
            }
        };
        assert_eq!(last, if way == 1 { "deleted" } else { "cancelled" });
        let again = client.submit(&spin()).await;
        assert_eq!(client.delete(&format!("/task/{again}")).await.status, StatusCode::NO_CONTENT);
        let record = client.get(&format!("/task/{id}")).await;
        if way != 1 {
            let time = |key: &str| record.str(key).to_owned();
            assert!(time("stop_requested_at") <= time("finished_at"), "{}", record.text);
            assert_eq!(record.str("state"), "cancelled");
        }
    }
}

#[tokio::test]
async fn a_schedule_without_overlap_waits_for_a_guest_in_its_grace() {
    let server = Server::start(&["--slots", "5"]);
    let client = server.client();
    let schedule = json!({
        "cron": "* * * * * *", "overlap": false, "task": {"plugin": "misbehave", "input": {"do": "spin"}},
    });
    let body = ("application/json", schedule.to_string().into_bytes());
    client.send(Method::PUT, "/schedules/alone", Some(body)).await.expect("an answer");
    let id = loop {
        let schedule = client.get("/schedules/alone").await;
        if let Some(task) = schedule.json["last_run"]["task"].as_str() {
            break task.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    client.until(&id, "running").await;
    let skipped = client.get("/schedules/alone").await.json["skipped"].as_u64().expect("a number");
    let stopping = begin(&client, &id, Method::POST, format!("/task/{id}/cancel?grace=60s")).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let schedule = client.get("/schedules/alone").await.json;
        assert_eq!(schedule["runs"], 1, "it runs twice: {schedule}");
        if schedule["skipped"].as_u64() > Some(skipped + 1) {
            break;
        }
        assert!(Instant::now() < deadline, "nothing is due: {schedule}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.delete("/schedules/alone").await;
    client.send(Method::POST, &format!("/task/{id}/cancel"), None).await.expect("an answer");
    stopping.await.expect("no panic");
}

#[tokio::test]
async fn a_task_that_was_asked_to_stop_never_runs_again_after_a_crash() {
    let mut server = Server::start(&["--slots", "5"]);
    for way in 0..3 {
        let client = server.client();
        let id = running(&client, &spin()).await;
        let (method, path, _) = ways(&id, "60s")[way].clone();
        let stopping = tokio::spawn({
            let client = client.clone();
            async move { client.send(method, &path, None).await }
        });
        client.until_task(&id, "asked to stop", |record| !record["stop_requested_at"].is_null()).await;
        server = server.kill_and_restart();
        assert!(stopping.await.expect("no panic").is_err(), "the answer never came");
        let client = server.client();
        let record = client.get(&format!("/task/{id}")).await;
        if way == 1 {
            assert_eq!(record.status, StatusCode::NOT_FOUND, "{}", record.text);
        } else {
            assert_eq!((record.str("state"), &record.json["host_crashes"]), ("cancelled", &json!(0)));
            assert_eq!(record.json["attempt"], 1);
        }
        assert_eq!(client.get("/stats").await.json["running"], 0);
    }
}

#[tokio::test]
async fn a_drain_ends_the_grace_of_a_cancel_and_the_task_is_cancelled() {
    let server = Server::start(&["--slots", "5", "--drain", "200ms"]);
    let client = server.client();
    let id = running(&client, &spin()).await;
    let stopping = begin(&client, &id, Method::POST, format!("/task/{id}/cancel?grace=60s")).await;
    let server = server.stop_and_restart();
    drop(stopping.await);
    let record = server.client().get(&format!("/task/{id}")).await;
    assert_eq!((record.str("state"), &record.json["attempt"]), ("cancelled", &json!(1)), "{}", record.text);
}

/// With and without a grace, a log stream gets everything the guest wrote before it was gone, followed by
/// `end`.
#[tokio::test]
async fn the_log_has_everything_the_guest_wrote_before_the_end_event() {
    let server = Server::start(&["--slots", "5"]);
    let client = server.client();
    for round in 0..20 {
        let lines = json!({"do": "lines", "count": 100_000, "ms": 1});
        let id = running(&client, &json!({"plugin": "misbehave", "input": lines})).await;
        let mut logs = client.follow(&format!("/task/{id}/logs"), None).await;
        let first = logs.next().await.expect("a line");
        assert_eq!(first.name, "log");
        let grace = if round % 2 == 0 { "?grace=30ms" } else { "" };
        let path = format!("/task/{id}/cancel{grace}");
        let answer = client.send(Method::POST, &path, None).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let mut last: u64 = first.id.expect("a number").parse().expect("a number");
        loop {
            let event = logs.next().await.expect("an event before the end");
            match event.name.as_str() {
                "log" => last = event.id.expect("a number").parse().expect("a number"),
                "end" => break,
                other => assert_eq!(other, "gap"),
            }
        }
        assert!(logs.next().await.is_none(), "nothing comes after the end");
        let newest: u64 = newest_line(&client, &id).await;
        assert_eq!(last, newest, "a follower has seen all lines, and no other");
    }
}

async fn newest_line(client: &Client, id: &str) -> u64 {
    let lines = client.get(&format!("/task/{id}/logs?limit=10000")).await.json;
    lines.as_array().and_then(|lines| lines.last()).map_or(0, |line| line["seq"].as_u64().expect("a number"))
}
