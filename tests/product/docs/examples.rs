//! The examples under `plugins/` do what their READMEs show.
//!
//! The build script of these tests builds those in Rust, which always run. The others need `make
//! plugins-all`, and are skipped with a line on stderr without it, or fail with `WASMILL_TEST_REQUIRE=all`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server, skip};

/// Deadline for an example to be in service: Python's takes 10 s on two idle cores.
const DEADLINE: Duration = Duration::from_secs(300);

const FETCH: &[u8] = include_bytes!(env!("GUEST_FETCH"));
const WORDS: &[u8] = include_bytes!(env!("GUEST_WORDS"));

/// Returns the folder `plugins` of the repository.
fn plugins() -> PathBuf {
    wasmill_tests::repository().join("plugins")
}

/// Reads an example that is not in Rust; if it was not built, prints that and returns `None`.
fn built(name: &str) -> Option<Vec<u8>> {
    let file = plugins().join(name).with_extension("wasm");
    if file.exists() {
        return Some(fs::read(file).expect("readable"));
    }
    skip(&format!("plugins/{name}.wasm was not built: make plugins-all"));
    None
}

/// Reads a file next to the examples.
fn shipped(file: &str) -> String {
    fs::read_to_string(plugins().join(file)).unwrap_or_else(|error| panic!("plugins/{file}: {error}"))
}

/// Adds an example to a running server, and waits until it is in service.
async fn drop_in(server: &Server, name: &str, wasm: &[u8], beside: &[(&str, String)]) {
    let folder = server.folder().join("plugins");
    for (file, text) in beside {
        fs::write(folder.join(file), text).expect("written");
    }
    fs::write(folder.join(name).with_extension("wasm"), wasm).expect("written");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let plugin = server.client().get(&format!("/plugins/{name}")).await;
        match plugin.json["state"].as_str() {
            Some("ready") => return,
            Some("rejected") => panic!("{}", plugin.text),
            _ => assert!(Instant::now() < deadline, "timed out: {}", plugin.text),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Submits the first task request in the README of an example verbatim, and returns the id of the task.
async fn submit_as_the_readme_shows(client: &Client, name: &str) -> String {
    let readme = shipped(&format!("{name}/README.md"));
    let (_, request) = readme.split_once("curl localhost:8080/task ").expect("a request");
    let body = request.split('\'').nth(3).expect("a body in quotes, after the header in quotes");
    let body = ("application/json", body.as_bytes().to_vec());
    let answer = client.send(Method::POST, "/task", Some(body)).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{name}: {}", answer.text);
    answer.str("id").to_owned()
}

/// Adds an example with its manifest and schema, and runs the request of its README.
async fn as_the_readme_shows(name: &str, wasm: &[u8]) -> Answer {
    let server = Server::start(&[]);
    let files = [format!("{name}.toml"), format!("{name}.schema.json")];
    let files = files.iter().filter(|file| plugins().join(file).exists());
    let beside: Vec<_> = files.map(|file| (file.as_str(), shipped(file))).collect();
    drop_in(&server, name, wasm, &beside).await;
    let id = submit_as_the_readme_shows(&server.client(), name).await;
    server.client().until(&id, "completed").await
}

/// Asserts that the README of an example contains these lines of its result.
fn assert_shown<'a>(name: &str, lines: impl Iterator<Item = &'a str>) {
    let readme = shipped(&format!("{name}/README.md"));
    for line in lines.filter(|line| !line.is_empty()) {
        assert!(readme.contains(&format!("    {line}\n")), "{name}/README.md does not show: {line}");
    }
}

#[tokio::test]
async fn words_in_rust_counts_words() {
    let task = as_the_readme_shows("words", WORDS).await;
    assert_eq!(task.str("result"), "      3 the\n      2 dog\n");
    assert_shown("words", task.str("result").lines());
    assert_eq!(task.str("log"), "12 words, 9 different ones\n");
}

#[tokio::test]
async fn csv_stats_in_c_measures_columns() {
    let Some(wasm) = built("csv-stats") else { return };
    let task = as_the_readme_shows("csv-stats", &wasm).await;
    let rain = task.str("result").lines().last().expect("a line");
    let figures: Vec<_> = rain.split_whitespace().collect();
    assert_eq!(figures, ["rain", "3", "3", "802", "1462.67", "2495", "905.629"]);
    assert_shown("csv-stats", task.str("result").lines());
}

#[tokio::test]
async fn report_in_python_writes_markdown() {
    let Some(wasm) = built("report") else { return };
    let task = as_the_readme_shows("report", &wasm).await;
    let result = task.str("result");
    assert_shown("report", result.lines().take(5));
    let most = "21 words in all; most of all: family (1), forecast (1), prefers (1), promises (1), rains (1)";
    assert!(result.contains(most), "{result}");
    assert_eq!(task.str("log"), "short: 18 characters\nlong: 98 characters\n");
}

#[tokio::test]
async fn mail_merge_in_javascript_fills_a_template() {
    let Some(wasm) = built("mail-merge") else { return };
    let task = as_the_readme_shows("mail-merge", &wasm).await;
    let texts = json!(["Dear Ada, 2 x Tea &amp; cake, thank you.", "Dear Grace, please pay."]);
    assert_eq!(serde_json::from_str::<Value>(task.str("result")).expect("JSON"), texts);
}

#[tokio::test]
async fn access_log_in_go_summarizes() {
    let Some(wasm) = built("access-log") else { return };
    let task = as_the_readme_shows("access-log", &wasm).await;
    let summary: Value = serde_json::from_str(task.str("result")).expect("JSON");
    assert_eq!(
        (&summary["requests"], &summary["clients"], &summary["bytes"]),
        (&json!(3), &json!(2), &json!(10_120))
    );
    assert_eq!(summary["top_paths"][0], json!({"name": "/shop", "times": 2}));
    assert_eq!(summary["top_failing_paths"], json!([{"name": "/cart", "times": 1}]));
}

/// A web site on loopback that responds to each path with its name, but holds the first request for `/held`,
/// and aborts the first one for `/torn`.
struct Site {
    address: SocketAddr,
    visits: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Notified when a request is held.
    held: mpsc::Receiver<()>,
}

impl Site {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let visits = Arc::<Mutex<BTreeMap<String, u32>>>::default();
        let (tell, held) = mpsc::channel();
        let counted = Arc::clone(&visits);
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let path = asked_path(&stream);
                let mut visits = counted.lock().expect("no panic");
                let visit = visits.entry(path.clone()).and_modify(|visits| *visits += 1).or_insert(1);
                match (path.as_str(), *visit) {
                    ("/held", 1) => {
                        kept.push(stream);
                        // The receiver is gone once the test is over.
                        let _ = tell.send(());
                    }
                    ("/torn", 1) => drop(stream),
                    _ => answer(stream, &path),
                }
            }
        });
        Self { address, visits, held }
    }

    fn urls(&self, paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| format!("http://{}{path}", self.address)).collect()
    }

    fn visits(&self) -> Value {
        json!(*self.visits.lock().expect("no panic"))
    }
}

