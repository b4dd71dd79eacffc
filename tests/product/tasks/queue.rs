//! Features of the queue: delays, batches, uniqueness, priorities, tags and retries.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server, sleep};

/// Sends a body with an `Idempotency-Key`.
async fn keyed(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    let body = ("application/json", body.to_string().into_bytes());
    client.send_with(Method::POST, path, &[("idempotency-key", key)], Some(body)).await.expect("an answer")
}

async fn lines(client: &Client, text: &str) -> Answer {
    let body = ("application/x-ndjson", text.as_bytes().to_vec());
    client.send(Method::POST, "/task/batch", Some(body)).await.expect("an answer")
}

async fn waiting(client: &Client) -> u64 {
    client.get("/stats").await.json["waiting"].as_u64().expect("a number")
}

#[tokio::test]
async fn a_delayed_task_starts_on_time() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "noop", "delay": "700ms"})).await;
    let early = client.get(&format!("/task/{id}/status")).await;
    assert_eq!((early.str("state"), early.str("status")), ("waiting", "created, but waiting to start"));
    assert_eq!(early.str("queue_state"), "scheduled");
    assert!(early.str("ready_at") > early.str("created_at"), "{}", early.text);
    let done = client.until(&id, "completed").await;
    assert!(done.str("started_at") >= done.str("ready_at"), "{}", done.text);

    let far = client.submit(&json!({"run_at": "2027-01-01T00:00:00+01:00"})).await;
    let listed = client.get("/task?state=waiting").await;
    assert_eq!(listed.json[0]["ready_at"], "2026-12-31T23:00:00.000000000Z");
    let server = server.kill_and_restart();
    let client = server.client();
    let cancelled = client.post(&format!("/task/{far}/cancel"), &json!({})).await;
    assert_eq!(cancelled.str("state"), "cancelled");
    let past = client.submit(&json!({"plugin": "noop", "run_at": "2001-01-01T00:00:00Z"})).await;
    client.until(&past, "completed").await;
}

