//! Events that somebody posts to a task.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server, wasmill};

const APPROVAL: &[u8] = include_bytes!(env!("GUEST_APPROVAL"));
const UNKNOWN: &str = "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061";

fn start(args: &[&str]) -> Server {
    let folder = Server::folder_with_guests();
    std::fs::write(folder.path().join("plugins/approval.wasm"), APPROVAL).expect("a plugin");
    Server::start_in(Arc::clone(&folder), args).expect("a server")
}

/// Submits a task that needs so many approvals.
async fn ask(client: &Client, approvals: u32) -> String {
    let input = json!({"question": "Ship it?", "approvals": approvals});
    client.submit(&json!({"plugin": "approval", "input": input})).await
}

async fn until_waits(client: &Client, id: &str) {
    let waits =
        |record: &Value| record["queue_state"] == "suspended" && record["wake_on"] == json!(["event"]);
    client.until_task(id, "waits for an event", waits).await;
}

async fn post(client: &Client, id: &str, query: &str, payload: &Value) -> Answer {
    client.post(&format!("/task/{id}/event{query}"), payload).await
}

fn result(record: &Answer) -> Value {
    serde_json::from_str(record.str("result")).expect("JSON")
}

#[tokio::test]
async fn a_task_waits_for_a_person() {
    let server = start(&["--slots", "1"]);
    let client = server.client();
    let id = ask(&client, 2).await;
    until_waits(&client, &id).await;
    // Its slot is free a moment after its end is stored.
    while client.slots_used().await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let why = client.get(&format!("/task/{id}/why")).await;
    assert!(why.text.contains("waits for an event"), "{}", why.text);
    let posted = post(&client, &id, "?name=legal", &json!({"approved": true, "by": "Ada"})).await;
    assert_eq!((posted.status, posted.str("id")), (StatusCode::ACCEPTED, id.as_str()), "{}", posted.text);
    let waits_again = |record: &Value| record["suspensions"] == 2 && record["queue_state"] == "suspended";
    client.until_task(&id, "waits for the second", waits_again).await;
    // The same department once more does not count.
    post(&client, &id, "?name=legal", &json!(true)).await;
    post(&client, &id, "?name=finance", &json!(true)).await;
    let record = client.until(&id, "completed").await;
    let outcome = result(&record);
    assert_eq!(
        (&outcome["approved"], &outcome["answers"][0]["payload"]["by"]),
        (&json!(true), &json!("Ada"))
    );
    assert_eq!(outcome["answers"].as_array().map(Vec::len), Some(2), "{outcome}");
    assert_eq!((record.json["events_posted"].as_u64(), record.json["attempt"].as_u64()), (Some(3), Some(1)));
}

#[tokio::test]
async fn a_task_whose_time_is_over_gets_no_answer() {
    let server = start(&[]);
    let client = server.client();
    let input = json!({"question": "Ship it?", "within_ms": 200});
    let id = client.submit(&json!({"plugin": "approval", "input": input})).await;
    let record = client.until(&id, "completed").await;
    assert_eq!(result(&record), json!({"approved": false, "expired": true, "answers": []}));
}

#[tokio::test]
async fn an_event_wakes_within_milliseconds() {
    let server = start(&[]);
    let client = server.client();
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let id = ask(&client, 1).await;
        until_waits(&client, &id).await;
        let begun = Instant::now();
        post(&client, &id, "", &json!(true)).await;
        client.until(&id, "completed").await;
        fastest = fastest.min(begun.elapsed());
    }
    // Far less than the poll of the dispatcher, which would find it as well.
    assert!(fastest < Duration::from_millis(300), "{fastest:?}");
}

#[tokio::test]
async fn events_before_the_start_and_during_a_run_are_kept() {
    let server = start(&[]);
    let client = server.client();
    let input = json!({"question": "Ship it?", "approvals": 2});
    let id = client.submit(&json!({"plugin": "approval", "input": input, "delay": "300ms"})).await;
    for _ in 0..2 {
        assert_eq!(post(&client, &id, "", &json!(true)).await.status, StatusCode::ACCEPTED);
    }
    let record = client.until(&id, "completed").await;
    assert_eq!(record.json["suspensions"], 0, "it had all that it asked for");
}

#[tokio::test]
async fn bad_events_change_nothing() {
    let server = start(&[]);
    let client = server.client();
    let id = ask(&client, 1).await;
    until_waits(&client, &id).await;
    let path = format!("/task/{id}/event");
    let long = "x".repeat(65);
    let cases = [
        (post(&client, UNKNOWN, "", &json!(true)).await, StatusCode::NOT_FOUND, "unknown-task"),
        (post(&client, "nonsense", "", &json!(true)).await, StatusCode::BAD_REQUEST, "invalid-id"),
        (
            post(&client, &id, "?name=", &json!(true)).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
        ),
        (
            post(&client, &id, &format!("?name={long}"), &json!(true)).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
        ),
        (
            post(&client, &id, "?name=a&name=b", &json!(true)).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
        ),
        (
            post(&client, &id, "?nom=a", &json!(true)).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
        ),
        (
            post(&client, &id, "", &json!("x".repeat(64 << 10))).await,
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
        ),
        (
            client
                .send(Method::POST, &path, Some(("application/json", b"{".to_vec())))
                .await
                .expect("an answer"),
            StatusCode::BAD_REQUEST,
            "invalid-json",
        ),
    ];
    for (answer, status, code) in cases {
        assert_eq!((answer.status, answer.str("code")), (status, code), "{}", answer.text);
    }
    let largest = json!("x".repeat((64 << 10) - 2));
    assert_eq!(post(&client, &id, "", &largest).await.status, StatusCode::ACCEPTED);
    let waits_again = |record: &Value| record["suspensions"] == 2 && record["queue_state"] == "suspended";
    let record = client.until_task(&id, "has looked at it", waits_again).await;
    assert_eq!(record.json["events_posted"], 1);
    client.send(Method::POST, &format!("/task/{id}/cancel"), None).await.expect("an answer");
    let late = post(&client, &id, "", &json!(true)).await;
    assert_eq!((late.status, late.str("code")), (StatusCode::CONFLICT, "task-finished"), "{}", late.text);
}

