//! Every route that creates tasks validates their input first, within limits.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::mock_server::{MockServer, Reply};
use wasmill_tests::{Answer, Server, ServerFolder, tiny};

/// A generous deadline.
const SOON: Duration = Duration::from_secs(60);

/// An expression: a sum or difference of two others, or a number.
const EXPRESSION: &str = r##"{"oneOf": [
    {"type": "number"},
    {"type": "object", "required": ["op", "left", "right"], "properties": {
        "op": {"const": "add"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}}},
    {"type": "object", "required": ["op", "left", "right"], "properties": {
        "op": {"const": "sub"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}}}
]}"##;

/// Nests this many sums around this number.
fn expression(depth: usize, leaf: &Value) -> Value {
    (0..depth).fold(leaf.clone(), |inner, _| json!({"op": "add", "left": inner, "right": 1}))
}

fn hostile() -> Value {
    expression(30, &json!("x"))
}

/// Creates a folder whose plugin `noop` accepts expressions.
fn folder() -> Arc<ServerFolder> {
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    fs::write(plugins.join("noop.json"), EXPRESSION).expect("written");
    fs::write(plugins.join("noop.toml"), "[input]\nschema = \"noop.json\"").expect("written");
    folder
}

/// Starts a server and waits until no plugin is compiling; on a busy machine it may serve before that.
async fn start(folder: Arc<ServerFolder>) -> Server {
    let server = Server::start_in(folder, &[]).expect("a server");
    let deadline = Instant::now() + SOON;
    while server.client().get("/plugins").await.text.contains(r#""state":"compiling""#) {
        assert!(Instant::now() < deadline, "plugins still compile");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server
}

fn assert_refused(answer: &Answer, pointer: &str) {
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
    assert_eq!(answer.str("code"), "invalid-request");
    let named = answer.json["errors"][0]["pointer"].as_str().expect("a pointer");
    assert!(named.starts_with(pointer), "{}", answer.text);
    assert!(answer.text.len() < 100_000, "{} bytes", answer.text.len());
}

#[tokio::test]
async fn an_input_that_exceeds_the_check_budget_is_refused_by_every_route() {
    let server = start(folder()).await;
    let client = server.client();
    let fits = json!({"plugin": "noop", "input": expression(30, &json!(1))});
    let fits_not = json!({"plugin": "noop", "input": hostile()});
    let checks = async {
        assert_refused(&client.post("/task", &fits_not).await, "/input");
        assert_refused(&client.post("/task/batch", &json!([fits, fits_not])).await, "/1/input");
        let schedule = json!({"cron": "@yearly", "task": fits_not}).to_string().into_bytes();
        let body = Some(("application/json", schedule));
        let refused = client.send(Method::PUT, "/schedules/often", body).await.expect("an answer");
        assert_refused(&refused, "/task/input");
        assert_eq!(client.get("/task").await.json, json!([]), "nothing is stored");
        let id = client.submit(&fits).await;
        client.until(&id, "completed").await;
    };
    tokio::time::timeout(SOON, checks).await.expect("every check ends");
}

#[tokio::test]
async fn a_retry_is_validated_against_the_current_schema() {
    let folder = folder();
    let manifest = folder.path().join("plugins/noop.toml");
    fs::rename(&manifest, manifest.with_extension("away")).expect("moved");
    let server = start(folder).await;
    let client = server.client();
    let task = json!({"plugin": "noop", "input": hostile()});
    let id = client.submit(&task).await;
    client.until(&id, "completed").await;
    let body = Some(("application/json", json!({"cron": "@yearly", "task": task}).to_string().into_bytes()));
    let put = client.send(Method::PUT, "/schedules/often", body).await.expect("an answer");
    assert_eq!(put.status, StatusCode::CREATED, "{}", put.text);
    fs::rename(manifest.with_extension("away"), &manifest).expect("moved");
    // The compiled plugin is in the cache.
    let server = server.stop_and_restart();
    let client = server.client();
    let checks = async {
        assert_refused(&client.post(&format!("/task/{id}/retry"), &json!({})).await, "/input");
        assert_refused(&client.post("/schedules/often/run", &json!({})).await, "/task/input");
    };
    tokio::time::timeout(SOON, checks).await.expect("every check ends");
}

#[tokio::test]
async fn a_server_responds_while_large_inputs_are_checked() {
    let server = start(folder()).await;
    // Each uses the whole budget, and most clients hang up before the response.
    let leaves: Vec<_> = (0..4_000).map(|_| expression(7, &json!("x"))).collect();
    let body = json!({"plugin": "noop", "input": expression(10, &json!(leaves))});
    let body = Arc::new(body.to_string().into_bytes());
    let is_over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (client, body, is_over) = (server.client(), Arc::clone(&body), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let body = Some(("application/json", body.to_vec()));
                    let sent = client.send(Method::POST, "/task", body);
                    // It is enough that the check has started.
                    let _ = tokio::time::timeout(Duration::from_millis(200), sent).await;
                }
            })
        })
        .collect();
    let client = server.client();
    let answers = async {
        for _ in 0..50 {
            assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
            client.submit(&json!({"plugin": "misbehave", "input": {"do": "noop"}})).await;
        }
    };
    tokio::time::timeout(SOON, answers).await.expect("others are answered");
    is_over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.expect("it finishes");
    }
}

