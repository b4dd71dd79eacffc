//! Webhooks: delivered once the receiver is up, whatever crashes, and only to allowed destinations.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use wasmill_tests::mock_server::{MockServer, ReceivedRequest, Reply};
use wasmill_tests::{Answer, Client, Server, command};

/// Settings that allow receivers on this machine.
const ALLOW: [&str; 2] = ["--webhook-allow", "127.0.0.0/8"];

/// The same, with short retries.
const SOON: [&str; 6] =
    ["--webhook-allow", "127.0.0.0/8", "--webhook-backoff", "5ms", "--webhook-timeout", "500ms"];

const KNOWN: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// A receiver that always accepts.
fn receiver() -> MockServer {
    MockServer::start(|_| Reply::Bytes(KNOWN))
}

/// A receiver that gives these responses in order, and then accepts.
fn receiver_that(first: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static) -> MockServer {
    let received = AtomicUsize::new(0);
    MockServer::start(move |_| first(received.fetch_add(1, Ordering::SeqCst)).unwrap_or(Reply::Bytes(KNOWN)))
}

fn task(webhook: &Value) -> Value {
    json!({"plugin": "noop", "webhook": webhook})
}

async fn delivery(client: &Client, id: &str) -> Answer {
    client.get(&format!("/task/{id}/webhook")).await
}