/// Reads a request head, and returns its path.
fn asked_path(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn answer(mut stream: TcpStream, body: &str) {
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
    // A client that hung up shows in the number of visits.
    let _ = write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}");
}

/// Starts a server with `fetch`, whose manifest permits this site instead of the original one.
async fn fetch_from(site: &Site) -> Server {
    let server = Server::start(&[]);
    let manifest = shipped("fetch.toml");
    let ours = manifest.replace("https://example.com", &format!("http://{}", site.address));
    assert_ne!(manifest, ours, "the manifest permits another site now");
    let beside = [("fetch.toml", ours), ("fetch.schema.json", shipped("fetch.schema.json"))];
    drop_in(&server, "fetch", FETCH, &beside).await;
    server
}

#[tokio::test]
async fn fetch_in_rust_repeats_no_url_after_a_crash() {
    let site = Site::open();
    let server = fetch_from(&site).await;
    let urls = site.urls(&["/a", "/b", "/held", "/c"]);
    let task = json!({"plugin": "fetch", "input": {"urls": urls, "text_bytes": 10}});
    let id = server.client().submit(&task).await;
    site.held.recv_timeout(DEADLINE).expect("a request for /held");
    let progress = server.client().get(&format!("/task/{id}")).await.json["progress"].clone();
    assert_eq!(progress, json!({"fraction": 0.5, "note": format!("3 of 4: {}", urls[2])}));

    let server = server.kill_and_restart();
    let task = server.client().until(&id, "completed").await;
    assert_eq!((&task.json["attempt"], &task.json["host_crashes"]), (&json!(2), &json!(1)));
    assert!(task.str("log").contains("2 of 4 URLs were done before"), "{}", task.text);
    assert_eq!(site.visits(), json!({"/a": 1, "/b": 1, "/held": 2, "/c": 1}));
    let result: Value = serde_json::from_str(task.str("result")).expect("JSON");
    let texts: Vec<_> = (0..4).map(|page| result["pages"][page]["text"].clone()).collect();
    assert_eq!(texts, ["/a", "/b", "/held", "/c"]);
    assert_eq!((&result["pages"][3]["status"], &result["pages"][3]["bytes"]), (&json!(200), &json!(2)));
}

#[tokio::test]
async fn fetch_in_rust_retries_only_failed_urls() {
    let site = Site::open();
    let server = fetch_from(&site).await;
    let input = json!({"urls": site.urls(&["/a", "/torn", "?b=1"])});
    let task =
        json!({"plugin": "fetch", "input": input, "backoff": {"first": "1ms", "factor": 1, "max": "1ms"}});
    let id = server.client().submit(&task).await;
    let task = server.client().until(&id, "completed").await;
    assert_eq!((&task.json["attempt"], &task.json["max_attempts"]), (&json!(2), &json!(3)));
    assert_eq!(site.visits(), json!({"/a": 1, "/torn": 2, "/?b=1": 1}));
}

#[tokio::test]
async fn fetch_in_rust_accepts_only_input_that_matches_its_schema() {
    let site = Site::open();
    let server = fetch_from(&site).await;
    let client = server.client();
    for input in [
        json!(null),
        json!({"urls": []}),
        json!({"urls": ["ftp://x/"]}),
        json!({"urls": ["http://x/"], "x": 1}),
    ] {
        let refused = client.post("/task", &json!({"plugin": "fetch", "input": input})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{input}: {}", refused.text);
    }
    // The site of the README is not permitted here, which fails before any DNS lookup.
    let id = submit_as_the_readme_shows(&client, "fetch").await;
    let task = client.until(&id, "failed").await;
    assert_eq!(task.str("status"), "failed by invalid input");
    let message = task.json["error"]["message"].as_str().expect("a reason");
    assert_eq!(message, "https://example.com/ is not permitted by fetch.toml");
    assert_eq!(site.visits(), json!({}));
}
