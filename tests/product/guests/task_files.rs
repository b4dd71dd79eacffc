//! Files of tasks: those that come with a request, and those that a run leaves. Nothing is left behind.

mod forms;
mod handed;
mod restored;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::{BASE64, HEXLOWER};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wasmill_tests::{Answer, Client, PROGRAM, Server, ServerFolder, test_database, wasmill};

/// Deadline for what happens within seconds: a sweep comes every ten.
const SOON: Duration = Duration::from_secs(60);

/// A folder for files, from which these are kept.
const KEEPS: &str = "outputs = [\"*.json\", \"out/**\"]\nallow.scratch = \"4MiB\"";

/// Starts a server with the program as a plugin of this manifest.
fn server(manifest: &str, args: &[&str]) -> Server {
    let folder = ServerFolder::new();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).expect("a folder");
    for (name, manifest) in [("program", manifest), ("bare", "")] {
        fs::write(plugins.join(name).with_extension("toml"), manifest).expect("written");
        fs::write(plugins.join(name).with_extension("wasm"), PROGRAM).expect("written");
    }
    start(folder, args)
}

fn start(folder: Arc<ServerFolder>, args: &[&str]) -> Server {
    let server = Server::start_in(folder, args).expect("a server");
    server.wait_for_plugins();
    server
}

/// A task of the program with files, each a name and bytes.
fn task(args: &[&str], files: &[(&str, &[u8])]) -> Value {
    let files: serde_json::Map<_, _> =
        files.iter().map(|(name, bytes)| ((*name).to_owned(), BASE64.encode(bytes).into())).collect();
    json!({"plugin": "program", "input": {"args": args}, "files": files})
}

async fn run(client: &Client, task: &Value) -> Answer {
    client.until_finished(&client.submit(task).await).await
}

/// A task whose run leaves two files that are kept, and one that is not.
fn leaving() -> Value {
    let calls = [
        "files",
        "create /tmp/a.json",
        "append /tmp/a.json 3",
        "create /tmp/not-kept",
        "folder /tmp/out",
        "folder /tmp/out/deep",
        "create /tmp/out/deep/b",
    ];
    task(&calls, &[])
}

/// Returns how many contents the server has stored.
fn stored(server: &Server) -> usize {
    if test_database().is_some() {
        let count = server.query("SELECT count(DISTINCT content) FROM content_part");
        return count[0].parse().expect("a number");
    }
    fs::read_dir(server.folder().join("data/files")).map_or(0, Iterator::count)
}

