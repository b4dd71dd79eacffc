//! Every error is `application/problem+json`, says what to do, and changes nothing.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmill_tests::{Answer, Server};

const UNKNOWN: &str = "/task/0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061";

fn check(answer: &Answer, status: StatusCode, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{}", answer.text);
    assert_eq!(answer.json["status"], status.as_u16());
    assert_eq!(answer.str("code"), code);
    for key in ["type", "title", "detail", "instance"] {
        assert!(!answer.str(key).is_empty(), "{key}");
    }
}

#[tokio::test]
async fn unknown_ids_names_and_routes_are_404() {
    let server = Server::start(&[]);
    let client = server.client();
    check(&client.get("/nothing").await, StatusCode::NOT_FOUND, "unknown-route");
    check(&client.get("/plugins/nobody").await, StatusCode::NOT_FOUND, "unknown-plugin");
    for path in ["", "/status", "/result"] {
        let answer = client.get(&format!("{UNKNOWN}{path}")).await;
        check(&answer, StatusCode::NOT_FOUND, "unknown-task");
        assert_eq!(answer.str("instance"), format!("{UNKNOWN}{path}"));
    }
    check(&client.delete(UNKNOWN).await, StatusCode::NOT_FOUND, "unknown-task");
    let cancel = client.post(&format!("{UNKNOWN}/cancel"), &json!({})).await;
    check(&cancel, StatusCode::NOT_FOUND, "unknown-task");
}

#[tokio::test]
async fn an_invalid_id_is_400() {
    let server = Server::start(&[]);
    let client = server.client();
    for id in ["1", "not-a-uuid", "%00", "%F0%9F%A6%80", &"9".repeat(3_000)] {
        check(&client.get(&format!("/task/{id}/status")).await, StatusCode::BAD_REQUEST, "invalid-id");
    }
    // Invalid UTF-8 does not reach the endpoint.
    let broken = client.get("/task/%ff%fe").await;
    check(&broken, StatusCode::BAD_REQUEST, "invalid-path");
}

