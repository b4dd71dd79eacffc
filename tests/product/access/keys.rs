//! Keys: what each scope may do, and when a key counts.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Client, Server, binary, command, repository, sleep, wasmill};

/// How soon a revoked key is out, and a new one in.
const CHANGE: Duration = Duration::from_secs(2);

/// Creates a key of a server and returns its text.
fn create(server: &Server, name: &str, scopes: &str) -> String {
    server.create_key(name, &["--scope", scopes])
}

/// Runs a command on the keys of a server.
fn key(server: &Server, args: &[&str]) -> String {
    let made = wasmill(server.folder(), &[&["key"], args].concat());
    assert_eq!(made.code, 0, "{}", made.err);
    made.out
}

/// Waits until the server answers a client with this status, and returns how long it took.
async fn until(client: &Client, path: &str, status: StatusCode) -> Duration {
    let start = Instant::now();
    loop {
        let answer = client.get(path).await;
        if answer.status == status {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{path}: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts a server with one key of these scopes, and returns a client with that key.
async fn server_with(scopes: &str, args: &[&str]) -> (Server, Client, String) {
    let server = Server::start(args);
    let text = create(&server, "first", scopes);
    let client = server.client().with_key(&text);
    (server, client, text)
}

/// Starts a server at an address, and returns whether it serves, with its exit code and what it printed.
fn serves(listen: &str, args: &[&str], admin: Option<&str>) -> Result<String, (i32, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(folder.path(), &[&["serve", "--listen", listen], args].concat());
    command.envs(admin.map(|admin| ("WASMILL_ADMIN_KEY", admin)));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut printed = String::new();
    let is_serving = lines.by_ref().any(|line| {
        printed.push_str(&line);
        printed.push('\n');
        line.contains("slots     ")
    });
    if is_serving {
        child.kill().expect("a process");
        child.wait().expect("its end");
        return Ok(printed);
    }
    Err((child.wait().expect("its end").code().unwrap_or(-1), printed))
}

#[test]
fn it_does_not_listen_to_the_network_without_keys_unless_told() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let (code, why) = serves(listen, &[], None).expect_err(listen);
        assert_eq!(code, 2, "{why}");
        for way in ["wasmill key create", "WASMILL_ADMIN_KEY=", "--auth none"] {
            assert!(why.contains(way), "{why}");
        }
    }
    let (code, why) = serves("127.0.0.1:0", &["--auth", "keys"], None).expect_err("keys are needed");
    assert!(code == 2 && why.contains("--auth keys"), "{why}");
    let open = serves("0.0.0.0:0", &["--auth", "none"], None).expect("it serves");
    assert!(open.contains("everyone who reaches 0.0.0.0:0 may do everything"), "{open}");
    serves("0.0.0.0:0", &[], Some("0123456789abcdef0123456789abcdef")).expect("it serves");
    let (code, why) = serves("0.0.0.0:0", &[], Some("a short secret")).expect_err("it can be guessed");
    assert!(code == 2 && why.contains("at least 32") && !why.contains("a short secret"), "{why}");
    let (code, why) = serves("127.0.0.1:0", &["--keys-file", "missing.toml"], None).expect_err("no file");
    assert!(code == 2 && why.contains("missing.toml"), "{why}");
}

#[tokio::test]
async fn loopback_is_open_until_there_is_a_key() {
    let server = Server::start(&[]);
    let client = server.client();
    assert_eq!(client.get("/stats").await.status, StatusCode::OK);
    let id = client.submit(&sleep(1)).await;
    assert_eq!(client.get(&format!("/task/{id}")).await.json["submitted_by"], Value::Null);
    let text = key(&server, &["create", "ci", "--scope", "submit"]).trim().to_owned();
    assert!(until(&client, "/stats", StatusCode::UNAUTHORIZED).await < CHANGE);
    let refused = client.get("/stats").await;
    assert_eq!(
        (refused.str("code"), &refused.headers["www-authenticate"]),
        ("key-missing", &"Bearer".parse().unwrap())
    );
    let hint = client.get(&format!("/stats?key={text}")).await;
    assert!(hint.status == StatusCode::UNAUTHORIZED && hint.str("detail").contains("logs"), "{}", hint.text);
    // The probes need none.
    for path in ["/healthz", "/readyz", "/", "/docs", "/openapi.json"] {
        assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
    }
    let own = client.clone().with_key(&text);
    let id = own.submit(&sleep(1)).await;
    let record = own.get(&format!("/task/{id}")).await;
    assert_eq!(record.json["submitted_by"], text[4..12], "{}", record.text);
    // Without any key left, it does not open again.
    key(&server, &["revoke", "ci"]);
    assert!(until(&own, &format!("/task/{id}"), StatusCode::UNAUTHORIZED).await < CHANGE);
    assert_eq!(client.get("/stats").await.str("code"), "key-missing");
}

/// The operations that each scope alone may use, for tasks, plugins and schedules that do not exist. A change that adds one
/// has to decide here, too.
const ALLOWED: [(&str, &[&str]); 7] = [
    (
        "watch",
        &[
            "listTasks",
            "getTaskStatus",
            "followTask",
            "followAll",
            "listPlugins",
            "getPlugin",
            "listSchedules",
            "getPluginSchema",
            "getStats",
            "getStatsHistory",
            "getAttention",
            "explainTask",
            "listTaskDependents",
            "listHosts",
        ],
    ),
    (
        "read",
        &[
            "listTasks",
            "getTask",
            "getTaskStatus",
            "getTaskResult",
            "getTaskInput",
            "listTaskFiles",
            "getTaskFile",
            "getTaskCheckpoint",
            "getTaskLogs",
            "getTaskWebhook",
            "followTask",
            "followAll",
            "listPlugins",
            "getPlugin",
            "listSchedules",
            "getSchedule",
            "getPluginSchema",
            "getStats",
            "getStatsHistory",
            "getAttention",
            "explainTask",
            "getTaskActivity",
            "listTaskDependents",
            "listHosts",
        ],
    ),
    (
        "submit",
        &[
            "submitTask",
            "submitTasks",
            "postEvent",
            "retryTask",
            "retryTaskWebhook",
            "getTask",
            "getTaskStatus",
            "getTaskResult",
            "getTaskInput",
            "listTaskFiles",
            "getTaskFile",
            "getTaskCheckpoint",
            "getTaskLogs",
            "getTaskWebhook",
            "explainTask",
            "getTaskActivity",
            "followTask",
        ],
    ),
    ("cancel", &["cancelTask", "deleteTask", "cancelTasks", "deleteTasks"]),
    ("schedule", &["putSchedule", "deleteSchedule", "pauseSchedule", "resumeSchedule", "runSchedule"]),
    ("plugins", &["putPlugin", "deletePlugin", "pausePlugin", "resumePlugin"]),
    ("metrics", &["getMetrics"]),
];

/// The operations that every key may use.
const ANY_KEY: [&str; 1] = ["getOwnKey"];

/// The operations that need no key.
const OPEN: [&str; 11] = [
    "signIn",
    "signOut",
    "getIndex",
    "getHealth",
    "getReadiness",
    "getApiDocument",
    "getApiViewer",
    "getApiViewerStart",
    "getApiViewerScript",
    "getApiViewerStyle",
    "getApiViewerLicense",
];

#[tokio::test]
async fn no_key_does_what_its_scopes_do_not_name() {
    let (server, admin, _) = server_with("admin", &["--allow-upload"]).await;
    let document = admin.document().await.expect("a document");
    let mut clients: Vec<_> = ALLOWED
        .iter()
        .map(|(scope, allowed)| (*scope, server.client().with_key(&create(&server, scope, scope)), *allowed))
        .collect();
    clients.push(("admin", admin, &[]));
    let mut tried = 0;
    for (method, path, operation) in document.operations() {
        let id = operation["operationId"].as_str().expect("an id");
        // With an unknown parameter, what is permitted is refused before it does anything.
        let path = path
            .replace("{id}", "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061")
            .replace("{name}", "nothing")
            .replace("{file_name}", "nothing")
            .replace("{schedule}", "nothing");
        let path = format!("{path}?nothing=1");
        let method: Method = method.to_uppercase().parse().expect("a method");
        let methods = if method == Method::GET { vec![Method::GET, Method::HEAD] } else { vec![method] };
        for method in methods {
            for (scope, client, allowed) in &clients {
                let answer = client.send(method.clone(), &path, None).await.expect("an answer");
                let is_for_all = OPEN.contains(&id) || ANY_KEY.contains(&id);
                let may = *scope == "admin" || is_for_all || allowed.contains(&id);
                let expected = if may { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::FORBIDDEN };
                assert_eq!(answer.status, expected, "{scope}: {method} {path} ({id}): {}", answer.text);
                assert!(
                    may || method == Method::HEAD || answer.str("code") == "not-permitted",
                    "{}",
                    answer.text
                );
                tried += 1;
            }
            let none = server.client().send(method.clone(), &path, None).await.expect("an answer");
            let expected =
                if OPEN.contains(&id) { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::UNAUTHORIZED };
            assert_eq!(none.status, expected, "{method} {path} ({id}): {}", none.text);
        }
    }
    assert!(tried > 400, "{tried}");
}

#[tokio::test]
async fn a_key_reads_what_it_submitted_itself_and_no_more() {
    let (server, admin, _) = server_with("admin", &[]).await;
    let [one, other, watch] = [("one", "submit"), ("other", "submit"), ("watch", "watch")]
        .map(|(name, scope)| server.client().with_key(&create(&server, name, scope)));
    let id = one.submit(&json!({"plugin": "misbehave", "input": {"do": "echo", "text": "a secret"}})).await;
    until(&one, &format!("/task/{id}/result"), StatusCode::OK).await;
    for part in ["", "/status", "/result", "/input", "/logs", "/events"] {
        let path = format!("/task/{id}{part}");
        let own = if part == "/events" {
            one.follow(&path, None).await.status
        } else {
            one.get(&path).await.status
        };
        assert_eq!(own, StatusCode::OK, "{path}");
        let refused = other.get(&path).await;
        assert_eq!((refused.status.as_u16(), refused.str("code")), (403, "not-permitted"), "{path}");
    }
    // A copy, or a task that depends on it, would show it.
    assert_eq!(other.post(&format!("/task/{id}/retry"), &json!({})).await.str("code"), "not-permitted");
    let dependent = json!({"plugin": "misbehave", "depends_on": [id], "input_from": "dependencies"});
    let refused = other.post("/task", &dependent).await;
    assert_eq!(
        (refused.status.as_u16(), refused.pointers()),
        (422, vec!["/depends_on/0"]),
        "{}",
        refused.text
    );
    assert_eq!(one.post("/task", &dependent).await.status, StatusCode::CREATED);
    // To watch is to see how it is doing.
    for path in [format!("/task/{id}/status"), "/task".to_owned()] {
        let shown = watch.get(&path).await;
        assert!(shown.text.contains("\"completed\"") && !shown.text.contains("a secret"), "{}", shown.text);
    }
    let record = admin.get(&format!("/task/{id}")).await;
    assert!(record.text.contains("a secret"), "{}", record.text);
}

#[tokio::test]
async fn a_key_that_may_cancel_sees_no_message_of_what_it_cancels() {
    let (server, admin, _) = server_with("admin", &[]).await;
    let cancel = server.client().with_key(&create(&server, "cancel", "cancel"));
    let fail = json!({"do": "fail", "kind": "io", "message": "a secret"});
    let task = json!({"plugin": "misbehave", "input": fail, "max_attempts": 2, "backoff": {"first": "1h", "max": "1h"}});
    let id = admin.submit(&task).await;
    let record = admin.until_task(&id, "waits", |record| record["queue_state"] == "scheduled").await;
    assert!(record.text.contains("a secret"), "{}", record.text);
    let cancelled = cancel.post(&format!("/task/{id}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, StatusCode::OK, "{}", cancelled.text);
    assert!(
        cancelled.text.contains("\"cancelled\"") && !cancelled.text.contains("a secret"),
        "{}",
        cancelled.text
    );
}

#[tokio::test]
async fn a_revoked_key_is_out_within_two_seconds_also_in_streams() {
    let (server, admin, _) = server_with("admin", &[]).await;
    let reader = server.client().with_key(&create(&server, "reader", "read"));
    let id = admin.submit(&sleep(30_000)).await;
    admin.until(&id, "running").await;
    let mut all = reader.follow("/events", None).await;
    let mut one = reader.follow(&format!("/task/{id}/events"), None).await;
    let mut log = reader.follow(&format!("/task/{id}/logs"), None).await;
    let mut kept = admin.follow("/events", None).await;
    let waiting = reader.clone();
    let path = format!("/task/{id}/result?wait=60s");
    let waiting = tokio::spawn(async move { waiting.get(&path).await });
    assert_eq!([all.status, one.status, log.status], [StatusCode::OK; 3]);
    let revoked = Instant::now();
    key(&server, &["revoke", "reader"]);
    tokio::join!(all.drain(), one.drain(), log.drain());
    let waited = waiting.await.expect("an answer");
    assert!(revoked.elapsed() < CHANGE, "{:?}", revoked.elapsed());
    assert_eq!(waited.str("code"), "key-unknown");
    assert_eq!(reader.get("/stats").await.str("code"), "key-unknown");
    // The other key stays.
    admin.delete(&format!("/task/{id}")).await;
    assert!(kept.next().await.is_some());
}

#[tokio::test]
async fn a_rotation_loses_no_request() {
    let (server, client, old) = server_with("submit", &[]).await;
    let server = Arc::new(server);
    let rotating = Arc::clone(&server);
    let mut rotating =
        tokio::task::spawn_blocking(move || rotating.rotate_key("first", &["--overlap", "5s"]));
    let task = sleep(0);
    let new = loop {
        tokio::select! {
            new = &mut rotating => break new.expect("a key"),
            answer = client.post("/task", &task) => {
                assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
            }
        }
    };
    let renewed = server.client().with_key(&new);
    let start = Instant::now();
    while client.post("/task", &sleep(0)).await.json["code"] != "key-expired" {
        assert!(start.elapsed() < Duration::from_secs(15), "the old key does not end");
        assert_eq!(renewed.post("/task", &sleep(0)).await.status, StatusCode::CREATED);
    }
    assert_ne!(old[4..12], new[4..12]);
    let listed: Value = serde_json::from_str(&key(&server, &["list", "--json"])).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&json!("first"), &json!("first")));
}

#[tokio::test]
async fn a_bad_keys_file_keeps_the_last_good_one_and_says_so() {
    let (server, client, text) = server_with("admin", &[]).await;
    let file = server.folder().join("data/keys.toml");
    let good = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, format!("{good}[[key]]\nname = 'half")).expect("written");
    let stale = |metrics: &str| metrics.contains("\nwasmill_keys_stale 1");
    let start = Instant::now();
    while !stale(&client.get("/metrics").await.text) {
        assert!(start.elapsed() < CHANGE, "{}", server.log());
    }
    assert!(server.log().contains("keys.toml: line "), "{}", server.log());
    assert_eq!(server.client().get("/stats").await.status, StatusCode::UNAUTHORIZED);
    std::fs::write(&file, good).expect("written");
    let start = Instant::now();
    while stale(&client.get("/metrics").await.text) {
        assert!(start.elapsed() < CHANGE, "{}", server.log());
    }
    assert!(!server.log().contains(&text[13..]));
}