/// Waits until this many contents are stored, of files that are not empty.
async fn until_stored(server: &Server, count: usize) {
    let deadline = Instant::now() + SOON;
    while stored(server) != count {
        assert!(Instant::now() < deadline, "{} contents, not {count}", stored(server));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns name, direction and size of each file of a task.
fn listed(task: &Answer) -> Vec<(&str, &str, u64)> {
    let files = task.json["files"].as_array().expect("a list");
    files
        .iter()
        .map(|file| {
            let text = |key: &str| file[key].as_str().expect("a text");
            (text("name"), text("direction"), file["bytes"].as_u64().expect("a number"))
        })
        .collect()
}

/// Gets a file without the checks of JSON, which a file may be or not.
async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    client.clone().undocumented().send_with(Method::GET, path, headers, None).await.expect("an answer")
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().expect("text")
}

#[tokio::test]
async fn a_guest_finds_the_files_of_its_task_and_clients_get_them() {
    let server = server(KEEPS, &[]);
    let client = server.client();
    let task = run(&client, &task(&["read", "/tmp/lib/in.v"], &[("lib/in.v", b"module"), ("b", b"")])).await;
    assert_eq!((task.str("state"), task.str("result")), ("completed", "module"), "{}", task.text);
    let id = task.str("id");
    let whole = client.get(&format!("/task/{id}")).await;
    assert_eq!(listed(&whole), [("b", "input", 0), ("lib/in.v", "input", 6)]);
    assert_eq!(client.get(&format!("/task/{id}/files")).await.json, whole.json["files"]);
    let digest = Sha256::digest(b"module");
    assert_eq!(whole.json["files"][1]["sha256"], HEXLOWER.encode(&digest));
    let file = client.get(&format!("/task/{id}/files/lib%2Fin.v")).await;
    assert_eq!((file.status, file.text.as_str()), (StatusCode::OK, "module"));
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-length", "6"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("content-disposition", "attachment; filename*=UTF-8''in.v"),
    ] {
        assert_eq!(header(&file, name), value);
    }
    assert_eq!(header(&file, "etag"), format!("\"{}\"", HEXLOWER.encode(&digest)));
    assert_eq!(header(&file, "repr-digest"), format!("sha-256=:{}:", BASE64.encode(&digest)));
    let slash = get(&client, &format!("/task/{id}/files/lib/in.v"), &[]).await;
    assert_eq!(slash.text, "module");
    let empty = client.get(&format!("/task/{id}/files/b")).await;
    assert_eq!((empty.status, empty.text.as_str()), (StatusCode::OK, ""));
    for (path, code) in [
        (format!("/task/{id}/files/nothing"), "unknown-file"),
        (format!("/task/{id}/files/lib"), "unknown-file"),
        (format!("/task/{id}/files/..%2F..%2Fwasmill.db"), "unknown-file"),
        (format!("/task/{id}/files/b?direction=output"), "unknown-file"),
        (format!("/task/{id}/files/b?direction=up"), "invalid-request"),
        ("/task/01a2074c-e503-703b-819d-4717c026346b/files/b".to_owned(), "unknown-task"),
        ("/task/01a2074c-e503-703b-819d-4717c026346b/files".to_owned(), "unknown-task"),
    ] {
        let refused = client.get(&path).await;
        assert_eq!(refused.str("code"), code, "{path}: {}", refused.text);
    }
}