#[tokio::test]
async fn a_batch_is_stored_atomically_and_answered_in_its_format() {
    let server = Server::start(&[]);
    let client = server.client();
    let answer =
        client.post("/task/batch", &json!([{"plugin": "noop"}, {"plugin": "noop", "input": 7}])).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let records = answer.json.as_array().expect("an array").clone();
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!(record.as_object().expect("an object").len(), 3);
        client.until(record["id"].as_str().expect("an id"), "completed").await;
    }
    let listed = client.get("/task").await;
    assert_eq!(listed.json[0]["id"], records[1]["id"], "in the order sent");

    let answer = lines(&client, "{\"plugin\": \"noop\"}\n\n{\"plugin\":\"noop\"}\r\n").await;
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let ids: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((answer.status, ids.len()), (StatusCode::CREATED, 2));
    client.until(ids[1]["id"].as_str().expect("an id"), "completed").await;
    assert_eq!(client.post("/task/batch", &json!([])).await.text, "[]");
    assert_eq!(lines(&client, "").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_batch_with_errors_stores_nothing_and_points_at_each() {
    let server = Server::start(&["--slots", "1", "--waiting-max", "3"]);
    let client = server.client();
    let running = client.submit(&sleep(60_000)).await;
    client.until(&running, "running").await;
    let bad = json!([{"plugin": "noop"}, {"plugin": "nobody", "a/b": 1}, 7, {"timeout": "soon"}]);
    let answer = client.post("/task/batch", &bad).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
    assert_eq!(answer.pointers(), ["/1/plugin", "/1/a~1b", "/2", "/3/timeout"]);
    let broken = lines(&client, "{}\n{\"plugin\"\n").await;
    assert_eq!((broken.status, broken.str("code")), (StatusCode::BAD_REQUEST, "invalid-json"));
    assert!(broken.str("detail").contains("line 2"), "{}", broken.text);
    for body in [json!({}), json!("noop")] {
        assert_eq!(client.post("/task/batch", &body).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let form = ("text/plain", b"[]".to_vec());
    let form = client.send(Method::POST, "/task/batch", Some(form)).await.expect("an answer");
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let many: Vec<_> = (0..10_001).map(|_| json!({})).collect();
    let answer = client.post("/task/batch", &json!(many)).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.str("detail").contains("10000"), "{}", answer.text);
    let all_wrong: Vec<_> = (0..5_000).map(|_| json!({"plugin": "nobody"})).collect();
    let answer = client.post("/task/batch", &json!(all_wrong)).await;
    assert!(answer.pointers().len() <= 101, "the answer is bounded");
    let four = json!([{}, {}, {}, {}]);
    assert_eq!(client.post("/task/batch", &four).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(waiting(&client).await, 0, "nothing of all that was accepted");
}

#[tokio::test]
async fn a_batch_has_its_own_body_limit() {
    let server = Server::start(&["--body-max", "1KiB", "--batch-body-max", "4KiB"]);
    let client = server.client();
    let of = |bytes: usize| json!([{"plugin": "noop", "input": "x".repeat(bytes)}]);
    assert_eq!(client.post("/task/batch", &of(3_000)).await.status, StatusCode::CREATED);
    assert_eq!(client.post("/task/batch", &of(5_000)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_repeated_request_with_an_idempotency_key_is_replayed() {
    let server = Server::start(&[]);
    let client = server.client();
    let body = json!({"plugin": "noop", "input": 1});
    let first = keyed(&client, "/task", "order-7", &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    client.delete(&format!("/task/{}", first.str("id"))).await;
    let server = server.kill_and_restart();
    let client = server.client();
    let again = keyed(&client, "/task", "order-7", &body).await;
    assert_eq!((again.status, &again.text), (StatusCode::CREATED, &first.text));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(client.get("/task").await.text, "[]", "nothing was stored anew");

    for (path, other) in [("/task", json!({"plugin": "noop", "input": 2})), ("/task/batch", json!([body]))] {
        let answer = keyed(&client, path, "order-7", &other).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
        assert_eq!(answer.str("code"), "idempotency-key-reused");
    }
    let refused = keyed(&client, "/task", "order-8", &json!({"plugin": "nobody"})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(keyed(&client, "/task", "order-8", &body).await.status, StatusCode::CREATED);
    let long = "x".repeat(256);
    for key in ["", "a b", &long] {
        let answer = keyed(&client, "/task", key, &body).await;
        assert_eq!((answer.status, answer.str("code")), (StatusCode::BAD_REQUEST, "invalid-idempotency-key"));
    }
}

#[tokio::test]
async fn concurrent_requests_with_one_idempotency_key_run_once() {
    let server = Server::start(&[]);
    let client = server.client();
    let body = json!([sleep(60_000), sleep(60_000)]);
    let posts = (0..20).map(|_| {
        let (client, body) = (client.clone(), body.clone());
        tokio::spawn(async move { keyed(&client, "/task/batch", "k", &body).await })
    });
    let mut texts = Vec::new();
    for post in posts.collect::<Vec<_>>() {
        let answer = post.await.expect("ran");
        assert_eq!(answer.status, StatusCode::CREATED);
        texts.push(answer.text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "all got the same answer");
    assert_eq!(client.get("/task").await.json.as_array().expect("a list").len(), 2);
}

#[tokio::test]
async fn only_one_unfinished_task_has_a_unique_key() {
    let server = Server::start(&[]);
    let client = server.client();
    let mut task = sleep(60_000);
    task["unique_key"] = json!("nightly");
    let holder = client.submit(&task).await;
    let record = client.until(&holder, "running").await;
    assert_eq!(record.str("unique_key"), "nightly");
    let taken = client.post("/task", &task).await;
    assert_eq!((taken.status, taken.str("code")), (StatusCode::CONFLICT, "unique-key-taken"));
    assert_eq!((taken.str("holder"), taken.pointers()), (holder.as_str(), vec!["/unique_key"]));
    let taken = client.post("/task/batch", &json!([{}, task])).await;
    assert_eq!((taken.str("holder"), taken.pointers()), (holder.as_str(), vec!["/1/unique_key"]));
    task["on_conflict"] = json!("return");
    let returned = client.post("/task", &task).await;
    assert_eq!((returned.status, returned.str("id")), (StatusCode::OK, holder.as_str()));
    assert_eq!(returned.headers["location"], format!("/task/{holder}"));
    assert_eq!(client.get("/task").await.json.as_array().expect("a list").len(), 1);
    client.delete(&format!("/task/{holder}")).await;
    let next = client.post("/task", &task).await;
    assert_eq!(next.status, StatusCode::CREATED);
    assert_ne!(next.str("id"), holder);
}

#[tokio::test]
async fn a_higher_priority_starts_first() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let running = client.submit(&sleep(60_000)).await;
    client.until(&running, "running").await;
    let mut ids = Vec::new();
    for priority in [0, -5, 5, 0, 1_000] {
        let answer = client.post("/task", &json!({"plugin": "noop", "priority": priority})).await;
        ids.push(answer.str("id").to_owned());
    }
    client.delete(&format!("/task/{running}")).await;
    let mut started = Vec::new();
    for id in &ids {
        let record = client.until(id, "completed").await;
        started.push((record.str("started_at").to_owned(), record.json["priority"].clone()));
    }
    started.sort_by(|a, b| a.0.cmp(&b.0));
    let order: Vec<_> = started.into_iter().map(|(_, priority)| priority).collect();
    assert_eq!(order, [1_000, 5, 0, 0, -5]);
}

#[tokio::test]
async fn tasks_are_listed_and_cancelled_by_tag() {
    let server = Server::start(&[]);
    let client = server.client();
    let mut ids = Vec::new();
    for tags in [json!(["tenant:1", "nightly"]), json!(["tenant:1"]), json!(["tenant:2"]), json!([])] {
        let mut task = sleep(60_000);
        task["tags"] = tags;
        ids.push(client.submit(&task).await);
    }
    let listed = |page: &Answer| -> Vec<String> {
        let tasks = page.json.as_array().expect("a list");
        tasks.iter().map(|task| task["id"].as_str().expect("an id").to_owned()).collect()
    };
    let page = client.get("/task?tag=tenant:1&limit=1").await;
    assert_eq!((listed(&page), &page.json[0]["tags"]), (vec![ids[1].clone()], &json!(["tenant:1"])));
    let link = page.headers["link"].to_str().expect("text");
    let next = link.strip_prefix('<').and_then(|link| link.split_once('>')).expect("a link").0;
    assert_eq!(listed(&client.get(next).await), [ids[0].clone()]);
    let page = client.get("/task?tag=tenant:1&tag=nightly").await;
    assert_eq!(listed(&page), [ids[0].clone()]);
    assert_eq!(page.json[0]["tags"], json!(["nightly", "tenant:1"]));
    let cancelled = client.post("/task/cancel?tag=tenant:1", &json!({})).await;
    assert_eq!(cancelled.json["cancelled"], 2);
    assert_eq!(
        listed(&client.get("/task?tag=tenant:1&state=cancelled").await),
        [ids[1].clone(), ids[0].clone()]
    );
    assert_eq!(client.get(&format!("/task/{}", ids[3])).await.json["tags"], json!([]));
}

#[tokio::test]
async fn a_finished_task_is_retried_on_request() {
    let server = Server::start(&[]);
    let client = server.client();
    let task = json!({"input": {"min_ms": 1, "max_ms": 2, "fail_rate": 1}, "tags": ["a"], "priority": 3,
        "timeout": "20s", "unique_key": "k"});
    let old = client.submit(&task).await;
    client.until(&old, "failed").await;
    let retried = client.send(Method::POST, &format!("/task/{old}/retry"), None).await.expect("an answer");
    assert_eq!(retried.status, StatusCode::CREATED, "{}", retried.text);
    let new = retried.str("id").to_owned();
    assert_eq!(retried.headers["location"], format!("/task/{new}"));
    let record = client.until(&new, "failed").await;
    assert_eq!(record.str("retry_of"), old);
    let first = client.get(&format!("/task/{old}")).await;
    assert_eq!(first.json["retry_of"], json!(null));
    for key in ["plugin", "tags", "priority", "timeout_ms", "input_bytes", "unique_key", "status"] {
        assert_eq!(record.json[key], first.json[key], "{key}");
    }

    let mut running = sleep(60_000);
    running["unique_key"] = json!("k");
    let running = client.submit(&running).await;
    client.until(&running, "running").await;
    let early = client.post(&format!("/task/{running}/retry"), &json!({})).await;
    assert_eq!((early.status, early.str("code")), (StatusCode::CONFLICT, "task-not-finished"));
    assert_eq!(early.str("state"), "running");
    let taken = client.post(&format!("/task/{old}/retry"), &json!({})).await;
    assert_eq!((taken.status, taken.str("code")), (StatusCode::CONFLICT, "unique-key-taken"));
    let body = client.post(&format!("/task/{old}/retry"), &json!({"input": 1})).await;
    assert_eq!(body.status, StatusCode::UNPROCESSABLE_ENTITY);
    let gone = "/task/0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061/retry";
    assert_eq!(client.post(gone, &json!({})).await.status, StatusCode::NOT_FOUND);

    let old = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&old, "completed").await;
    std::fs::remove_file(server.folder().join("plugins/noop.wasm")).expect("removed");
    while client.get("/plugins/noop").await.status == StatusCode::OK {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let lost = client.post(&format!("/task/{old}/retry"), &json!({})).await;
    assert_eq!(lost.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", lost.text);
}

#[tokio::test]
async fn every_attempt_is_shown_with_its_outcome() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client
        .submit(&json!({"input": {"min_ms": 1, "max_ms": 2, "fail_rate": 1}, "max_attempts": 3,
            "backoff": {"first": "10ms", "max": "10ms"}}))
        .await;
    let record = client.until(&id, "failed").await;
    let attempts = record.json["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 3);
    for (attempt, number) in attempts.iter().zip(1..) {
        assert_eq!((&attempt["attempt"], &attempt["outcome"]), (&json!(number), &json!("io")));
        assert_eq!(attempt["message"], record.json["error"]["message"]);
        assert_eq!(attempt["plugin_digest"], record.json["plugin_digest"]);
        assert!(attempt["started_at"].as_str() <= attempt["finished_at"].as_str());
    }
    let running = client.submit(&sleep(60_000)).await;
    let record = client.until(&running, "running").await;
    assert_eq!(record.json["attempts"][0]["outcome"], json!(null));
    let server = server.kill_and_restart();
    let client = server.client();
    let record = client.until(&running, "running").await;
    let outcomes: Vec<_> = record.json["attempts"].as_array().expect("attempts").iter().collect();
    assert_eq!((outcomes.len(), &outcomes[0]["outcome"]), (2, &json!("host-crash")));
    let cancelled = client.post(&format!("/task/{running}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, StatusCode::OK);
    let record = client.get(&format!("/task/{running}")).await;
    assert_eq!(record.json["attempts"][1]["outcome"], "cancelled");
    let never = client.submit(&json!({"plugin": "noop", "delay": "1h"})).await;
    assert_eq!(client.get(&format!("/task/{never}")).await.json["attempts"], json!([]));
}

#[tokio::test]
async fn a_paused_plugin_starts_nothing_until_it_is_resumed() {
    let server = Server::start(&[]);
    let client = server.client();
    let running = client.submit(&sleep(60_000)).await;
    client.until(&running, "running").await;
    let paused = client.post("/plugins/noop/pause", &json!({})).await;
    assert_eq!((paused.status, paused.json), (StatusCode::OK, json!({"plugin": "noop", "paused": true})));
    let held = client.submit(&json!({"plugin": "noop"})).await;
    let other = client.submit(&sleep(60_000)).await;
    client.until(&other, "running").await;
    assert_eq!(client.get(&format!("/task/{held}")).await.str("state"), "waiting");
    assert_eq!(client.get("/plugins/noop").await.json["paused"], true);
    assert_eq!(client.get("/plugins/misbehave").await.json["paused"], false);

    assert_eq!(client.post("/pause", &json!({})).await.json, json!({"plugin": null, "paused": true}));
    let server = server.kill_and_restart();
    let client = server.client();
    assert_eq!(client.get("/stats").await.json["paused"], true);
    client.post("/plugins/noop/resume", &json!({})).await;
    assert_eq!(client.get("/stats").await.json["running"], 0, "nothing runs again while all is paused");
    client.post("/resume", &json!({})).await;
    client.until(&held, "completed").await;
    client.until(&running, "running").await;
    assert_eq!(client.post("/plugins/nobody/pause", &json!({})).await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.get("/pause").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_manifest_sets_the_start_rate_and_the_failures_to_retry() {
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    std::fs::write(plugins.join("noop.toml"), "limits.rate = \"5/s\"").expect("written");
    let manifest = "retry = { max_attempts = 3, on = [\"timeout\"], backoff = { first = \"1ms\" } }";
    std::fs::write(plugins.join("misbehave.toml"), manifest).expect("written");
    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    let trap = client.submit(&json!({"plugin": "misbehave", "input": {"do": "trap"}})).await;
    assert_eq!(client.until(&trap, "failed").await.json["attempt"], 1);
    let mut late = sleep(60_000);
    late["timeout"] = json!("10ms");
    let late = client.submit(&late).await;
    assert_eq!(client.until(&late, "failed").await.json["attempt"], 3);
    let view = client.get("/plugins/misbehave").await;
    assert_eq!(view.json["retry"]["on"], json!(["timeout"]));
    assert_eq!(client.get("/plugins/noop").await.json["limits"]["rate"], "5/1s");

    let batch: Vec<_> = (0..12).map(|_| json!({"plugin": "noop"})).collect();
    let answer = client.post("/task/batch", &json!(batch)).await;
    let mut starts: Vec<wasmill_model::Timestamp> = Vec::new();
    for task in answer.json.as_array().expect("an array") {
        let record = client.until(task["id"].as_str().expect("an id"), "completed").await;
        starts.push(record.str("started_at").parse().expect("a time"));
    }
    starts.sort();
    for window in starts.windows(6) {
        let span = (window[5] - window[0]).num_milliseconds();
        assert!(span >= 900, "six within {span} ms");
    }
}

#[tokio::test]
async fn finished_tasks_are_retried_by_filter() {
    let server = Server::start(&["--slots", "4"]);
    let client = server.client();
    let fail = |tag: &str| json!({"plugin": "misbehave", "input": {"do": "trap"}, "tags": [tag]});
    let mut batch: Vec<_> = (0..120).map(|_| fail("a")).collect();
    batch.extend((0..3).map(|_| fail("b")));
    batch.push(json!({"plugin": "noop", "tags": ["a"]}));
    let answer = client.post("/task/batch", &json!(batch)).await;
    for task in answer.json.as_array().expect("an array") {
        client.until_finished(task["id"].as_str().expect("an id")).await;
    }
    client.post("/pause", &json!({})).await;
    let retry = async |query: &str| client.post(&format!("/task/retry{query}"), &json!({})).await;
    let dry = retry("?tag=a&dry_run=true").await;
    assert_eq!(
        dry.json,
        json!({"retried": 120, "held": 0, "refused": 0, "dry_run": true, "next": null, "stopped_by": null}),
        "failed tasks by default"
    );
    assert_eq!(waiting(&client).await, 0);
    assert_eq!(retry("?tag=a").await.json["retried"], 120);
    let listed = client.get("/task?tag=a&state=waiting&limit=200").await;
    let retried = listed.json.as_array().expect("a list");
    assert!(retried.iter().all(|task| task["retry_of"].is_string()) && retried.len() == 120);
    assert_eq!(retry("?state=completed,failed&tag=a&plugin=noop").await.json["retried"], 1);
    assert_eq!(retry("?all=true").await.json["retried"], 123);
    for query in
        ["", "?dry_run=true", "?state=running", "?all=true&tag=a", "?tagg=a", "?state=failed,waiting"]
    {
        assert_eq!(retry(query).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    assert_eq!(waiting(&client).await, 244);
}
