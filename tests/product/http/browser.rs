//! Pages in a real browser: foreign ones try to read and change data, and the API viewer shows the API.
//!
//! Needs Chromium. Without it the tests are skipped with a line on stderr, or fail with
//! `WASMILL_TEST_REQUIRE=all`; `make test-browser` runs them alone.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill_tests::{Server, skip};

/// Deadline for a page.
const DEADLINE: Duration = Duration::from_secs(120);

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A page that tries everything on `target`, and reports the results.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>page</title><iframe name="frame"></iframe><script>
const target = new URLSearchParams(location.search).get("target");
const simple = ["/task", "/task/cancel?all=true", "/task/retry?all=true", "/pause", "/plugins/noop/pause", "/drain"];
const results = {};
async function attempt(name, path, options) {
  try {
    const answer = await fetch(target + path, options);
    results[name] = answer.type === "opaque" ? "opaque" : answer.status + " " + await answer.text();
  } catch (error) {
    results[name] = "failed";
  }
}
(async () => {
  for (const path of simple) {
    await attempt("no-cors " + path, path, {method: "POST", mode: "no-cors"});
    await attempt("cors " + path, path, {method: "POST"});
  }
  await attempt("json /task", "/task", {method: "POST", headers: {"content-type": "application/json"}, body: "{}"});
  await attempt("delete", "/task/TASK", {method: "DELETE"});
  await attempt("put", "/schedules/evil", {method: "PUT", headers: {"content-type": "application/json"}, body: "{}"});
  await attempt("read /task", "/task", {});
  await attempt("read /metrics", "/metrics", {});
  await new Promise(done => {
    const form = document.createElement("form");
    form.method = "post";
    form.action = target + "/task/cancel?all=true";
    form.target = "frame";
    document.body.append(form);
    document.querySelector("iframe").onload = done;
    setTimeout(done, 5000);
    form.submit();
  });
  await fetch("/report", {method: "POST", body: JSON.stringify(results)});
})();
</script>"#;

/// Finds a browser; without one, prints the reason and returns `None`.
fn browser() -> Option<&'static str> {
    let is_there = |name: &&str| {
        let version =
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let found = NAMES.into_iter().find(is_there);
    if found.is_none() {
        skip("there is no Chromium: apt-get install chromium");
    }
    found
}

/// A web server that answers for every name of this machine: it serves the page, collects its reports, and
/// proxies everything else to the server under test. A page that it served before its name was rebound looks
/// exactly like that.
struct Web {
    address: SocketAddr,
    reports: Receiver<Value>,
}

impl Web {
    fn start(server: SocketAddr, task: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, reports) = channel();
        let page = PAGE.replace("TASK", task);
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let (sender, page) = (sender.clone(), page.clone());
                // A client that hangs up is not an error.
                std::thread::spawn(move || drop(serve(&caller, server, &page, &sender)));
            }
        });
        Self { address, reports }
    }
}

