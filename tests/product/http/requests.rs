//! Common to all requests: strict validation, small error responses, and idempotency keys.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server};

/// Maximum size of an error response.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Fills in the path parameters.
fn fill(path: &str) -> String {
    let path = path.replace("{id}", "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061");
    path.replace("{name}", "nobody").replace("{schedule}", "nothing")
}

async fn send(client: &Client, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
    let method: Method = method.to_uppercase().parse().expect("a method");
    client.send(method, path, body).await.expect("an answer")
}

async fn with_key(client: &Client, path: &str, key: &str) -> Answer {
    client.send_with(Method::POST, path, &[("idempotency-key", key)], None).await.expect("an answer")
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotent-replayed")
}

/// Names of the documented query parameters, and whether each is a list.
fn parameters(operation: &Value) -> Vec<(String, bool)> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let queries = parameters.filter(|parameter| parameter["in"] == "query");
    let pair = |parameter: &Value| {
        let name = parameter["name"].as_str().expect("a name").to_owned();
        (name, parameter["schema"]["type"] == "array")
    };
    queries.map(pair).collect()
}

#[tokio::test]
async fn every_route_refuses_unknown_and_repeated_parameters() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let mut routes = 0;
    for (method, path, operation) in document.operations() {
        let known = parameters(operation);
        let mut queries = vec![("nonsense=1".to_owned(), "nonsense")];
        let single = known.iter().filter(|(_, is_list)| !is_list);
        queries.extend(single.map(|(name, _)| (format!("{name}=1&{name}=2"), name.as_str())));
        for (query, parameter) in &queries {
            let answer = send(&client, method, &format!("{}?{query}", fill(path)), None).await;
            assert_eq!(
                answer.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{method} {path}?{query}: {}",
                answer.text
            );
            assert_eq!(
                answer.json["errors"][0]["parameter"], **parameter,
                "{method} {path}: {}",
                answer.text
            );
        }
        routes += 1;
    }
    assert!(routes > 30, "{routes}");
}

#[tokio::test]
async fn every_route_without_a_body_refuses_one() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let mut routes = 0;
    for (method, path, operation) in document.operations() {
        let body = &operation["requestBody"];
        let is_empty =
            body["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/EmptyBody";
        if !body.is_null() && !is_empty {
            continue;
        }
        for text in ["{\"plugin\": \"noop\"}", "[]", "null", "{", "\u{c}"] {
            let body = ("application/json", text.as_bytes().to_vec());
            let answer = send(&client, method, &fill(path), Some(body)).await;
            assert_eq!(
                answer.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{method} {path} {text}: {}",
                answer.text
            );
            assert!(answer.str("detail").contains("body must be empty"), "{}", answer.text);
        }
        routes += 1;
    }
    assert!(routes > 28, "{routes}");
    let stats = client.get("/stats").await.json;
    assert_eq!((&stats["paused"], &stats["draining"]), (&json!(false), &json!(false)), "nothing was done");
}

#[tokio::test]
async fn a_repeated_parameter_cancels_nothing() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "noop", "delay": "1h"})).await;
    for query in ["dry_run=true&dry_run=false&plugin=noop", "plugin=noop&plugin=noop", "all=true&all=true"] {
        let answer = send(&client, "post", &format!("/task/cancel?{query}"), None).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    assert_eq!(client.get(&format!("/task/{id}")).await.str("state"), "waiting");
}

/// Sends an invalid request, and checks that the response is small.
async fn flood(client: &Client, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
    let shown: String = path.chars().take(60).collect();
    let what =
        body.as_ref().map(|(_, body)| String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned());
    let answer = send(client, method, path, body).await;
    assert!(answer.status.is_client_error(), "{method} {shown} {what:?}: {}", answer.status);
    let size = answer.text.len();
    assert!(size <= ANSWER_BYTES_MAX, "{method} {shown} {what:?}: {size} bytes");
    if let Some(errors) = answer.json["errors"].as_array() {
        assert!(errors.len() <= 10, "{method} {shown} {what:?}: {} errors", errors.len());
    }
    answer
}

/// Repeats a part of a request line as often as fits into the largest head.
fn filling(part: &str) -> String {
    part.repeat(15_000 / part.len())
}