#[tokio::test]
async fn a_schema_that_explodes_is_rejected_at_load() {
    let folder = folder();
    let levels: Vec<_> = (0..30)
        .map(|level| {
            let next = format!(r##"{{"$ref": "#/$defs/{}"}}"##, level + 1);
            format!(r#""{level}": {{"allOf": [{next}, {next}]}}"#)
        })
        .collect();
    let schema = format!(
        r##"{{"$ref": "#/$defs/0", "$defs": {{{}, "30": {{"type": ["null", "object", "array", "string"]}}}}}}"##,
        levels.join(",")
    );
    fs::write(folder.path().join("plugins/noop.json"), schema).expect("written");
    let server = start(folder).await;
    let plugin = server.client().get("/plugins/noop").await;
    assert_eq!(plugin.str("state"), "rejected", "{}", plugin.text);
    assert!(plugin.str("reason").contains("input.schema noop.json: "), "{}", plugin.text);
}

#[tokio::test]
async fn an_input_that_a_program_cannot_get_is_refused_at_submit() {
    let folder = Server::folder_with_guests();
    let program = tiny::parse(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    fs::write(folder.path().join("plugins/program.wasm"), program).expect("written");
    let server = start(folder).await;
    let client = server.client();
    for input in [json!({"arg": ["a"]}), json!(["a"]), json!(5), json!({"env": {"A=B": "c"}})] {
        let task = json!({"plugin": "program", "input": input});
        assert_refused(&client.post("/task", &task).await, "/input");
        assert_refused(&client.post("/task/batch", &json!([task])).await, "/0/input");
        let schedule = json!({"cron": "@yearly", "task": task}).to_string().into_bytes();
        let body = Some(("application/json", schedule));
        let refused = client.send(Method::PUT, "/schedules/often", body).await.expect("an answer");
        assert_refused(&refused, "/task/input");
    }
    for input in [json!(null), json!("text"), json!({"args": ["a"], "stdin": "b", "env": {"C": "d"}})] {
        let id = client.submit(&json!({"plugin": "program", "input": input})).await;
        client.until(&id, "completed").await;
    }
}

#[tokio::test]
async fn an_array_is_no_object_wherever_one_is_expected() {
    let server = Server::start(&[]);
    let client = server.client();
    for (path, body) in [
        ("/task", json!([])),
        ("/task", json!(["noop"])),
        ("/task", json!({"plugin": "noop", "backoff": []})),
        ("/task", json!({"plugin": "noop", "webhook": ["http://example.com"]})),
        ("/task", json!({"plugin": "noop", "depends_on": [[0]]})),
        ("/task", json!({"plugin": "io-stub", "input": []})),
        ("/task/batch", json!([[]])),
        ("/pause", json!([])),
    ] {
        let answer = client.post(path, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {body}: {}", answer.text);
    }
    for body in [json!([]), json!(["@daily"]), json!({"cron": "@daily", "task": []})] {
        let body = ("application/json", body.to_string().into_bytes());
        let answer = client.send(Method::PUT, "/schedules/a", Some(body)).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
    }
    let mock_server = MockServer::start(|_| Reply::Json(200, json!([])));
    for args in [&["stats"][..], &["submit", "noop"], &["status", "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061"]] {
        let printed = mock_server.wasmill(args);
        assert!(printed.code == 1 && printed.err.contains("it is an array"), "{args:?}: {printed:?}");
    }
}

#[tokio::test]
async fn a_schema_is_served_as_its_file_has_it() {
    let server = start(folder()).await;
    let client = server.client();
    let schema = client.get("/plugins/noop/schema").await;
    assert_eq!((schema.status, schema.text.as_str()), (StatusCode::OK, EXPRESSION));
    assert_eq!(schema.headers["content-type"], "application/json");
    let none = client.get("/plugins/misbehave/schema").await;
    assert_eq!((none.status, none.str("code")), (StatusCode::NOT_FOUND, "no-schema"));
    for name in ["nobody", "No%20Name"] {
        assert_eq!(client.get(&format!("/plugins/{name}/schema")).await.str("code"), "unknown-plugin");
    }
}