/// Waits until a delivery is in this state.
async fn until(client: &Client, id: &str, state: &str) -> Answer {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = delivery(client, id).await;
        if answer.json["state"] == state {
            return answer;
        }
        assert!(Instant::now() < until, "it is not {state}: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for this number of delivery attempts.
async fn until_tried(client: &Client, id: &str, tried: u64) -> Answer {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = delivery(client, id).await;
        if answer.json["attempt_count"].as_u64() >= Some(tried) {
            return answer;
        }
        assert!(Instant::now() < until, "it was not tried {tried} times: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for this number of requests.
async fn until_asked(receiver: &MockServer, times: usize) {
    let until = Instant::now() + Duration::from_secs(60);
    while receiver.count() < times {
        assert!(Instant::now() < until, "only {} came", receiver.count());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn retry(client: &Client, id: &str) -> Answer {
    let path = format!("/task/{id}/webhook/retry");
    client.send(Method::POST, &path, None).await.expect("an answer")
}

fn body(received: &ReceivedRequest) -> Value {
    serde_json::from_str(&received.body).expect("JSON")
}

/// Returns status codes and errors of the attempts.
fn tries(answer: &Answer) -> Vec<(Option<u64>, String)> {
    let tries = answer.json["attempts"].as_array().expect("tries").iter();
    tries.map(|one| (one["status"].as_u64(), one["error"].as_str().unwrap_or_default().to_owned())).collect()
}

/// Signs according to the standard, independently of the server.
fn signature(secret: &str, received: &ReceivedRequest) -> String {
    let secret = BASE64.decode(secret.trim_start_matches("whsec_").as_bytes()).expect("base64");
    let header = |name| received.header(name).expect(name);
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), received.body);
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("a key");
    mac.update(signed.as_bytes());
    format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_delivery_has_a_verifiable_signature() {
    let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
    let folder = Server::folder_with_guests();
    let file = folder.path().join("secrets");
    fs::write(&file, secrets.join("\n")).expect("written");
    let file = file.to_str().expect("a path").to_owned();
    let server = Server::start_in(folder, &[&ALLOW[..], &["--webhook-secret-file", &file]].concat());
    let server = server.expect("a server");
    let client = server.client();
    let receiver = receiver();
    let url = format!("{}/hook?from=wasmill", receiver.url());
    let input = json!({"do": "echo", "text": "done"});
    let id = client.submit(&json!({"plugin": "misbehave", "input": input, "webhook": url})).await;
    let delivered = until(&client, &id, "delivered").await;
    assert_eq!(
        (&delivered.json["attempt_count"], &delivered.json["next_attempt_at"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(delivered.json["on"], json!(["completed", "failed", "cancelled"]));
    assert_eq!(tries(&delivered), [(Some(204), String::new())]);

    let received = receiver.requests().remove(0);
    assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/hook?from=wasmill"));
    let host = receiver.url().replace("http://", "");
    assert_eq!(received.header("host"), Some(host.as_str()));
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert!(received.header("user-agent").is_some_and(|agent| agent.starts_with("wasmill/")));
    let signed: Vec<_> = received.header("webhook-signature").expect("signed").split(' ').collect();
    assert_eq!(signed, secrets.map(|secret| signature(secret, &received)));
    let payload = body(&received);
    let record = client.get(&format!("/task/{id}")).await;
    assert_eq!(payload["id"], format!("end-{id}"));
    assert_eq!(received.header("webhook-id"), payload["id"].as_str());
    assert_eq!((&payload["type"], &payload["result_path"]), (&json!("task.completed"), &Value::Null));
    assert_eq!((&payload["time"], &payload["task"]["result"]), (&record.json["finished_at"], &json!("done")));
    for (key, value) in payload["task"].as_object().expect("a record") {
        assert_eq!(*value, record.json[key], "{key} is as in the record");
    }
    let document = client.document().await.expect("a document");
    let described = &document.json()["webhooks"]["taskEnded"]["post"]["requestBody"]["content"];
    let described = &described["application/json"];
    assert_eq!(document.check_value(&described["schema"], &payload), Ok(()));
    assert_eq!(document.check_value(&described["schema"], &described["example"]), Ok(()));
}

#[tokio::test]
async fn without_a_secret_deliveries_are_unsigned_and_large_results_are_linked() {
    let server = Server::start(&ALLOW);
    let client = server.client();
    let receiver = receiver();
    let input = json!({"do": "result", "bytes": 70_000});
    let large = json!({"plugin": "misbehave", "input": input, "webhook": receiver.url()});
    let id = client.submit(&large).await;
    until(&client, &id, "delivered").await;
    let received = receiver.requests().remove(0);
    assert_eq!((received.path.as_str(), received.header("webhook-signature")), ("/", None));
    let payload = body(&received);
    assert_eq!(payload["task"]["result"], Value::Null);
    let result = client.get(payload["result_path"].as_str().expect("a path")).await;
    assert_eq!(result.str("result").len(), 70_000);
}

#[tokio::test]
async fn each_outcome_is_delivered_once_to_the_webhooks_that_select_it() {
    let server = Server::start(&ALLOW);
    let client = server.client();
    let receiver = receiver();
    let of =
        |input: Value, webhook: Value| json!({"plugin": "misbehave", "input": input, "webhook": webhook});
    let sleep = json!({"do": "sleep", "ms": 600_000});
    let all = json!(receiver.url());
    let failed = client.submit(&of(json!({"do": "trap"}), all.clone())).await;
    until(&client, &failed, "delivered").await;
    let on = |end: &str| json!({"url": receiver.url(), "on": [end]});
    let silent = client.submit(&of(json!({"do": "trap"}), on("completed"))).await;
    client.until(&silent, "failed").await;
    let cancelled = client.submit(&of(sleep.clone(), on("cancelled"))).await;
    client.until(&cancelled, "running").await;
    assert_eq!(delivery(&client, &cancelled).await.json["state"], "idle");
    client.post(&format!("/task/{cancelled}/cancel"), &json!({})).await;
    until(&client, &cancelled, "delivered").await;
    let deleted = client.submit(&of(sleep.clone(), all.clone())).await;
    client.until(&deleted, "running").await;
    assert_eq!(client.delete(&format!("/task/{deleted}")).await.status, StatusCode::NO_CONTENT);
    let many = client.submit(&of(sleep, all)).await;
    client.post("/task/cancel?plugin=misbehave", &json!({})).await;
    until(&client, &many, "delivered").await;

    assert_eq!(delivery(&client, &silent).await.json["state"], "idle");
    let payload: Vec<_> = receiver.requests().iter().map(body).collect();
    let payload: Vec<_> =
        payload.iter().map(|payload| (payload["task"]["id"].as_str(), payload["type"].as_str())).collect();
    let expected = [(&failed, "task.failed"), (&cancelled, "task.cancelled"), (&many, "task.cancelled")];
    assert_eq!(payload, expected.map(|(id, end)| (Some(id.as_str()), Some(end))));
}

#[tokio::test]
async fn a_failed_delivery_is_repeated_until_it_succeeds() {
    let server = Server::start(&SOON);
    let client = server.client();
    let receiver = receiver_that(|nth| match nth {
        0 => Some(Reply::Bytes(FAILED)),
        // It disconnects in the middle of the head, and before it.
        1 => Some(Reply::Bytes("HTTP/1.1 200 O")),
        2 => Some(Reply::Bytes("")),
        3 => Some(Reply::Never),
        4 => Some(Reply::Slowly("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Duration::from_millis(50))),
        5 => Some(Reply::Bytes("SSH-2.0-OpenSSH_9.2\r\n")),
        // Only the head counts; an endless body is not an error.
        6 => Some(Reply::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\nthanks")),
        _ => None,
    });
    let id = client.submit(&task(&json!(receiver.url()))).await;
    let delivered = until(&client, &id, "delivered").await;
    let tries = tries(&delivered);
    let codes: Vec<_> = tries.iter().map(|(status, _)| *status).collect();
    assert_eq!(codes, [Some(500), None, None, None, None, None, Some(200)], "{}", delivered.text);
    for nth in [1, 2, 5] {
        assert!(tries[nth].1.starts_with("no response: "), "{}", delivered.text);
    }
    for nth in [3, 4] {
        assert_eq!(tries[nth].1, "no response within 500ms");
    }
    let received = receiver.requests();
    assert!(received.iter().all(|one| one.header("webhook-id") == received[0].header("webhook-id")));
    assert!(received.iter().all(|one| body(one) == body(&received[0])), "each try tells the same");
    assert_eq!(received.len(), 7);
}

#[tokio::test]
async fn a_delivery_is_given_up_and_can_be_redelivered() {
    let server = Server::start(&[&SOON[..], &["--webhook-attempts", "3"]].concat());
    let client = server.client();
    let receiver = receiver_that(|nth| (nth < 3).then_some(Reply::Bytes(FAILED)));
    let id = client.submit(&task(&json!(receiver.url()))).await;
    let given_up = until(&client, &id, "given-up").await;
    assert_eq!((tries(&given_up).len(), &given_up.json["next_attempt_at"]), (3, &Value::Null));
    let again = retry(&client, &id).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.text);
    until(&client, &id, "delivered").await;
    // Redelivery also works after a success, for a receiver that lost the data.
    assert_eq!(retry(&client, &id).await.status, StatusCode::ACCEPTED);
    until_tried(&client, &id, 5).await;
    assert_eq!((receiver.count(), delivery(&client, &id).await.str("state")), (5, "delivered"));

    let gone = MockServer::start(|_| Reply::Bytes("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"));
    let id = client.submit(&task(&json!(gone.url()))).await;
    let given_up = until(&client, &id, "given-up").await;
    assert_eq!(tries(&given_up), [(Some(410), "the receiver no longer wants this webhook".to_owned())]);
}

#[tokio::test]
async fn retry_after_of_a_receiver_is_respected() {
    let server = Server::start(&SOON);
    let client = server.client();
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n";
    let receiver = receiver_that(move |nth| (nth == 0).then_some(Reply::Bytes(busy)));
    let id = client.submit(&task(&json!(receiver.url()))).await;
    let pending = until_tried(&client, &id, 1).await;
    let moment = |text: &str| text.parse::<wasmill_model::Timestamp>().expect("a time");
    let tried = moment(pending.json["attempts"][0]["time"].as_str().expect("a time"));
    let wait = (moment(pending.str("next_attempt_at")) - tried).num_seconds();
    assert!((3_599..3_660).contains(&wait), "{}", pending.text);
    assert_eq!(pending.str("state"), "pending");
    retry(&client, &id).await;
    until(&client, &id, "delivered").await;
}

#[tokio::test]
async fn internal_receivers_need_to_be_allowed() {
    let receiver = receiver();
    let server = Server::start(&SOON[2..]);
    let client = server.client();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "127.1"] {
        let id = client.submit(&task(&json!(format!("http://{host}:{}/", receiver.port())))).await;
        let tried = until_tried(&client, &id, 1).await;
        let (status, error) = tries(&tried).remove(0);
        let refused = error.contains("public address") && error.contains("webhook_allow");
        assert!(status.is_none() && refused, "{host}: {}", tried.text);
    }
    assert_eq!(receiver.count(), 0);

    // An allowed receiver does not give access to others by redirect.
    let server = Server::start(&["--webhook-allow", "127.0.0.2", "--webhook-backoff", "5ms"]);
    let client = server.client();
    let to = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", receiver.url());
    let to: &'static str = to.leak();
    let redirects = MockServer::start_at("127.0.0.2", move |_| Reply::Bytes(to));
    let id = client.submit(&task(&json!(redirects.url()))).await;
    let tried = until_tried(&client, &id, 2).await;
    let (status, error) = tries(&tried).remove(0);
    assert!(status == Some(302) && error.contains("redirects are not followed"), "{}", tried.text);
    let near = client.submit(&task(&json!(receiver.url()))).await;
    let tried = until_tried(&client, &near, 1).await;
    assert!(
        tries(&tried)[0].1.contains("127.0.0.1 is not a public address; the setting webhook_allow"),
        "{}",
        tried.text
    );
    assert_eq!(receiver.count(), 0);

    // Allowed by name, whatever address it resolves to.
    let server = Server::start(&["--webhook-allow", "localhost"]);
    let client = server.client();
    let id = client.submit(&task(&json!(format!("http://localhost:{}/", receiver.port())))).await;
    until(&client, &id, "delivered").await;
    let id = client.submit(&task(&json!(receiver.url()))).await;
    let tried = until_tried(&client, &id, 1).await;
    assert!(tries(&tried)[0].1.contains("not a public address"), "{}", tried.text);
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn due_deliveries_survive_a_crash_and_a_stop() {
    let server = Server::start(&ALLOW);
    let receiver = receiver_that(|nth| (nth < 2).then_some(Reply::Never));
    let client = server.client();
    let id = client.submit(&task(&json!(receiver.url()))).await;
    // The outcome is stored, and the delivery is open without a response.
    until_asked(&receiver, 1).await;
    let server = server.kill_and_restart();
    until_asked(&receiver, 2).await;
    // A stopping host does not wait long for a receiver.
    let server = server.stop_and_restart();
    let delivered = until(&server.client(), &id, "delivered").await;
    assert_eq!(delivered.json["attempt_count"], 1, "an unrecorded attempt does not count");
    let ids: Vec<_> = receiver.requests().iter().map(|one| body(one)["id"].clone()).collect();
    assert_eq!(ids, vec![json!(format!("end-{id}")); 3]);
}

#[tokio::test]
async fn a_task_that_crashes_its_hosts_is_delivered_eventually() {
    let mut server = Server::start(&ALLOW);
    let receiver = receiver();
    let sleep = json!({"do": "sleep", "ms": 600_000});
    let webhook = json!({"url": receiver.url(), "on": ["failed"]});
    let id =
        server.client().submit(&json!({"plugin": "misbehave", "input": sleep, "webhook": webhook})).await;
    for _ in 0..3 {
        server.client().until(&id, "running").await;
        server = server.kill_and_restart();
    }
    until(&server.client(), &id, "delivered").await;
    let payload = body(&receiver.requests()[0]);
    assert_eq!(
        (&payload["type"], &payload["task"]["error"]["cause"]),
        (&json!("task.failed"), &json!("host-crash"))
    );
}

#[tokio::test]
async fn ten_thousand_deliveries_to_a_dead_receiver_delay_nobody() {
    let server = Server::start(&ALLOW);
    let client = server.client();
    let dead = MockServer::start_at("127.0.0.2", |_| Reply::Never);
    let many: Vec<_> = (0..10_000).map(|_| task(&json!(dead.url()))).collect();
    assert_eq!(client.post("/task/batch", &json!(many)).await.status, StatusCode::CREATED);
    let alive = receiver();
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(client.submit(&task(&json!(alive.url()))).await);
    }
    for id in &ids {
        until(&client, id, "delivered").await;
    }
    // They finished after the ten thousand, none of which is delivered.
    assert!(dead.count() <= 8 + 4, "{} connections for one receiver at a time", dead.count());
    let page = client.get("/metrics").await.text;
    let value = |sample: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {sample} in {page}")).parse().expect("a number")
    };
    assert_eq!(value("wasmill_webhook_pending"), 10_000.0);
    assert_eq!(value("wasmill_webhook_attempts_total{result=\"delivered\"}"), 50.0);
    assert_eq!(value("wasmill_webhook_given_up_total"), 0.0);
    assert!(value("wasmill_webhook_oldest_pending_age_seconds") > 0.0);
}

#[tokio::test]
async fn three_hundred_dead_receivers_delay_no_prompt_one() {
    // No attempt at a dead receiver ends during the test.
    let server = Server::start(&["--webhook-allow", "127.0.0.0/8", "--webhook-timeout", "2m"]);
    let client = server.client();
    let alive = receiver();
    let id = client.submit(&task(&json!(alive.url()))).await;
    until(&client, &id, "delivered").await;
    let dead = MockServer::start_at("0.0.0.0", |_| Reply::Never);
    let origins = (0..300).map(|nth| format!("http://127.1.{}.{}:{}", nth / 250, nth % 250 + 1, dead.port()));
    let many: Vec<_> = origins.map(|origin| task(&json!(origin))).collect();
    assert_eq!(client.post("/task/batch", &json!(many)).await.status, StatusCode::CREATED);
    until_asked(&dead, 192).await;
    for _ in 0..20 {
        let id = client.submit(&task(&json!(alive.url()))).await;
        until(&client, &id, "delivered").await;
    }
    assert_eq!(dead.count(), 192, "the others wait");
    let page = client.get("/metrics").await.text;
    assert!(page.contains("wasmill_webhook_attempts_total{result=\"failed\"} 0"), "{page}");
}

#[tokio::test]
async fn tasks_without_a_webhook_or_delivery_say_so() {
    let server = Server::start(&ALLOW);
    let client = server.client();
    let plain = client.submit(&json!({"plugin": "noop"})).await;
    for answer in [delivery(&client, &plain).await, retry(&client, &plain).await] {
        assert_eq!((answer.status, answer.str("code")), (StatusCode::NOT_FOUND, "no-webhook"));
    }
    let receiver = receiver();
    let waiting = json!({"plugin": "noop", "delay": "1h", "webhook": receiver.url()});
    let waiting = client.submit(&waiting).await;
    let early = retry(&client, &waiting).await;
    assert_eq!((early.status, early.str("code")), (StatusCode::CONFLICT, "nothing-to-deliver"));
    assert_eq!(early.str("state"), "waiting");
    let unknown = "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061";
    for answer in [delivery(&client, unknown).await, retry(&client, unknown).await] {
        assert_eq!((answer.status, answer.str("code")), (StatusCode::NOT_FOUND, "unknown-task"));
    }
    let path = format!("/task/{waiting}/webhook/retry");
    let answer = client.post(&path, &json!({"url": "http://a"})).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    for webhook in [json!("https://user:secret@example.com/"), json!({"url": "https://a", "off": []})] {
        let answer = client.post("/task", &task(&webhook)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
        assert!(!answer.text.contains("secret"), "a refused value is not quoted: {}", answer.text);
    }
    assert_eq!(client.get("/task").await.json.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_retried_task_is_delivered_again() {
    let server = Server::start(&ALLOW);
    let client = server.client();
    let receiver = receiver();
    let webhook = json!({"url": receiver.url(), "on": ["failed"]});
    let id =
        client.submit(&json!({"plugin": "misbehave", "input": {"do": "trap"}, "webhook": webhook})).await;
    until(&client, &id, "delivered").await;
    let again = client.send(Method::POST, &format!("/task/{id}/retry"), None).await.expect("an answer");
    let delivered = until(&client, again.str("id"), "delivered").await;
    assert_eq!(delivered.json["on"], json!(["failed"]));
    let ids: Vec<_> = receiver.requests().iter().map(|one| body(one)["task"]["id"].clone()).collect();
    assert_eq!(ids, [json!(id), again.json["id"].clone()]);
}

#[tokio::test]
async fn the_cli_sets_a_webhook() {
    let server = Server::start(&ALLOW);
    let receiver = receiver();
    let submit = |more: &[&str]| {
        let url = format!("http://{}", server.address());
        let output = command(server.folder(), &[&["submit", "noop"], more].concat())
            .env("WASMILL_SERVER", url)
            .output()
            .expect("a run");
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || !printed.is_empty());
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
            .ok_or(printed)
    };
    let client = server.client();
    let id = submit(&["--webhook", &receiver.url()]).expect("accepted");
    until(&client, &id, "delivered").await;
    let id = submit(&["--webhook", &receiver.url(), "--webhook-on", "failed,cancelled"]).expect("accepted");
    client.until(&id, "completed").await;
    let idle = delivery(&client, &id).await;
    assert_eq!((idle.str("state"), &idle.json["on"]), ("idle", &json!(["failed", "cancelled"])));
    let refused = submit(&["--webhook", "nowhere"]).expect_err("refused");
    assert!(refused.contains("https://"), "{refused}");
}

#[test]
fn an_invalid_secret_is_refused_at_start_and_never_shown() {
    let folder = Server::folder_with_guests();
    fs::write(folder.path().join("secret"), "hunter2-hunter2").expect("written");
    for args in [&["--webhook-secret-file", "secret"][..], &["--webhook-secret-file", "nothing"]] {
        let refused = Server::start_in(Arc::clone(&folder), args).err().expect("it does not start");
        let printed = format!("{refused:#}");
        assert!(printed.contains("webhook_secret_file") && !printed.contains("hunter2"), "{printed}");
        let doctor =
            command(folder.path(), &[&["doctor", "--listen", "127.0.0.1:0"], args].concat()).output();
        let doctor = doctor.expect("a run");
        let printed = String::from_utf8_lossy(&doctor.stdout);
        assert_eq!(doctor.status.code(), Some(1));
        assert!(printed.contains("FAIL webhooks") && !printed.contains("hunter2"), "{printed}");
    }
}

#[tokio::test]
async fn the_response_of_a_receiver_is_not_shown() {
    let server = Server::start(&SOON);
    let client = server.client();
    let reply = "HTTP/1.1 500 Classified\r\nx-secret: classified\r\ncontent-length: 10\r\n\r\nclassified";
    let receiver = receiver_that(move |nth| (nth == 0).then_some(Reply::Bytes(reply)));
    let id = client.submit(&task(&json!(receiver.url()))).await;
    let delivered = until(&client, &id, "delivered").await;
    assert_eq!(tries(&delivered)[0].0, Some(500));
    for shown in [delivered.text, client.get(&format!("/task/{id}")).await.text, server.log()] {
        assert!(!shown.to_lowercase().contains("classified"), "{shown}");
    }
}