#[tokio::test]
async fn the_response_to_an_invalid_query_or_path_is_small() {
    let server = Server::start(&[]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let many: String = (0..1_500).map(|number| format!("&x{number}=1")).collect();
    let long = filling("%22%07");
    for (method, path, operation) in document.operations() {
        let path = fill(path);
        let mut queries = vec![many.clone(), format!("{long}=1"), format!("{}=1", filling("x"))];
        for (name, is_list) in parameters(operation) {
            queries.push(filling(&format!("&{name}=1")));
            queries.push(format!("{name}={long}"));
            if is_list {
                queries.push(filling(&format!("&{name}={}", "%07".repeat(70))));
            }
        }
        for query in queries {
            flood(&client, method, &format!("{path}?{query}"), None).await;
        }
    }
    for path in ["/task/", "/plugins/", "/schedules/", "/nothing/", "/task/x/y/"] {
        flood(&client, "get", &format!("{path}{long}"), None).await;
        flood(&client, "delete", &format!("{path}{}", filling("x")), None).await;
    }
}

#[tokio::test]
async fn the_response_to_an_invalid_body_is_small() {
    let server = Server::start(&[]);
    let client = server.client();
    let names = |count: usize| -> Value {
        Value::Object((0..count).map(|number| (format!("{number:x}"), json!(0))).collect())
    };
    let long = "\u{1}\"~/".repeat(100_000);
    let mut tasks = vec![
        names(90_000),
        json!({long.as_str(): 0}),
        json!({"webhook": names(90_000)}),
        json!({"backoff": names(90_000)}),
        json!({"depends_on": vec![names(20); 1_000]}),
        json!({"depends_on": vec![long.get(..400); 1_000]}),
        json!({"tags": vec!["\u{1}"; 90_000]}),
        json!({"webhook": {"url": format!("http://{}", "x".repeat(500_000)), "on": vec!["x"; 90_000]}}),
    ];
    for field in
        ["plugin", "timeout", "delay", "run_at", "group", "unique_key", "on_conflict", "webhook", "backoff"]
    {
        tasks.push(json!({field: long}));
        tasks.push(json!({field: vec![0; 200_000]}));
    }
    let json = |value: &Value| Some(("application/json", value.to_string().into_bytes()));
    for task in &tasks {
        flood(&client, "post", "/task", json(task)).await;
        flood(&client, "post", "/task/batch", json(&json!([{}, task]))).await;
        flood(
            &client,
            "post",
            "/task/batch",
            Some(("application/x-ndjson", format!("{task}\n").into_bytes())),
        )
        .await;
        flood(&client, "put", "/schedules/a", json(&json!({"cron": "@daily", "task": task}))).await;
        flood(&client, "put", "/schedules/a", json(task)).await;
    }
    for field in ["cron", "timezone", "missed", "overlap", "task"] {
        flood(&client, "put", "/schedules/a", json(&json!({"cron": "@daily", field: long}))).await;
    }
    let wrong = vec![json!({"plugin": "nobody", "x": 1, "y": 2, "priority": "high"}); 10_000];
    let answer = flood(&client, "post", "/task/batch", json(&json!(wrong))).await;
    assert!(answer.str("detail").ends_with("there may be more errors"), "{}", answer.text);
    let answer = flood(&client, "post", "/task", json(&tasks[0])).await;
    assert!(answer.str("detail").ends_with("; and 89990 more"), "{}", answer.text);
    assert_eq!(answer.text.matches("known fields: ").count(), 2, "once in the detail, once in the errors");
    for text in ["{\"\u{1}", "{\"a\": tru", "[[[[[[[["] {
        let text = text.repeat(50_000).into_bytes();
        flood(&client, "post", "/task", Some(("application/json", text))).await;
    }
    assert_eq!(client.get("/task").await.text, "[]", "nothing was accepted");
}

#[tokio::test]
async fn a_duplicate_field_is_refused() {
    let server = Server::start(&[]);
    let client = server.client();
    for (body, pointer) in [
        ("{\"plugin\": \"noop\", \"plugin\": \"noop\"}", "/plugin"),
        ("{\"backoff\": {\"factor\": 2, \"factor\": 3}}", "/backoff/factor"),
        ("{\"webhook\": {\"url\": \"http://a\", \"url\": \"http://b\"}}", "/webhook/url"),
    ] {
        let body = Some(("application/json", body.as_bytes().to_vec()));
        let answer = send(&client, "post", "/task", body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
        assert_eq!(answer.json["errors"][0]["pointer"], pointer, "{}", answer.text);
    }
}

#[tokio::test]
async fn every_route_that_creates_tasks_supports_idempotency_keys() {
    let server = Server::start(&[]);
    let client = server.client();
    let old = client.submit(&json!({"plugin": "misbehave", "input": {"do": "trap"}})).await;
    client.until(&old, "failed").await;
    let other = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&other, "completed").await;
    let schedule = json!({"cron": "@yearly", "task": {"plugin": "noop"}});
    let put = Some(("application/json", schedule.to_string().into_bytes()));
    assert_eq!(send(&client, "put", "/schedules/a", put).await.status, StatusCode::CREATED);
    client.post("/pause", &json!({})).await;

    let count = async || client.get("/task").await.json.as_array().expect("a list").len();
    for (path, elsewhere) in [
        (format!("/task/{old}/retry"), format!("/task/{other}/retry")),
        ("/schedules/a/run".to_owned(), format!("/task/{old}/retry")),
        ("/task/retry?all=true".to_owned(), "/task/retry?state=completed".to_owned()),
        ("/task".to_owned(), "/task/retry?all=true".to_owned()),
    ] {
        let before = count().await;
        let first = with_key(&client, &path, &path).await;
        assert!(first.status.is_success() && !replayed(&first), "{path}: {}", first.text);
        assert_eq!(count().await, before + 1, "{path}");
        let second = with_key(&client, &path, &path).await;
        assert_eq!((second.status, &second.text), (first.status, &first.text), "{path}");
        assert!(replayed(&second), "{path}");
        assert_eq!(count().await, before + 1, "{path}");
        let reused = with_key(&client, &elsewhere, &path).await;
        assert_eq!(reused.status, StatusCode::UNPROCESSABLE_ENTITY, "{elsewhere}: {}", reused.text);
        assert_eq!(reused.str("code"), "idempotency-key-reused");
        assert_eq!(count().await, before + 1, "{path}");
    }
}

/// A paused server with this many failed tasks.
async fn failed(count: usize, args: &[&str]) -> (Server, Client) {
    let server = Server::start(args);
    let client = server.client();
    let fail = json!({"plugin": "misbehave", "input": {"do": "trap"}});
    let mut left = count;
    while left > 0 {
        let some = left.min(50);
        let answer = client.post("/task/batch", &json!(vec![fail.clone(); some])).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        for task in answer.json.as_array().expect("an array") {
            client.until_finished(task["id"].as_str().expect("an id")).await;
        }
        left -= some;
    }
    client.post("/pause", &json!({})).await;
    (server, client)
}

async fn retry(client: &Client, query: &str, key: Option<&str>) -> Answer {
    let path = format!("/task/retry{query}");
    match key {
        Some(key) => with_key(client, &path, key).await,
        None => send(client, "post", &path, None).await,
    }
}

#[tokio::test]
async fn a_retry_of_many_reports_why_it_stopped_and_resumes_with_its_key() {
    let (_server, client) = failed(120, &["--waiting-max", "60"]).await;
    let stopped = retry(&client, "?state=failed", Some("k")).await;
    assert_eq!(stopped.status, StatusCode::OK, "{}", stopped.text);
    assert_eq!(stopped.json["retried"], 50);
    assert_eq!(stopped.json["stopped_by"]["code"], "queue-full", "{}", stopped.text);
    let again = retry(&client, "?state=failed", Some("k")).await;
    assert_eq!(again.json["retried"], 50, "the queue is still full: {}", again.text);
    assert!(!replayed(&again));
    for sum in [100, 120] {
        let cancelled = client.post("/task/cancel?all=true", &json!({})).await;
        assert!(cancelled.status.is_success(), "{}", cancelled.text);
        let more = retry(&client, "?state=failed", Some("k")).await;
        assert_eq!((more.status, &more.json["retried"]), (StatusCode::OK, &json!(sum)), "{}", more.text);
    }
    let whole = retry(&client, "?state=failed", Some("k")).await;
    assert!(replayed(&whole), "{}", whole.text);
    let sum =
        json!({"retried": 120, "held": 0, "refused": 0, "dry_run": false, "next": null, "stopped_by": null});
    assert_eq!(whole.json, sum);
    let mut of = std::collections::BTreeSet::new();
    for task in client.get("/task?state=cancelled,waiting").await.json.as_array().expect("a list") {
        assert!(of.insert(task["retry_of"].as_str().expect("an id").to_owned()), "{task} was done twice");
    }
    assert_eq!(of.len(), 120);
}

#[tokio::test]
async fn a_retry_of_many_that_stores_nothing_is_refused() {
    let (_server, client) = failed(3, &["--waiting-max", "3"]).await;
    client.submit(&json!({"plugin": "noop"})).await;
    let refused = retry(&client, "?all=true", None).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text);
}