#[tokio::test]
async fn a_part_of_a_file_is_sent_alone() {
    let server = server("outputs = [\"*.json\"]\nallow.scratch = \"8MiB\"", &["--body-max", "8MiB"]);
    let client = server.client();
    // Over the parts in which it is stored.
    let bytes: Vec<u8> = (0..(5 << 19) + 3).map(|at| b'a' + (at % 26) as u8).collect();
    let task = run(&client, &task(&["args"], &[("a.txt", &bytes)])).await;
    let path = format!("/task/{}/files/a.txt", task.str("id"));
    let (_, whole) = client.send_for_bytes(&path).await;
    assert!(whole == bytes, "{} bytes", whole.len());
    let size = bytes.len();
    for (range, part) in [
        ("bytes=0-0".to_owned(), 0..1),
        (format!("bytes={}-{}", (1 << 20) - 2, (1 << 20) + 1), (1 << 20) - 2..(1 << 20) + 2),
        ("bytes=-5".to_owned(), size - 5..size),
        (format!("bytes={}-", 1 << 20), 1 << 20..size),
    ] {
        let answer =
            client.send_with(Method::GET, &path, &[("range", &range)], None).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        assert!(answer.text.as_bytes() == &bytes[part.clone()], "{range}");
        assert_eq!(header(&answer, "content-range"), format!("bytes {}-{}/{size}", part.start, part.end - 1));
        assert_eq!(header(&answer, "content-length"), part.len().to_string());
    }
    let late = format!("bytes={size}-");
    let none = client.send_with(Method::GET, &path, &[("range", &late)], None).await.expect("an answer");
    assert_eq!((none.status, none.str("code")), (StatusCode::RANGE_NOT_SATISFIABLE, "no-such-range"));
    assert_eq!(header(&none, "content-range"), format!("bytes */{size}"));
    let head = client.send(Method::HEAD, &path, None).await.expect("an answer");
    assert_eq!((head.status, header(&head, "content-length")), (StatusCode::OK, &*size.to_string()));
    let etag = header(&head, "etag").to_owned();
    let known =
        client.send_with(Method::GET, &path, &[("if-none-match", &etag)], None).await.expect("an answer");
    assert_eq!((known.status, known.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    for (if_range, status) in [(etag.as_str(), 206), ("\"other\"", 200)] {
        let headers = [("range", "bytes=0-1"), ("if-range", if_range)];
        let answer = client.send_with(Method::GET, &path, &headers, None).await.expect("an answer");
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn what_matches_is_kept_and_goes_with_its_task() {
    let server = server(KEEPS, &[]);
    let client = server.client();
    let task = run(&client, &leaving()).await;
    assert_eq!(task.str("state"), "completed", "{}", task.text);
    let id = task.str("id").to_owned();
    let whole = client.get(&format!("/task/{id}")).await;
    assert_eq!(listed(&whole), [("a.json", "output", 3), ("out/deep/b", "output", 0)]);
    let file = get(&client, &format!("/task/{id}/files/a.json"), &[]).await;
    assert_eq!((file.text.as_str(), header(&file, "content-type")), ("xxx", "application/json"));
    assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&format!("/task/{id}/files")).await.status, StatusCode::NOT_FOUND);
    until_stored(&server, 0).await;
}

#[tokio::test]
async fn retention_forgets_files_with_their_tasks() {
    let server = server(KEEPS, &["--keep-for", "2s"]);
    let client = server.client();
    let id = client.submit(&task(&["args"], &[("a.json", b"1")])).await;
    let deadline = Instant::now() + SOON;
    while client.get(&format!("/task/{id}")).await.status != StatusCode::NOT_FOUND {
        assert!(Instant::now() < deadline, "it is kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_stored(&server, 0).await;
}

#[tokio::test]
async fn an_input_is_kept_twice_only_if_the_guest_changed_it() {
    let server = server(KEEPS, &[]);
    let client = server.client();
    let files: [(&str, &[u8]); 2] = [("a.json", b"1"), ("b.json", b"2")];
    let task = run(&client, &task(&["put", "/tmp/b.json", "changed"], &files)).await;
    let id = task.str("id");
    let whole = client.get(&format!("/task/{id}")).await;
    assert_eq!(listed(&whole), [("a.json", "input", 1), ("b.json", "input", 1), ("b.json", "output", 7)]);
    let text = async |query: &str| get(&client, &format!("/task/{id}/files/b.json{query}"), &[]).await.text;
    assert_eq!(text("").await, "changed");
    assert_eq!(text("?direction=input").await, "2");
    assert_eq!(text("?direction=output").await, "changed");
}

#[tokio::test]
async fn a_retry_gets_the_files_as_they_were_sent() {
    let server = server(KEEPS, &[]);
    let client = server.client();
    // The first attempt changes its copy and fails; the second reads what was sent.
    let calls = json!({
        "plugin": "program", "input": {"args": ["read", "/tmp/a.json"]}, "files": {"a.json": BASE64.encode(b"1")},
    });
    let first = run(&client, &calls).await;
    assert_eq!(first.str("result"), "1", "{}", first.text);
    let id = first.str("id").to_owned();
    let retry = client.post(&format!("/task/{id}/retry"), &json!({})).await;
    assert_eq!(retry.status, StatusCode::CREATED, "{}", retry.text);
    // The bytes stay as long as a task has them.
    assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
    let retried = client.until_finished(retry.str("id")).await;
    assert_eq!(retried.str("result"), "1", "{}", retried.text);
    let whole = client.get(&format!("/task/{}", retry.str("id"))).await;
    assert_eq!(listed(&whole), [("a.json", "input", 1)]);
    assert_eq!(stored(&server), 1);
}

#[tokio::test]
async fn a_refused_request_leaves_nothing_behind() {
    let args = ["--file-max", "10B", "--files-max", "15B", "--files-per-task", "3", "--waiting-max", "1"];
    let server = server(KEEPS, &args);
    let client = server.client();
    let (large, small): (&[u8], &[u8]) = (&[0; 11], &[0; 8]);
    for (files, pointer, why) in [
        (vec![("../a", small)], "/files/..~1a", ".."),
        (vec![("/etc/passwd", small)], "/files/~1etc~1passwd", "relative"),
        (vec![("a\0", small)], "/files/a\0", "control characters"),
        (vec![("a", small), ("a/b", b"")], "/files/a~1b", "one is a folder"),
        (vec![("a", large)], "/files/a", "file_max"),
        (vec![("a", small), ("b", small)], "/files/b", "files_max"),
        (vec![("a", b""), ("b", b""), ("c", b""), ("d", b"")], "/files", "files_per_task"),
    ] {
        let refused = client.post("/task", &task(&["args"], &files)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
        assert_eq!(refused.pointers(), [pointer], "{}", refused.text);
        assert!(refused.str("detail").contains(why), "{why}: {}", refused.text);
        let batch = json!([{"plugin": "bare"}, task(&["args"], &files)]);
        let refused = client.post("/task/batch", &batch).await;
        assert_eq!(refused.pointers(), [format!("/1{pointer}")], "{}", refused.text);
    }
    let mut bare = task(&["args"], &[("a", b"x")]);
    bare["plugin"] = "bare".into();
    let refused = client.post("/task", &bare).await;
    assert!(refused.str("detail").contains("the plugin takes no files: `scratch`"), "{}", refused.text);
    let schedule = json!({"cron": "0 0 1 1 *", "task": task(&["args"], &[("a", b"x")])});
    let refused = client.put_schedule("nightly", &schedule).await;
    assert_eq!(refused.pointers(), ["/task/files"], "{}", refused.text);
    assert_eq!(stored(&server), 0);
    // What the store refuses, after the bytes were written.
    let many = json!([task(&["args"], &[("a", b"x")]), task(&["args"], &[("a", b"x")])]);
    let refused = client.post("/task/batch", &many).await;
    assert_eq!(refused.str("code"), "queue-full", "{}", refused.text);
    until_stored(&server, 0).await;
}

#[tokio::test]
async fn a_repeated_request_stores_its_files_once() {
    let server = server(KEEPS, &[]);
    let client = server.client();
    let body = task(&["read", "/tmp/a"], &[("a", b"x")]).to_string();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let request = ("application/json", body.clone().into_bytes());
        let headers = [("idempotency-key", "k")];
        let answer =
            client.send_with(Method::POST, "/task", &headers, Some(request)).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        ids.push(answer.str("id").to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let mut unique = task(&["temporary", "/tmp/t", "x", "5000"], &[("a", b"x")]);
    (unique["unique_key"], unique["on_conflict"]) = ("u".into(), "return".into());
    let holder = client.submit(&unique).await;
    let again = client.post("/task", &unique).await;
    assert_eq!((again.status, again.str("id")), (StatusCode::OK, holder.as_str()));
    until_stored(&server, 2).await;
}

#[tokio::test]
async fn outputs_that_cannot_be_kept_fail_the_attempt_and_say_why() {
    let args = ["--file-max", "10B", "--files-max", "15B", "--files-per-task", "3"];
    let server = server("outputs = [\"*\"]\nallow.scratch = \"1MiB\"", &args);
    let client = server.client();
    let create = |names: &[&str]| names.iter().map(|name| format!("create /tmp/{name}")).collect::<Vec<_>>();
    for (calls, status, why) in [
        (
            [create(&["a"]), vec!["append /tmp/a 11".to_owned()]].concat(),
            "failed by result limit",
            "file_max",
        ),
        (
            [create(&["a", "b"]), vec!["append /tmp/a 8".to_owned(), "append /tmp/b 8".to_owned()]].concat(),
            "failed by result limit",
            "files_max",
        ),
        (create(&["a", "b", "c", "d"]), "failed by result limit", "files_per_task"),
        (
            [create(&["a"]), vec!["link /tmp/b a".to_owned()]].concat(),
            "failed by plugin error",
            "'b' is a link",
        ),
    ] {
        let calls: Vec<_> = std::iter::once("files").chain(calls.iter().map(String::as_str)).collect();
        let failed = run(&client, &task(&calls, &[])).await;
        assert_eq!(failed.str("status"), status, "{}", failed.text);
        assert!(failed.text.contains(why) && failed.text.contains("`outputs`"), "{why}: {}", failed.text);
        let whole = client.get(&format!("/task/{}", failed.str("id"))).await;
        assert_eq!(listed(&whole), []);
    }
    until_stored(&server, 0).await;
}

#[tokio::test]
async fn files_survive_a_kill_and_nothing_else_does() {
    let server = server(KEEPS, &["--slots", "1", "--drain", "0s"]);
    let client = server.client();
    let id = client.submit(&task(&["temporary", "/tmp/t", "x", "3000"], &[("a.json", b"1")])).await;
    client.until(&id, "running").await;
    // Killed while requests are at every step between their bytes and their rows.
    let submits: Vec<_> = (0..40)
        .map(|number: u32| {
            let (client, body) = (client.clone(), task(&["read", "/tmp/a"], &[("a", &number.to_be_bytes())]));
            tokio::spawn(async move {
                let body = ("application/json", body.to_string().into_bytes());
                client.send(Method::POST, "/task", Some(body)).await.ok()
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(15)).await;
    let server = server.kill_and_restart();
    let mut accepted = 0;
    for submit in submits {
        accepted += usize::from(submit.await.expect("no panic").is_some_and(|answer| answer.status == 201));
    }
    let client = server.client();
    let task = client.until_finished(&id).await;
    assert_eq!((task.str("state"), task.str("result")), ("completed", "x"), "{}", task.text);
    let tasks = client.get("/task?limit=100").await;
    let ids: Vec<_> = tasks.json.as_array().expect("a list").iter().map(|task| task["id"].clone()).collect();
    assert!(ids.len() > accepted, "{} tasks, {accepted} accepted", ids.len());
    for id in &ids {
        let whole = client.get(&format!("/task/{}", id.as_str().expect("text"))).await;
        let [(name, "input", bytes)] = listed(&whole)[..] else { panic!("{}", whole.text) };
        let (status, got) =
            client.send_for_bytes(&format!("/task/{}/files/{name}", id.as_str().expect("text"))).await;
        assert_eq!((status, got.len() as u64), (StatusCode::OK, bytes));
    }
    until_stored(&server, ids.len()).await;
}

#[tokio::test]
async fn a_key_that_may_not_read_gets_no_file() {
    let server = server(KEEPS, &[]);
    let admin = server.client().with_key(&server.create_key("admin", &["--scope", "admin"]));
    let id = admin.submit(&task(&["args"], &[("a", b"x")])).await;
    let watcher = server.client().with_key(&server.create_key("watcher", &["--scope", "watch"]));
    for path in ["files", "files/a"] {
        let refused = watcher.get(&format!("/task/{id}/{path}")).await;
        assert_eq!(refused.str("code"), "not-permitted", "{}", refused.text);
    }
}

#[tokio::test]
async fn the_command_line_sends_lists_and_gets_files() {
    let server = server(KEEPS, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("top.v"), b"\xffmodule").expect("written");
    let url = format!("http://{}", server.address());
    let run = |args: &[&str]| {
        let output = wasmill(folder.path(), &[args, &["--server", &url]].concat());
        assert_eq!(output.code, 0, "{args:?}: {}", output.err);
        output.out
    };
    // More than a body may have.
    fs::write(folder.path().join("large"), vec![7; 3 << 20]).expect("written");
    let files = ["--file", "top.v", "--file", "lib/a.json=top.v", "--file", "large"];
    let submit = [&["submit", "program"], &files[..], &["--wait", "--quiet", "--json"]].concat();
    let task: Value = serde_json::from_str(&run(&submit)).expect("JSON");
    let id = task["id"].as_str().expect("an id");
    let list = run(&["files", id]);
    let lines: Vec<Vec<_>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert_eq!(lines[0][..4], ["input", "large", "3.0", "MiB"], "{list}");
    assert_eq!(lines[1][..2], ["input", "lib/a.json"], "{list}");
    assert_eq!(lines[2][..2], ["input", "top.v"], "{list}");
    run(&["files", "get", id, "lib/a.json", "-o", "got"]);
    assert_eq!(fs::read(folder.path().join("got")).expect("readable"), b"\xffmodule");
    let missing = wasmill(folder.path(), &["files", "get", id, "nothing", "-o", "none", "--server", &url]);
    assert_eq!(missing.code, 5, "{}", missing.err);
    assert!(!Path::new(&folder.path().join("none")).exists());
}
