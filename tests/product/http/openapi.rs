//! The OpenAPI document and its viewer. The client validates every response in every test; these tests cover
//! what no single response shows.

use std::collections::BTreeSet;

use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::document::Document;
use wasmill_tests::{Answer, Server};

/// Fills in the path parameters.
fn fill(path: &str) -> String {
    path.replace("{id}", "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061").replace("{name}", "nobody")
}

/// Returns the names that a detail lists as known.
fn known(answer: &Answer) -> BTreeSet<String> {
    let detail = answer.str("detail");
    let list = detail.split("known parameters: ").nth(1).or_else(|| detail.split("known fields: ").nth(1));
    list.unwrap_or_else(|| panic!("no list in {detail}")).split(", ").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_path_accepts_exactly_the_documented_methods() {
    let server = Server::start(&[]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let brew = Method::from_bytes(b"BREW").expect("a method");
    for (_, path, _) in document.operations() {
        // The client compares `Allow` with the document, which leaves out pages: one has the path of an operation.
        let client = if path == "/ui/login" { client.clone().undocumented() } else { client.clone() };
        let answer = client.send(brew.clone(), &fill(path), None).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

#[tokio::test]
async fn every_example_matches_its_schema() {
    let server = Server::start(&[]);
    let document = server.client().document().await.expect("a document");
    let mut seen = 0;
    for (method, path, operation) in document.operations() {
        let body = &operation["requestBody"]["content"];
        let responses = operation["responses"].as_object().expect("responses").values();
        let contents = responses.map(|response| &response["content"]).chain([body]);
        for content in contents.filter_map(Value::as_object).flat_map(|content| content.values()) {
            let named = content["examples"].as_object().into_iter().flatten();
            let examples = named.map(|(_, example)| &example["value"]).chain(content.get("example"));
            for example in examples {
                let fits = document.check_value(&content["schema"], example);
                assert_eq!(fits, Ok(()), "{method} {path}: {example}");
                seen += 1;
            }
        }
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| !parameter["example"].is_null()) {
            assert_eq!(document.check_value(&parameter["schema"], &parameter["example"]), Ok(()));
        }
    }
    assert!(seen > 10, "{seen}");
}

#[tokio::test]
async fn the_documented_parameters_and_fields_are_exactly_the_known_ones() {
    let server = Server::start(&[]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let mut received = 0;
    for (method, path, operation) in document.operations() {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let documented: BTreeSet<_> = parameters
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().expect("a name").to_owned())
            .collect();
        if !documented.is_empty() {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let path = format!("{}?nonsense=1", fill(path));
            let answer = client.send(method, &path, None).await.expect("an answer");
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {}", answer.text);
            assert_eq!(known(&answer), documented, "{path}");
            received += 1;
        }
    }
    assert!(received >= 4, "{received}");
    let fields = &document.json()["components"]["schemas"]["TaskRequest"]["properties"];
    let documented: BTreeSet<_> = fields.as_object().expect("fields").keys().cloned().collect();
    assert_eq!(known(&client.post("/task", &json!({"nonsense": 1})).await), documented);
}

#[tokio::test]
async fn an_undocumented_response_is_detected() {
    let server = Server::start(&[]);
    let document = Document::new(server.client().get("/openapi.json").await.json);
    let headers = |media_type, location| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(media_type));
        headers.insert("location", HeaderValue::from_static(location));
        headers
    };
    let location = "/task/01a2074c-e503-703b-819d-4717c026346b";
    let good = headers("application/json", location);
    let accepted = json!({
        "id": "01a2074c-e503-703b-819d-4717c026346b", "created_at": "2026-11-23T07:26:49.603656725Z",
        "duration": 0,
    });
    let check = |status: u16, headers: &HeaderMap, json: &Value| {
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = Answer { status, headers: headers.clone(), text: json.to_string(), json: json.clone() };
        document.check(&Method::POST, "/task", &answer)
    };
    let with = |key: &str, value: Value| {
        let mut changed = accepted.clone();
        changed[key] = value;
        changed
    };
    assert_eq!(check(201, &good, &accepted), Ok(()));
    for (what, status, headers, json) in [
        ("status 418", 418, good.clone(), accepted.clone()),
        ("content type", 201, headers("text/plain", location), accepted.clone()),
        ("Location", 201, headers("application/json", "/elsewhere"), accepted.clone()),
        ("anyOf", 201, good.clone(), with("id", json!("7"))),
        ("anyOf", 201, good.clone(), with("duration", json!("0"))),
        ("anyOf", 201, good.clone(), with("further", json!(1))),
        ("anyOf", 201, good.clone(), json!({"id": accepted["id"], "duration": 0})),
        ("content type", 422, good.clone(), accepted.clone()),
        ("code", 422, headers("application/problem+json", location), json!({"status": 422})),
    ] {
        let found = check(status, &headers, &json).expect_err(what);
        assert!(found.contains(what), "{what}: {found}");
    }
    let elsewhere = document.check(&Method::GET, "/elsewhere", &server.client().get("/healthz").await);
    assert!(elsewhere.is_err_and(|why| why.contains("not documented")));
}

#[tokio::test]
async fn the_viewer_loads_only_from_this_server() {
    let server = Server::start(&[]);
    let client = server.client();
    let page = client.get("/docs").await;
    assert_eq!(page.status, StatusCode::OK);
    let policy = page.headers["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains('*') && !policy.contains("unsafe"), "{policy}");
    let links = |name: &str| {
        let attribute = format!(" {name}=\"");
        let parts = page.text.split(&attribute).skip(1);
        parts.filter_map(|part| part.split('"').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    let links = [links("src"), links("href")].concat();
    assert!(links.len() >= 5, "{links:?}");
    for link in links.iter().filter(|link| !link.starts_with("data:")) {
        // They are relative, so that a proxy may serve the API below a path of its own.
        assert!(!link.starts_with('/') && !link.contains(':'), "{link}");
        assert_eq!(client.get(&format!("/{link}")).await.status, StatusCode::OK, "{link}");
    }
    let script = client.get("/docs/swagger-ui.js").await;
    assert_eq!(script.headers["content-encoding"], "gzip");
}