#[tokio::test]
async fn a_retry_of_many_skips_tasks_that_would_be_refused() {
    let (server, client) = failed(2, &[]).await;
    std::fs::remove_file(server.folder().join("plugins/misbehave.wasm")).expect("removed");
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.get("/plugins/misbehave").await.status == StatusCode::OK {
        assert!(Instant::now() < deadline, "the plugin stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for key in [None, Some("k"), Some("k")] {
        let answer = retry(&client, "?all=true", key).await;
        let counts = json!({"retried": 0, "held": 0, "refused": 2, "dry_run": false, "next": null, "stopped_by": null});
        assert_eq!((answer.status, &answer.json), (StatusCode::OK, &counts), "{key:?}");
    }
    assert_eq!(client.get("/stats").await.json["waiting"], 0);
}

#[tokio::test]
async fn a_duplicate_unique_key_in_a_batch_is_reported() {
    let server = Server::start(&[]);
    let client = server.client();
    let batch = json!([{"plugin": "noop"}, {"unique_key": "k"}, {"plugin": "noop"}, {"unique_key": "k"}]);
    let answer = client.post("/task/batch", &batch).await;
    assert_eq!((answer.status, answer.str("code")), (StatusCode::CONFLICT, "unique-key-taken"));
    assert_eq!(answer.json["errors"][0]["pointer"], "/3/unique_key");
    assert!(answer.str("detail").starts_with("task request /1 of this batch"), "{}", answer.text);
    assert!(answer.json["holder"].is_null(), "no task holds it: {}", answer.text);
    assert_eq!(client.get("/task").await.text, "[]");
    let holder = client.submit(&json!({"plugin": "noop", "unique_key": "k", "delay": "1h"})).await;
    let answer = client.post("/task/batch", &json!([{"unique_key": "k"}])).await;
    assert_eq!(answer.str("holder"), holder);
}

#[tokio::test]
async fn the_input_of_a_task_is_returned_unchanged() {
    let server = Server::start(&[]);
    let client = server.client();
    for input in ["{\"b\":  1, \"a\": [1.0, 1e2, \"\\u00fc\"]}", "\"text\"", "0", "[]", "false"] {
        let body = format!("{{\"plugin\": \"noop\", \"input\": {input}, \"delay\": \"1h\"}}");
        let answer = send(&client, "post", "/task", Some(("application/json", body.into_bytes()))).await;
        let read = client.get(&format!("/task/{}/input", answer.str("id"))).await;
        assert_eq!((read.status, read.text.as_str()), (StatusCode::OK, input));
        assert_eq!(read.headers["content-type"], "application/json");
    }
    let without = client.submit(&json!({"plugin": "noop"})).await;
    client.until_finished(&without).await;
    assert_eq!(client.get(&format!("/task/{without}/input")).await.text, "null");
    client.delete(&format!("/task/{without}")).await;
    for (id, status) in [(without.as_str(), StatusCode::NOT_FOUND), ("7", StatusCode::BAD_REQUEST)] {
        assert_eq!(client.get(&format!("/task/{id}/input")).await.status, status);
    }
}

#[tokio::test]
async fn a_task_shows_its_backoff_and_webhook() {
    let server = Server::start(&["--webhook-allow", "127.0.0.0/8"]);
    let client = server.client();
    let url = "http://127.0.0.1:9/hook";
    let id = client
        .submit(&json!({"plugin": "noop", "delay": "1h", "backoff": {"first": "2s", "factor": 1.5},
            "webhook": {"url": url, "on": ["failed"]}}))
        .await;
    let record = client.get(&format!("/task/{id}")).await.json;
    let backoff = &record["backoff"];
    assert_eq!(
        (&backoff["first_ms"], &backoff["factor"], &backoff["max_ms"]),
        (&json!(2_000), &json!(1.5), &json!(300_000))
    );
    assert_eq!(record["webhook"], json!({"url": url, "on": ["failed"], "state": "idle"}));
    let plain = client.submit(&json!({"plugin": "noop", "delay": "1h"})).await;
    let record = client.get(&format!("/task/{plain}")).await.json;
    assert_eq!((&record["webhook"], &record["backoff"]["first_ms"]), (&json!(null), &json!(1_000)));
}

#[tokio::test]
async fn tasks_are_listed_by_schedule_group_unique_key_and_id_suffix() {
    let server = Server::start(&[]);
    let client = server.client();
    client.post("/pause", &json!({})).await;
    let schedule = json!({"cron": "@yearly", "task": {"plugin": "noop"}}).to_string().into_bytes();
    let put = Some(("application/json", schedule));
    assert_eq!(send(&client, "put", "/schedules/nightly", put).await.status, StatusCode::CREATED);
    let scheduled = send(&client, "post", "/schedules/nightly/run", None).await.str("id").to_owned();
    let grouped = client.submit(&json!({"plugin": "noop", "group": "tenant 7"})).await;
    let keyed = client.submit(&json!({"plugin": "noop", "unique_key": "a&b"})).await;
    client.submit(&json!({"plugin": "noop"})).await;
    let end = grouped.replace('-', "")[20..].to_owned();
    let found = async |query: &str| {
        let answer = client.get(&format!("/task?{query}")).await;
        let tasks = answer.json.as_array().unwrap_or_else(|| panic!("{query}: {}", answer.text)).clone();
        tasks.iter().map(|task| task["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    for (query, id) in [
        ("schedule=nightly", &scheduled),
        ("group=tenant%207", &grouped),
        ("unique_key=a%26b&state=waiting&plugin=noop", &keyed),
        (format!("id_end={end}").as_str(), &grouped),
    ] {
        assert_eq!(found(query).await.iter().collect::<Vec<_>>(), [id], "{query}");
    }
    for query in
        ["schedule=daily", "group=tenant", "unique_key=a", "id_end=0000000000", "schedule=nightly&group=x"]
    {
        assert_eq!(found(query).await, Vec::<String>::new(), "{query}");
    }
    let cancelled = client.post("/task/cancel?group=tenant%207", &json!({})).await;
    assert_eq!(cancelled.json["cancelled"], 1);
    let cancelled = client.post("/task/cancel?schedule=nightly&dry_run=true", &json!({})).await;
    assert_eq!(cancelled.json["cancelled"], 1);
    client.post("/task/cancel?unique_key=a%26b", &json!({})).await;
    assert_eq!(found("unique_key=a%26b&state=cancelled").await.first(), Some(&keyed));
    let retried = client.post("/task/retry?state=cancelled&unique_key=a%26b", &json!({})).await;
    assert_eq!(retried.json["retried"], 1, "{}", retried.text);
    assert_eq!(found("unique_key=a%26b").await.len(), 2);
}

#[tokio::test]
async fn events_can_be_filtered_by_plugin() {
    let server = Server::start(&[]);
    let client = server.client();
    let mut stream = client.follow("/events?plugin=noop", None).await;
    let other = client.submit(&json!({"plugin": "misbehave", "input": {"do": "trap"}})).await;
    client.until_finished(&other).await;
    let wanted = client.submit(&json!({"plugin": "noop"})).await;
    client.until_finished(&wanted).await;
    for name in ["created", "started", "completed"] {
        let event = stream.next().await.expect("an event");
        assert_eq!((event.name.as_str(), &event.data["task"]), (name, &json!(wanted)));
    }
    let wrong = client.get("/events?plugin=No%20Name").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", wrong.text);
}