#[tokio::test]
async fn a_wrong_method_is_405_with_allow() {
    let server = Server::start(&[]);
    let client = server.client();
    for (method, path, allowed) in [
        (Method::PUT, "/task", "it takes POST, GET, HEAD"),
        (Method::PATCH, UNKNOWN, "it takes GET, HEAD, DELETE"),
        (Method::TRACE, "/healthz", "it takes GET, HEAD"),
        (Method::from_bytes(b"BREW").expect("a method"), "/stats", "it takes GET, HEAD"),
    ] {
        let answer = client.send(method.clone(), path, None).await.expect("an answer");
        check(&answer, StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
        assert!(answer.headers.contains_key("allow"), "{method} {path}");
        assert!(answer.str("detail").ends_with(allowed), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let server = Server::start(&[]);
    let client = server.client();
    let post = |content_type: &'static str, body: &'static [u8]| {
        let client = client.clone();
        async move {
            client.send(Method::POST, "/task", Some((content_type, body.to_vec()))).await.expect("an answer")
        }
    };
    for body in [&b"{"[..], b"{\"plugin\": }", b"\xff", b"{} {}", b"nul"] {
        check(&post("application/json", body).await, StatusCode::BAD_REQUEST, "invalid-json");
    }
    let form = post("application/x-www-form-urlencoded", b"{}").await;
    check(&form, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
    for body in [&b"[]"[..], b"3", b"\"io-stub\"", b"null"] {
        check(&post("application/json", body).await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-request");
    }
    assert_eq!(post("application/json; charset=utf-8", b"{}").await.status, StatusCode::CREATED);
    assert_eq!(post("application/x-www-form-urlencoded", b"").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_invalid_request_is_422_and_points_at_every_error() {
    let server = Server::start(&[]);
    let client = server.client();
    for (body, pointers) in [
        (json!({"plugin": "nobody"}), vec!["/plugin"]),
        (json!({"plugin": "../etc"}), vec!["/plugin"]),
        (json!({"plugin": 7}), vec!["/plugin"]),
        (json!({"timeout": 7}), vec!["/timeout"]),
        (json!({"timeout": "0s"}), vec!["/timeout"]),
        (json!({"timeout": "2days"}), vec!["/timeout"]),
        (json!({"max_attempts": 0}), vec!["/max_attempts"]),
        (json!({"max_attempts": 1.5}), vec!["/max_attempts"]),
        (json!({"delay": "1s", "run_at": "2026-11-23T07:26:49Z"}), vec!["/run_at"]),
        (json!({"priority": 1_001, "tags": [""]}), vec!["/priority", "/tags"]),
        (json!({"unique_key": "", "on_conflict": "maybe"}), vec!["/on_conflict", "/unique_key"]),
        (json!({"a/b~c": 1}), vec!["/a~1b~0c"]),
        (json!({"plugim": "noop", "timeout": "soon"}), vec!["/timeout", "/plugim"]),
    ] {
        let answer = client.post("/task", &body).await;
        check(&answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid-request");
        let errors = answer.json["errors"].as_array().expect("errors");
        let named: Vec<_> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
        assert_eq!(named, pointers, "{body}");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=x", "offset=3"] {
        let answer = client.get(&format!("/task?{query}")).await;
        check(&answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid-request");
        let named = answer.json["errors"][0]["parameter"].as_str().expect("a parameter");
        assert!(query.starts_with(named), "{query}: {named}");
    }
    assert_eq!(client.get("/task").await.text, "[]", "nothing was accepted");
}

#[tokio::test]
async fn equivalent_json_is_treated_alike() {
    let server = Server::start(&[]);
    let client = server.client();
    let whole = client.submit(&json!({"plugin": "noop", "max_attempts": 3.0})).await;
    assert_eq!(client.get(&format!("/task/{whole}")).await.json["max_attempts"], 3);
    let cancel = async |body: &'static [u8]| {
        let body = Some(("application/json", body.to_vec()));
        client.send(Method::POST, "/task/cancel?all=true", body).await.expect("an answer").status
    };
    for nothing in [&b""[..], b"\n", b"{}", b" { } "] {
        assert_eq!(cancel(nothing).await, StatusCode::OK, "{nothing:?}");
    }
    for something in [&b"{\"state\": \"waiting\"}"[..], b"[]", b"null", b"{"] {
        assert_eq!(cancel(something).await, StatusCode::UNPROCESSABLE_ENTITY, "{something:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let server = Server::start(&["--body-max", "1KiB"]);
    let client = server.client();
    let fits = json!({"plugin": "noop", "input": "x".repeat(900)});
    assert_eq!(client.post("/task", &fits).await.status, StatusCode::CREATED);
    let answer = client.post("/task", &json!({"plugin": "noop", "input": "x".repeat(5_000)})).await;
    check(&answer, StatusCode::PAYLOAD_TOO_LARGE, "body-too-large");
    assert!(answer.str("detail").contains("1024"), "{}", answer.text);
}

#[tokio::test]
async fn a_full_queue_is_429() {
    let server = Server::start(&["--slots", "1", "--waiting-max", "2"]);
    let client = server.client();
    let running = client.submit(&json!({})).await;
    client.until(&running, "running").await;
    let waiting = client.submit(&json!({})).await;
    client.submit(&json!({})).await;
    let answer = client.post("/task", &json!({})).await;
    check(&answer, StatusCode::TOO_MANY_REQUESTS, "queue-full");
    assert!(answer.headers.contains_key("retry-after"));
    client.delete(&format!("/task/{waiting}")).await;
    client.submit(&json!({})).await;
}

#[tokio::test]
async fn a_request_that_is_not_http_breaks_only_its_connection() {
    let server = Server::start(&[]);
    for garbage in
        [&b"\x16\x03\x01\x02\x00"[..], b"GET\r\n\r\n", b"POST /task HTTP/1.1\r\ncontent-length: -1\r\n\r\n"]
    {
        let mut stream = tokio::net::TcpStream::connect(server.address()).await.expect("a connection");
        stream.write_all(garbage).await.expect("written");
        stream.shutdown().await.expect("closed");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("read");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    assert_eq!(server.client().get("/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn random_bodies_never_cause_a_server_error() {
    let server = Server::start(&[]);
    let client = server.client();
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("noop"),
        json!("1s"),
        json!([]),
        json!({}),
        json!("\u{0}"),
        json!("💣".repeat(50)),
        json!({"plugin": {"plugin": []}}),
    ];
    let known = ["plugin", "input", "timeout", "max_attempts", "delay", "run_at", "priority", "tags"];
    for field in known.into_iter().chain(["on_conflict", "", "__proto__"]) {
        for value in &values {
            let mut body = json!({});
            body[field] = value.clone();
            let answer = client.post("/task", &body).await;
            assert!(
                answer.status.is_success() || answer.status == StatusCode::UNPROCESSABLE_ENTITY,
                "{body}"
            );
        }
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!("{{\"plugin\": \"noop\", \"input\": {deep}}}").into_bytes();
    let answer =
        client.send(Method::POST, "/task", Some(("application/json", body))).await.expect("an answer");
    assert!(answer.status.is_success() || answer.status.is_client_error(), "{}", answer.status);
    let _: Value = client.get("/task").await.json;
}