#[tokio::test]
async fn a_task_keeps_a_hundred_events() {
    let server = start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "approval", "input": {"question": "?"}, "delay": "1h"})).await;
    for _ in 0..100 {
        assert_eq!(post(&client, &id, "", &Value::Null).await.status, StatusCode::ACCEPTED);
    }
    let full = post(&client, &id, "", &Value::Null).await;
    assert_eq!((full.status, full.str("code")), (StatusCode::TOO_MANY_REQUESTS, "too-many-events"));
    assert!(full.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_repeated_post_is_one_event() {
    let server = start(&[]);
    let client = server.client();
    let id = ask(&client, 2).await;
    until_waits(&client, &id).await;
    let path = format!("/task/{id}/event");
    let keyed = async |payload: Value| {
        let body = Some(("application/json", payload.to_string().into_bytes()));
        client
            .send_with(Method::POST, &path, &[("idempotency-key", "call-17")], body)
            .await
            .expect("an answer")
    };
    let first = keyed(json!(true)).await;
    let again = keyed(json!(true)).await;
    assert_eq!((first.status, again.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED), "{}", again.text);
    assert_eq!((&first.json, again.headers.get("idempotent-replayed").is_some()), (&again.json, true));
    let other = keyed(json!(false)).await;
    assert_eq!(other.str("code"), "idempotency-key-reused");
    assert_eq!(client.get(&format!("/task/{id}")).await.json["events_posted"], 1);
}

/// Kills the server while clients post to tasks that wait, start and end steps: each event that was accepted is in the
/// result exactly once, and one whose answer was lost at most once.
#[tokio::test]
async fn no_event_is_lost_or_seen_twice_though_the_server_is_killed() {
    // A task fails with the third crash that hits one of its runs.
    const KILLS: u64 = 2;
    const TASKS: u64 = 8;
    const EVENTS: u64 = 5;
    let mut server = start(&[]);
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        // More than are posted while the server is killed, so that no task ends before.
        tasks.push(ask(&server.client(), u32::try_from(KILLS * EVENTS + 1).expect("small")).await);
    }
    let mut accepted: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); tasks.len()];
    for kill in 0..KILLS {
        let (mut posts, count) = (Vec::new(), Arc::new(AtomicU64::new(0)));
        for (task, id) in (0..).zip(&tasks) {
            for event in 0..EVENTS {
                let (client, path) = (server.client().undocumented(), format!("/task/{id}/event"));
                let (number, count) = (kill * EVENTS + event, Arc::clone(&count));
                posts.push(tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(event * 9 + task)).await;
                    let body = json!({"approved": true, "number": number}).to_string().into_bytes();
                    let answer = client.send(Method::POST, &path, Some(("application/json", body))).await;
                    let is_accepted = answer.is_ok_and(|answer| answer.status == StatusCode::ACCEPTED);
                    count.fetch_add(is_accepted.into(), Ordering::SeqCst);
                    (task, number, is_accepted)
                }));
            }
        }
        while count.load(Ordering::SeqCst) < TASKS * (kill + 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server = server.kill_and_restart();
        for post in posts {
            let (task, number, is_accepted) = post.await.expect("no panic");
            if is_accepted {
                accepted[usize::try_from(task).expect("small")].insert(number);
            }
        }
    }
    let client = server.client();
    for (id, accepted) in tasks.iter().zip(accepted) {
        // Enough for those that were lost on their way.
        for number in 100..=100 + KILLS * EVENTS {
            post(&client, id, "", &json!({"approved": true, "number": number})).await;
        }
        let record = client.until(id, "completed").await;
        let outcome = result(&record);
        let answers = outcome["answers"].as_array().expect("answers");
        let numbers: Vec<_> =
            answers.iter().map(|answer| answer["payload"]["number"].as_u64().expect("a number")).collect();
        let seen: BTreeSet<_> = numbers.iter().copied().collect();
        assert_eq!(seen.len(), numbers.len(), "seen twice: {numbers:?}");
        assert!(accepted.is_subset(&seen), "accepted {accepted:?}, seen {seen:?}");
    }
}

#[tokio::test]
async fn the_command_posts_an_event_and_run_has_them_from_the_start() {
    let server = start(&[]);
    let client = server.client();
    let id = ask(&client, 1).await;
    until_waits(&client, &id).await;
    let (folder, url) = (server.folder(), format!("http://{}", server.address()));
    let posted =
        wasmill(folder, &["event", &id, "{\"approved\": true}", "--name", "legal", "--server", &url]);
    assert_eq!(posted.out.trim(), format!("{id} has the event"), "{posted:?}");
    let outcome = result(&client.until(&id, "completed").await);
    assert_eq!(outcome["answers"][0]["from"], "legal");
    let wrong = wasmill(folder, &["event", &id, "yes", "--server", &url]);
    assert!(wrong.err.contains("the payload is not JSON"), "{wrong:?}");

    let file = folder.join("plugins/approval.wasm");
    let input = r#"{"question": "Ship it?", "approvals": 2}"#;
    let ran = wasmill(
        folder,
        &["run", file.to_str().expect("text"), "--input", input, "--event", "true", "--event", "true"],
    );
    assert!(ran.out.contains("\"approved\":true"), "{ran:?}");
}