fn serve(caller: &TcpStream, server: SocketAddr, page: &str, reports: &Sender<Value>) -> std::io::Result<()> {
    let mut lines = BufReader::new(caller);
    let (mut first, mut headers, mut length) = (String::new(), String::new(), 0);
    lines.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
        if !lower.starts_with("connection:") {
            headers.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body)?;
    let mut out = caller;
    let path = first.split(' ').nth(1).unwrap_or_default();
    if path.starts_with("/page") {
        return write!(
            out,
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
            page.len()
        );
    }
    if path == "/report" {
        let _ = reports.send(serde_json::from_slice(&body).unwrap_or_default());
        return write!(out, "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    }
    let mut behind = TcpStream::connect(server)?;
    write!(behind, "{first}{headers}connection: close\r\n\r\n")?;
    behind.write_all(&body)?;
    std::io::copy(&mut behind, &mut out).map(drop)
}

/// A browser with one open page; dropping it kills it.
struct Open {
    browser: Child,
    _profile: TempDir,
}

impl Open {
    fn page(name: &str, url: &str) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let browser = command(name, &profile)
            // It runs until it is killed.
            .args(["--remote-debugging-port=0", url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a browser");
        Self { browser, _profile: profile }
    }
}

/// Returns the command of a browser without a window.
fn command(name: &str, profile: &TempDir) -> Command {
    let mut command = Command::new(name);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg("--host-resolver-rules=MAP rebound.example 127.0.0.1, MAP evil.example 127.0.0.1")
        .arg(format!("--user-data-dir={}", profile.path().display()));
    command
}

impl Drop for Open {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

/// Opens the page under a host name, lets it try everything on `target`, and returns its report.
fn tries(browser: &str, web: &Web, name: &str, target: &str) -> HashMap<String, String> {
    let url = format!("http://{name}:{}/page?target={target}", web.address.port());
    let _open = Open::page(browser, &url);
    let report = web.reports.recv_timeout(DEADLINE).expect("the page reports");
    serde_json::from_value(report).expect("a text for each try")
}

#[tokio::test]
async fn in_a_browser_no_foreign_page_can_read_or_change_anything() {
    let Some(browser) = browser() else { return };
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let running = client.submit(&json!({})).await;
    client.until(&running, "running").await;
    let waiting = client.submit(&json!({})).await;
    let web = Web::start(server.address(), &running);
    let ours = format!("http://{}", server.address());
    let rebound = format!("http://rebound.example:{}", web.address.port());

    for (name, target) in [
        ("evil.example", &ours),
        ("127.0.0.1", &ours),
        ("rebound.example", &rebound),
        ("evil.example", &rebound),
    ] {
        let results = tries(browser, &web, name, target);
        assert!(results.len() > 15, "{results:?}");
        for (attempt, result) in &results {
            let is_same_origin = name == "rebound.example";
            let expected = match result.as_str() {
                "failed" | "opaque" => !is_same_origin,
                result => is_same_origin && result.starts_with("421 "),
            };
            assert!(expected && !result.contains(&waiting), "{name}: {attempt}: {result}");
        }
        let stats = client.get("/stats").await.json;
        assert_eq!((&stats["draining"], &stats["paused"]), (&json!(false), &json!(false)), "{name}: {stats}");
        let tasks = client.get("/task").await.json;
        let states: Vec<_> = tasks.as_array().expect("tasks").iter().map(|task| &task["state"]).collect();
        assert_eq!(states, ["waiting", "running"], "{name}: {tasks}");
        assert_eq!(client.get("/plugins/noop").await.json["paused"], json!(false), "{name}");
    }

    // The same page on the server's own origin succeeds, so the access policy stopped the others.
    let own = format!("http://localhost:{}", web.address.port());
    let results = tries(browser, &web, "localhost", &own);
    assert!(results["read /task"].contains(&waiting), "{results:?}");
    assert!(results["cors /drain"].starts_with("202 "), "{results:?}");
    assert_eq!(client.get("/stats").await.json["draining"], json!(true));
}

#[tokio::test]
async fn the_viewer_shows_every_operation_within_its_content_policy() {
    let Some(browser) = browser() else { return };
    let server = Server::start(&[]);
    let document = server.client().get("/openapi.json").await.json;
    let profile = tempfile::tempdir().expect("a folder");
    // Prints the page as its scripts have built it, and on stderr what they complain of.
    let page = command(browser, &profile)
        .args(["--enable-logging=stderr", "--virtual-time-budget=60000", "--dump-dom"])
        .arg(format!("http://{}/docs", server.address()))
        .output()
        .expect("a browser");
    let (page, messages) = (String::from_utf8_lossy(&page.stdout), String::from_utf8_lossy(&page.stderr));
    let complaints: Vec<_> = messages.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let methods = document["paths"].as_object().expect("paths").values();
    let operations = methods.flat_map(|path| path.as_object().expect("operations").values());
    let ids: Vec<_> = operations.filter_map(|operation| operation["operationId"].as_str()).collect();
    assert!(ids.len() > 30, "{ids:?}");
    for id in ids {
        assert!(page.contains(&format!("-{id}\"")), "{id} is missing");
    }
}
