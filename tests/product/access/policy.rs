//! The access policy: no foreign web page can change anything or impersonate this server, and all other
//! clients are served.

use std::net::SocketAddr;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server};

/// Headers of cross-origin requests: from Chromium on another port, from a page without origin, and from a
/// browser without `Sec-Fetch-Site`.
const FOREIGN: [&[(&str, &str)]; 4] = [
    &[("sec-fetch-site", "cross-site"), ("origin", "http://evil.example")],
    &[("sec-fetch-site", "same-site"), ("origin", "http://localhost:1")],
    &[("origin", "null")],
    &[("origin", "http://evil.example")],
];

/// Fills in the path parameters with existing ids and names.
fn fill(path: &str, task: &str) -> String {
    path.replace("{id}", task).replace("{name}", "noop").replace("{schedule}", "nightly")
}

fn refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    assert_eq!(answer.str("code"), code, "{what}: {}", answer.text);
}

async fn ask(client: &Client, method: &Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let answer = client.send_with(method.clone(), path, headers, None).await.expect("an answer");
    assert_eq!(answer.headers["cross-origin-resource-policy"], "same-origin", "{method} {path}");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{method} {path}");
    answer
}

/// The state that a page could change: tasks, plugins, schedules and pauses. Resource usage of running tasks
/// is omitted.
async fn state(client: &Client) -> Vec<Value> {
    let mut state = Vec::new();
    for (path, keys) in [
        ("/task", &["id", "state", "attempt"][..]),
        ("/plugins", &["name", "state", "in_service", "paused"]),
        ("/schedules", &["name", "cron", "paused", "next_at"]),
    ] {
        let listed = client.get(path).await.json;
        for item in listed.as_array().expect("a list") {
            state.extend(keys.iter().map(|key| item[*key].clone()));
        }
    }
    let stats = client.get("/stats").await.json;
    state.extend(["draining", "paused"].map(|key| stats[key].clone()));
    state
}