#[tokio::test]
async fn a_key_that_is_used_shows_when_and_is_nowhere() {
    let (server, client, text) = server_with("admin", &[]).await;
    client.submit(&sleep(1)).await;
    let start = Instant::now();
    let listed = loop {
        let listed: Value = serde_json::from_str(&key(&server, &["list", "--json"])).expect("JSON");
        if listed[0]["last_used_from"] == "127.0.0.1" {
            break listed;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{listed}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(listed[0]["last_used_at"].is_string() && listed[0]["expired"] == false, "{listed}");
    let metrics = client.get("/metrics").await.text;
    for name in ["wasmill_key_last_used_seconds", "wasmill_key_expires_seconds"] {
        assert!(metrics.contains(&format!("{name}{{key=\"first\",id=\"{}\"}}", &text[4..12])), "{metrics}");
    }
    let secret = &text.as_bytes()[13..];
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(!holds(server.log().as_bytes()) && !holds(metrics.as_bytes()));
    let mut files = 0;
    for entry in std::fs::read_dir(server.folder().join("data")).expect("a folder").flatten() {
        if entry.path().is_file() {
            files += 1;
            assert!(!holds(&std::fs::read(entry.path()).expect("a file")), "{:?}", entry.path());
        }
    }
    assert!(files >= 4, "{files}");
}

#[tokio::test]
async fn wrong_keys_are_throttled_and_lock_nobody_out() {
    let (server, client, _) = server_with("watch", &[]).await;
    let wrong = server.client().with_key("wmk_00000000_a-key-of-somebody-else-or-one-that-was-revoked");
    let mut codes = Vec::new();
    for _ in 0..21 {
        codes.push(wrong.get("/stats").await);
    }
    assert!(codes[..20].iter().all(|answer| answer.str("code") == "key-unknown"));
    let last = &codes[20];
    assert_eq!((last.status.as_u16(), last.str("code")), (429, "too-many-wrong-keys"));
    assert!(last.headers.contains_key("retry-after"));
    assert_eq!(client.get("/stats").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_debug_port_asks_for_a_key_with_all_rights() {
    let (server, _admin, text) = server_with("admin", &["--debug-listen", "127.0.0.1:0"]).await;
    let read = create(&server, "read", "read");
    let address = server.log().lines().find_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let is_it = event["message"].as_str()?.starts_with("debug port");
        is_it.then(|| event["address"].as_str()?.parse().ok())?
    });
    let debug = Client::new(address.expect("the log names it")).undocumented();
    for (client, status) in
        [(debug.clone(), 401), (debug.clone().with_key(&read), 403), (debug.with_key(&text), 200)]
    {
        assert_eq!(client.get("/debug/tasks").await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn with_keys_a_proxy_and_a_public_name_need_no_setting_and_pages_stay_out() {
    let (_server, client, _) = server_with("admin", &[]).await;
    let proxied = [("host", "tasks.example.org"), ("x-forwarded-for", "203.0.113.7")];
    let answer = client.send_with(Method::GET, "/stats", &proxied, None).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let page = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    let answer = client.send_with(Method::POST, "/pause", &page, None).await.expect("an answer");
    assert_eq!(answer.str("code"), "cross-origin");
}

#[tokio::test]
async fn commands_send_the_key_of_a_file_or_a_variable() {
    let (server, _, text) = server_with("admin", &[]).await;
    let url = format!("http://{}", server.address());
    let file = server.folder().join("key");
    std::fs::write(&file, &text).expect("written");
    let run = |args: &[&str], variable: Option<&str>| {
        let mut command = command(server.folder(), &[args, &["--server", &url]].concat());
        command.envs(variable.map(|key| ("WASMILL_KEY", key))).stdin(Stdio::null());
        let output = command.output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, why) = run(&["stats"], None);
    assert!(code == Some(2) && why.contains("WASMILL_KEY"), "{why}");
    assert_eq!(run(&["stats"], Some(&text)).0, Some(0));
    let named = file.to_str().expect("a path");
    let (_, why) = run(&["stats", "--key-file", named], None);
    assert!(why.contains("chmod 600"), "{why}");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("changed");
    assert_eq!(run(&["stats", "--key-file", named], None).0, Some(0));
    let (code, why) = run(&["stats"], Some(&text[..50]));
    assert!(code == Some(2) && why.contains("it is not a key") && !why.contains(&text[13..50]), "{why}");
}

#[test]
fn the_quick_start_of_docker_compose_works_and_is_not_reachable_from_outside() {
    let read = |file: &str| std::fs::read_to_string(repository().join(file)).expect("a file");
    let (compose, image) = (read("docker-compose.yaml"), read("host/Dockerfile"));
    let settings = |text: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        lines.map(ToOwned::to_owned).collect::<Vec<_>>().join("\n")
    };
    let (compose, image) = (settings(&compose), settings(&image));
    // The image refuses to listen without keys; Compose allows it, and publishes the port on loopback alone.
    assert!(image.contains("WASMILL_LISTEN=0.0.0.0:8080") && !image.contains("WASMILL_AUTH"), "{image}");
    assert!(compose.contains("\nWASMILL_AUTH: none\n"), "{compose}");
    let (_, ports) = compose.split_once("\nports:\n").expect("ports");
    let ports: Vec<_> = ports.lines().take_while(|line| line.starts_with('-')).collect();
    assert_eq!(ports, ["- \"127.0.0.1:8080:8080\""]);
}

/// A user who is not root, whose programs may read more of any process.
const NOBODY: u32 = 65_534;

/// Starts a server with a key in its environment as a user of no rights, and lets another program of that user read the
/// environment of the server.
fn environment_as_read_by_others(program: &Path, folder: &Path, args: &[&str]) -> std::process::Output {
    let as_nobody = |program: &Path| {
        let mut command = Command::new(program);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir(folder).env_clear();
        command
    };
    let mut server = as_nobody(program)
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .args(args)
        .env("WASMILL_ADMIN_KEY", "0123456789abcdef0123456789abcdef")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(server.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let is_serving = lines.by_ref().any(|line| line.contains("\"serving\""));
    let read = as_nobody(Path::new("cat")).arg(format!("/proc/{}/environ", server.id())).output();
    server.kill().expect("a process");
    server.wait().expect("its end");
    assert!(is_serving, "it does not start");
    read.expect("cat runs")
}

#[test]
fn other_programs_cannot_read_the_environment_of_a_server_with_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    // Where that user may read it.
    let program = folder.path().join("wasmill");
    std::fs::copy(binary().expect("a binary"), &program).expect("copied");
    if rustix::process::geteuid().is_root() {
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("given away");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("changed");
    }
    let read = environment_as_read_by_others(&program, folder.path(), &[]);
    assert!(!read.status.success() && read.stdout.is_empty(), "{read:?}");
    // Who debugs a server may read it, so the refusal was no accident.
    let read = environment_as_read_by_others(&program, folder.path(), &["--debug-listen", "127.0.0.1:0"]);
    assert!(String::from_utf8_lossy(&read.stdout).contains("WASMILL_ADMIN_KEY=0123"), "{read:?}");
}
