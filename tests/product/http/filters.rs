//! Filters: lists and cancels exactly the matching tasks.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server};

fn ids(page: &Answer) -> Vec<&str> {
    page.json.as_array().expect("a list").iter().map(|task| task["id"].as_str().expect("an id")).collect()
}

fn next(page: &Answer) -> Option<String> {
    let link = page.headers.get("link")?.to_str().expect("text");
    Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned())
}

async fn cancel(client: &Client, query: &str) -> Value {
    let answer = client.send(Method::POST, &format!("/task/cancel{query}"), None).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json
}

/// Runs 3 sleeping tasks in 3 slots, with 3 tasks of the default plugin queued and 1 completed.
async fn busy() -> (Server, Client, String, Vec<String>, Vec<String>) {
    let server = Server::start(&["--slots", "3"]);
    let client = server.client();
    let done = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&done, "completed").await;
    let sleep = json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 60_000}});
    let (mut running, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        running.push(client.submit(&sleep).await);
    }
    for id in &running {
        client.until(id, "running").await;
    }
    for _ in 0..3 {
        waiting.push(client.submit(&json!({})).await);
    }
    (server, client, done, running, waiting)
}

#[tokio::test]
async fn a_list_can_be_filtered_and_its_next_page_keeps_the_filter() {
    let (_server, client, done, running, waiting) = busy().await;
    let newest = |ids: &[String]| ids.iter().rev().cloned().collect::<Vec<_>>();
    assert_eq!(ids(&client.get("/task?state=completed").await), [&done]);
    assert_eq!(ids(&client.get("/task?state=waiting&plugin=io-stub").await), newest(&waiting));
    assert_eq!(ids(&client.get("/task?plugin=misbehave&limit=9").await), newest(&running));
    let both = client.get("/task?state=completed,running").await;
    assert_eq!(ids(&both), [newest(&running), vec![done.clone()]].concat());
    assert_eq!(client.get("/task?state=failed&state=cancelled").await.text, "[]");

    let page = client.get("/task?state=running&plugin=misbehave&limit=2").await;
    assert_eq!(ids(&page), [&running[2], &running[1]]);
    let rest = client.get(&next(&page).expect("one more")).await;
    assert_eq!(ids(&rest), [&running[0]]);
    assert_eq!(next(&rest), None);

    let record = client.get(&format!("/task/{}", waiting[0])).await;
    let moment = record.str("created_at");
    let after = client.get(&format!("/task?created_after={moment}")).await;
    assert_eq!(ids(&after), newest(&waiting));
    let before = client.get(&format!("/task?created_before={moment}&state=running")).await;
    assert_eq!(ids(&before), newest(&running));
}

#[tokio::test]
async fn a_cancel_by_filter_stops_exactly_the_matching_tasks_before_it_responds() {
    let (_server, client, done, running, waiting) = busy().await;
    assert_eq!(
        cancel(&client, "?plugin=misbehave&dry_run=true").await,
        json!({"cancelled": 3, "dry_run": true})
    );
    assert_eq!(client.slots_used().await, 3, "a dry run stops nothing");
    let first = client.get(&format!("/task/{}", waiting[1])).await;
    let query = format!("?state=waiting&created_before={}", first.str("created_at"));
    assert_eq!(cancel(&client, &query).await, json!({"cancelled": 1, "dry_run": false}));
    assert_eq!(client.get(&format!("/task/{}", waiting[0])).await.str("state"), "cancelled");
    assert_eq!(cancel(&client, "?plugin=misbehave").await["cancelled"], 3);
    for id in &running {
        assert_eq!(client.get(&format!("/task/{id}")).await.str("state"), "cancelled");
    }
    for id in &waiting[1..] {
        client.until(id, "running").await;
    }
    assert_eq!(cancel(&client, "?all=true").await["cancelled"], 2);
    assert_eq!(client.slots_used().await, 0);
    assert_eq!(cancel(&client, "?all=true").await["cancelled"], 0);
    assert_eq!(client.get(&format!("/task/{done}")).await.str("state"), "completed");
}

#[tokio::test]
async fn a_cancel_without_filter_or_all_stops_no_task() {
    let (_server, client, ..) = busy().await;
    for query in [
        "",
        "?dry_run=true",
        "?all=false",
        "?all=true&state=running",
        "?plugn=noop",
        "?state=completed",
        "?state=waiting,failed",
        "?state=",
        "?created_after=soon",
        "?plugin=a&plugin=b",
        "?all=yes",
    ] {
        let answer =
            client.send(Method::POST, &format!("/task/cancel{query}"), None).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {}", answer.text);
        assert_eq!(answer.str("code"), "invalid-request");
    }
    let answer = client.post("/task/cancel?all=true", &json!({"state": "waiting"})).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "the body would be ignored");
    assert_eq!(client.slots_used().await, 3);
    assert_eq!(client.get("/stats").await.json["waiting"], 3);
    let answer = client.get("/task?state=done").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
    assert_eq!(answer.json["errors"][0]["parameter"], "state");
    assert_eq!(client.get("/task/cancel").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_cancel_of_many_survives_a_crash() {
    let (server, client, ..) = busy().await;
    assert_eq!(cancel(&client, "?all=true").await["cancelled"], 6);
    let server = server.kill_and_restart();
    let client = server.client();
    assert_eq!(client.get("/task?state=cancelled").await.json.as_array().expect("a list").len(), 6);
    assert_eq!(client.get("/stats").await.json["waiting"], 0);
}

#[tokio::test]
async fn waiting_tasks_are_found_by_what_they_wait_for() {
    let (_server, client, done, running, waiting) = busy().await;
    let delayed = client.submit(&json!({"plugin": "noop", "delay": "1h"})).await;
    let blocked = client.submit(&json!({"plugin": "noop", "depends_on": [running[0]]})).await;
    for (state, expected) in
        [("scheduled", vec![&delayed]), ("blocked", vec![&blocked]), ("suspended", vec![])]
    {
        let page = client.get(&format!("/task?state={state}")).await;
        assert_eq!(ids(&page), expected, "{}", page.text);
    }
    let available = client.get("/task?state=available").await;
    let newest_first: Vec<_> = waiting.iter().rev().collect();
    assert_eq!(ids(&available), newest_first, "{}", available.text);
    let all = client.get("/task?state=waiting").await;
    assert_eq!(ids(&all).len(), waiting.len() + 2, "{}", all.text);
    let shown = client.get(&format!("/task/{done}")).await;
    assert_eq!((shown.str("state"), &shown.json["queue_state"]), ("completed", &Value::Null));

    let stored = &client.get("/stats").await.json["stored"];
    for (state, tasks) in
        [("waiting", 5), ("blocked", 1), ("scheduled", 1), ("suspended", 0), ("available", 3)]
    {
        assert_eq!(stored[state], tasks, "{state}: {stored}");
    }
    assert_eq!(cancel(&client, "?state=blocked").await["cancelled"], 1);
    assert_eq!(client.get(&format!("/task/{blocked}")).await.str("state"), "cancelled");
    assert_eq!(client.get(&format!("/task/{delayed}")).await.str("state"), "waiting");
}