#[tokio::test]
async fn a_foreign_page_can_change_nothing() {
    let server = Server::start(&["--slots", "1", "--allow-upload"]);
    let client = server.client();
    let running = client.submit(&json!({})).await;
    client.until(&running, "running").await;
    client.submit(&json!({})).await;
    let schedule = json!({"cron": "0 0 1 1 *", "task": {"plugin": "noop"}});
    let schedule = ("application/json", schedule.to_string().into_bytes());
    let put = client.send(Method::PUT, "/schedules/nightly", Some(schedule)).await.expect("an answer");
    assert!(put.status.is_success(), "{}", put.text);
    let document = client.document().await.expect("a document");
    let before = state(&client).await;
    let mut received = 0;
    // The document has every route; a unit test of the API compares it with the route table.
    for (method, path, _) in document.operations().filter(|(method, ..)| *method != "get") {
        let method: Method = method.to_uppercase().parse().expect("a method");
        for headers in FOREIGN {
            for query in ["", "?all=true"] {
                let path = format!("{}{query}", fill(path, &running));
                refused(&ask(&client, &method, &path, headers).await, 403, "cross-origin", &path);
                received += 1;
            }
        }
    }
    assert!(received > 100, "{received}");
    // The policy also covers unknown routes and methods, which are undocumented.
    let anywhere = server.client().undocumented();
    for (method, path) in [("POST", "/nothing"), ("PATCH", "/task"), ("TRACE", "/healthz"), ("BREW", "/")] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        refused(&ask(&anywhere, &method, path, FOREIGN[0]).await, 403, "cross-origin", path);
    }
    assert_eq!(state(&client).await, before);
    for headers in FOREIGN {
        let read = ask(&client, &Method::GET, "/healthz", headers).await;
        assert_eq!(read.status, StatusCode::OK);
        assert!(read.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    }
    let own = [("sec-fetch-site", "same-origin"), ("origin", "https://tasks.example")];
    assert_eq!(ask(&client, &Method::POST, "/task/cancel?all=true", &own).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_rebound_host_name_is_refused() {
    let server = Server::start(&["--public-host", "tasks.example.org"]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    for (method, path, _) in document.operations() {
        let method: Method = method.to_uppercase().parse().expect("a method");
        let path = fill(path, "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061");
        let origin = ("origin", "http://rebound.example");
        let answer = ask(&client, &method, &path, &[("host", "rebound.example"), origin]).await;
        refused(&answer, 421, "unknown-host", &path);
        assert!(answer.str("detail").contains("--public-host rebound.example"), "{}", answer.text);
    }
    let anywhere = server.client().undocumented();
    for path in ["/nothing", "/task/%ff"] {
        refused(
            &ask(&anywhere, &Method::GET, path, &[("host", "rebound.example")]).await,
            421,
            "unknown-host",
            path,
        );
    }
    let named = ask(&client, &Method::GET, "/healthz", &[("host", "tasks.example.org:8443")]).await;
    assert_eq!(named.status, StatusCode::OK);
}

#[tokio::test]
async fn requests_from_curl_compose_and_port_forwarding_pass() {
    let server = Server::start(&[]);
    let client = server.client();
    let port = server.address().port();
    for host in [
        &format!("127.0.0.1:{port}"),
        &format!("localhost:{port}"),
        &format!("[::1]:{port}"),
        "localhost:9999",
        "192.168.1.7:30080",
        "wasmill:8080",
        "wasmill",
        "host.docker.internal:8080",
        "app.localhost:3000",
    ] {
        let submitted = ask(&client, &Method::POST, "/task", &[("host", host)]).await;
        assert_eq!(submitted.status, StatusCode::CREATED, "{host}: {}", submitted.text);
    }
}

#[tokio::test]
async fn requests_forwarded_by_an_untrusted_proxy_are_refused() {
    let server = Server::start(&[]);
    let trusting = Server::start(&["--trust-proxy", "10.0.0.0/8,127.0.0.1"]);
    // Unknown routes are undocumented.
    let (client, trusting) = (server.client().undocumented(), trusting.client().undocumented());
    for name in ["forwarded", "x-forwarded-for", "x-real-ip", "cf-connecting-ip", "tailscale-user-login"] {
        let header = [(name, "203.0.113.7")];
        for (method, path) in [(Method::GET, "/task"), (Method::POST, "/task"), (Method::GET, "/nothing")] {
            let answer = ask(&client, &method, path, &header).await;
            refused(&answer, 403, "untrusted-proxy", name);
            assert!(answer.str("detail").contains("--trust-proxy 127.0.0.1"), "{}", answer.text);
            let answer = ask(&trusting, &method, path, &header).await;
            assert_ne!(answer.json["code"], "untrusted-proxy", "{name}");
        }
        // Behind a proxy, the browser's headers still distinguish pages.
        let foreign = [header[0], ("sec-fetch-site", "cross-site")];
        refused(&ask(&trusting, &Method::POST, "/task", &foreign).await, 403, "cross-origin", name);
    }
}

#[tokio::test]
async fn an_allowed_origin_has_the_rights_of_the_servers_own_pages() {
    let server = Server::start(&["--allow-origin", "https://dash.example.org"]);
    let client = server.client();
    let page = [("origin", "https://dash.example.org"), ("sec-fetch-site", "cross-site")];
    let asks = [page[0], ("access-control-request-method", "DELETE")];
    // The policy answers this rather than a route, so it is undocumented.
    let browser = server.client().undocumented();
    let preflight = ask(&browser, &Method::OPTIONS, "/task", &asks).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    assert_eq!(preflight.headers["access-control-allow-origin"], "https://dash.example.org");
    let submitted = ask(&client, &Method::POST, "/task", &page).await;
    assert_eq!(submitted.status, StatusCode::CREATED, "{}", submitted.text);
    assert_eq!(submitted.headers["access-control-allow-origin"], "https://dash.example.org");
    let other = [("origin", "https://other.example.org"), ("sec-fetch-site", "cross-site")];
    refused(&ask(&client, &Method::POST, "/task", &other).await, 403, "cross-origin", "another");
    let asks = [other[0], asks[1]];
    let preflight = ask(&browser, &Method::OPTIONS, "/task", &asks).await;
    assert!(preflight.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test]
async fn the_debug_port_has_the_same_access_policy() {
    let server = Server::start(&["--debug-listen", "127.0.0.1:0"]);
    let address = server.log().lines().find_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let is_it = event["message"].as_str()?.starts_with("debug port");
        is_it.then(|| event["address"].as_str()?.parse::<SocketAddr>().ok())?
    });
    let debug = Client::new(address.expect("the log names it")).undocumented();
    assert_eq!(ask(&debug, &Method::GET, "/debug/tasks", &[]).await.status, StatusCode::OK);
    for path in ["/debug", "/debug/tasks", "/debug/pprof/profile?seconds=1", "/nothing"] {
        let rebound = ask(&debug, &Method::GET, path, &[("host", "rebound.example")]).await;
        refused(&rebound, 421, "unknown-host", path);
        let forwarded = ask(&debug, &Method::GET, path, &[("x-forwarded-for", "203.0.113.7")]).await;
        refused(&forwarded, 403, "untrusted-proxy", path);
        refused(&ask(&debug, &Method::POST, path, FOREIGN[0]).await, 403, "cross-origin", path);
    }
}
