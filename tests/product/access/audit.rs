//! The audit: every change but a submit, who made it, and nothing else.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Server, sleep, wasmill};

/// Operations that change something and are not in the audit: their tasks name the key.
const UNTOLD: [&str; 4] = ["submitTask", "submitTasks", "signIn", "signOut"];

/// Returns the lines that `wasmill audit` shows of a server.
fn lines(server: &Server, args: &[&str]) -> Vec<Value> {
    let shown = wasmill(server.folder(), &[&["audit", "--json"], args].concat());
    assert_eq!(shown.code, 0, "{}", shown.err);
    shown.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn every_change_is_told_once_and_says_who() {
    let folder = Server::folder_with_guests();
    // The keys are there before the server, so that no request is needed to see that they count.
    let made = |name, scope| {
        let made = wasmill(folder.path(), &["key", "create", name, "--scope", scope]);
        assert_eq!(made.code, 0, "{}", made.err);
        made.out.trim().to_owned()
    };
    let (admin, watcher) = (made("ada", "admin"), made("bob", "watch"));
    let mut server = Server::start_in(folder, &["--allow-upload"]).expect("a server");
    server.wait_for_plugins();
    let client = server.client().with_key(&admin).undocumented();
    let document = client.get("/openapi.json").await.json;
    let mut changes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            if method != "get" {
                let id = operation["operationId"].as_str().expect("an id").to_owned();
                changes.push((id, method.to_uppercase(), path.replace(['{', '}'], "")));
            }
        }
    }
    // Last, since nothing is accepted then.
    changes.sort_by_key(|(_, _, path)| path == "/drain");
    assert!(changes.len() > 15, "{changes:?}");
    let mut expected = BTreeMap::new();
    for (id, method, path) in changes {
        let method = method.parse::<Method>().expect("a method");
        let answer = client.send(method, &path, None).await.expect("an answer");
        if !UNTOLD.contains(&id.as_str()) {
            expected.insert(id, (path, answer.status.as_u16()));
        }
    }
    assert_eq!(client.get("/stats").await.status, StatusCode::OK);
    // A change that is refused is written, too; one without a key is not, since anybody could fill the disk with those.
    let refused = server.client().with_key(&watcher).post("/drain", &json!({})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(server.client().post("/drain", &json!({})).await.status, StatusCode::UNAUTHORIZED);
    assert!(server.terminate().success(), "{}", server.log());
    let by_ada = lines(&server, &["--since", "1h", "--who", "ada"]);
    assert_eq!(by_ada.len(), expected.len(), "{by_ada:?}");
    for line in &by_ada {
        let (path, outcome) =
            expected.remove(line["did"].as_str().expect("an operation")).expect("one line each");
        assert_eq!((&line["path"], &line["outcome"]), (&json!(path), &json!(outcome)));
        assert_eq!((&line["from"], &line["who"]["key"]), (&json!("127.0.0.1"), &json!(&admin[4..12])));
    }
    assert!(expected.is_empty(), "missing: {expected:?}");
    let by_bob = lines(&server, &["--who", &watcher[4..12]]);
    assert_eq!((by_bob.len(), &by_bob[0]["outcome"]), (1, &json!(403)), "{by_bob:?}");
    assert_eq!(lines(&server, &[]).len(), by_ada.len() + 1);
    assert!(lines(&server, &["--since", "0s"]).is_empty());
    let table = wasmill(server.folder(), &["audit"]);
    assert!(table.out.contains("bob") && table.out.contains("/drain"), "{}", table.out);
    let mode = server.folder().join("data/audit.log").metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn no_secret_and_no_payload_is_in_the_audit() {
    let mut server = Server::start(&[]);
    let client = server.client();
    let task = json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 1, "note": "a-payload"}});
    client.submit(&task).await;
    let schedule = json!({"cron": "0 0 1 1 *", "task": task});
    assert_eq!(client.put_schedule("yearly", &schedule).await.status, StatusCode::CREATED);
    // In the open mode it is nobody.
    let key = server.create_key("ada", &["--scope", "admin"]);
    let with_key = client.with_key(&key).undocumented();
    with_key.post(&format!("/pause?key={key}"), &json!({})).await;
    assert!(server.terminate().success(), "{}", server.log());
    let lines = lines(&server, &[]);
    assert_eq!((&lines[0]["did"], &lines[0]["who"]), (&json!("putSchedule"), &Value::Null), "{lines:?}");
    // That there is a key now is another line.
    let of_requests: Vec<_> = lines.iter().filter(|line| line["did"] != "keyNew").collect();
    assert_eq!((of_requests.len(), &of_requests[1]["path"]), (2, &json!("/pause")), "{lines:?}");
    let text = std::fs::read_to_string(server.folder().join("data/audit.log")).expect("a file");
    assert!(!text.contains("a-payload") && !text.contains(&key[13..]), "{text}");
}

#[tokio::test]
async fn a_full_disk_stops_the_audit_and_not_the_work() {
    let server = Server::start(&["--audit-file", "/dev/full"]);
    let client = server.client();
    for _ in 0..10 {
        assert_eq!(client.post("/pause", &json!({})).await.status, StatusCode::OK);
        assert_eq!(client.post("/resume", &json!({})).await.status, StatusCode::OK);
    }
    let start = std::time::Instant::now();
    while !client.get("/metrics").await.text.contains("\nwasmill_audit_lost_total 20.0\n") {
        assert!(start.elapsed().as_secs() < 30, "{}", client.get("/metrics").await.text);
    }
    let id = client.submit(&sleep(1)).await;
    client.until(&id, "completed").await;
    assert!(server.log().contains("failed to write the audit"), "{}", server.log());
    let attention = client.get("/attention").await;
    assert!(attention.text.contains("20 lines of the audit could not be written"), "{}", attention.text);
}

#[tokio::test]
async fn what_the_server_keeps_is_for_its_user_alone() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&sleep(1)).await;
    client.until(&id, "completed").await;
    assert_eq!(client.post("/pause", &json!({})).await.status, StatusCode::OK);
    server.create_key("ada", &["--scope", "admin"]);
    let backup = wasmill(server.folder(), &["backup", "backup.db"]);
    // The tasks may be in PostgreSQL.
    let has_backup = backup.code == 0;
    let mut folders = vec![server.folder().join("data")];
    let mut files = 0;
    let mode = |path: &Path| path.symlink_metadata().expect("a file").permissions().mode() & 0o777;
    if has_backup {
        assert_eq!(mode(&server.folder().join("backup.db")), 0o600);
    }
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder) & 0o077, 0, "{}", folder.display());
        for entry in folder.read_dir().expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
                assert_eq!(mode(&entry.path()) & 0o077, 0, "{}", entry.path().display());
            }
        }
    }
    assert!(files > 3, "{files}");
}

#[tokio::test]
async fn the_audit_may_be_in_the_log_and_a_file_that_cannot_be_written_refuses_the_start() {
    let server = Server::start(&["--audit-file", "-"]);
    assert_eq!(server.client().post("/pause", &json!({})).await.status, StatusCode::OK);
    let start = std::time::Instant::now();
    while !server.log().contains("\"did\":\"pauseServer\"") && !server.log().contains("/pause") {
        assert!(start.elapsed().as_secs() < 30, "{}", server.log());
    }
    let shown = wasmill(server.folder(), &["audit", "--audit-file", "-"]);
    assert!(shown.code == 2 && shown.err.contains("in the log"), "{}", shown.err);
    let folder = tempfile::tempdir().expect("a folder");
    let refused =
        wasmill(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--audit-file", "no/folder/audit.log"]);
    assert!(refused.code != 0 && refused.err.contains("--audit-file"), "{} {}", refused.code, refused.err);
}

#[tokio::test]
async fn counts_digests_and_changes_of_keys_are_told() {
    let mut server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let of_misbehave = client.get("/plugins/misbehave").await.json["digest"].clone();
    for _ in 0..3 {
        client.submit(&sleep(600_000)).await;
    }
    let cancelled = client.post("/task/cancel?plugin=misbehave", &json!({})).await;
    assert_eq!(cancelled.json["cancelled"], 3, "{}", cancelled.text);
    let retried = client.post("/task/retry?plugin=misbehave&state=cancelled", &json!({})).await;
    assert_eq!(retried.json["retried"], 3, "{}", retried.text);
    let added = client.put_plugin("misbehave", wasmill_tests::NOOP).await.json["digest"].clone();
    assert_eq!(client.delete("/plugins/misbehave").await.status, StatusCode::NO_CONTENT);
    let wait = async || tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
    server.create_key("ada", &["--scope", "admin"]);
    assert_eq!(wasmill(server.folder(), &["key", "revoke", "ada"]).code, 0);
    wait().await;
    std::fs::write(server.folder().join("data/keys.toml"), "no = keys").expect("written");
    wait().await;
    assert!(server.terminate().success(), "{}", server.log());
    let lines = lines(&server, &[]);
    let of = |did: &str| {
        lines.iter().find(|line| line["did"] == did).unwrap_or_else(|| panic!("{did}: {lines:?}"))
    };
    assert_eq!((&of("cancelTasks")["count"], &of("retryTasks")["count"]), (&json!(3), &json!(3)));
    let put = of("putPlugin");
    assert_eq!((&put["digest_before"], &put["digest_after"]), (&of_misbehave, &added));
    let deleted = of("deletePlugin");
    assert_eq!((&deleted["digest_before"], &deleted["digest_after"]), (&added, &Value::Null));
    for did in ["keyNew", "keyGone"] {
        assert!(of(did)["path"].as_str().is_some_and(|path| path.starts_with("ada ")), "{lines:?}");
    }
    assert!(of("keysBad")["outcome"].is_null());
    let table = wasmill(server.folder(), &["audit"]);
    assert!(table.out.contains("(3 tasks)") && table.out.contains("keyGone"), "{}", table.out);
}

#[tokio::test]
async fn without_a_line_nothing_is_changed_if_the_settings_say_so() {
    let server = Server::start(&["--audit-file", "/dev/full", "--audit-required"]);
    let client = server.client();
    for (method, path) in [
        (Method::POST, "/pause"),
        (Method::POST, "/drain"),
        (Method::POST, "/task/cancel?all=true"),
        (Method::DELETE, "/schedules/nightly"),
    ] {
        let refused = client.send(method, path, None).await.expect("an answer");
        assert_eq!((refused.status.as_u16(), refused.str("code")), (503, "audit-unavailable"), "{path}");
        assert!(refused.headers.contains_key("retry-after"));
    }
    // A form of the dashboard does what its operation does.
    let pages = client.clone().undocumented();
    let form = Some(("application/x-www-form-urlencoded", b"action=pause".to_vec()));
    let pressed = pages.send(Method::POST, "/ui/do", form).await.expect("an answer");
    assert!(pressed.text.contains("audit-unavailable"), "{}", pressed.text);
    assert_eq!(client.get("/stats").await.json["paused"], false);
    let id = client.submit(&sleep(1)).await;
    client.until(&id, "completed").await;
    let lost = "\nwasmill_audit_lost_total 5.0\n";
    assert!(client.get("/metrics").await.text.contains(lost), "{}", client.get("/metrics").await.text);
}

#[tokio::test]
async fn a_required_audit_tells_each_change_before_it_begins() {
    let mut server = Server::start(&["--audit-required"]);
    let client = server.client();
    let id = client.submit(&sleep(600_000)).await;
    assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.post("/task/cancel?all=maybe", &json!({})).await.status.as_u16(), 422);
    assert!(server.terminate().success(), "{}", server.log());
    let told: Vec<_> = lines(&server, &[])
        .iter()
        .map(|line| (line["did"].as_str().expect("an operation").to_owned(), line["outcome"].clone()))
        .collect();
    let line = |did: &str, outcome: Value| (did.to_owned(), outcome);
    let expected = [
        line("deleteTask", Value::Null),
        line("deleteTask", json!(204)),
        line("cancelTasks", Value::Null),
        line("cancelTasks", json!(422)),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn reads_of_contents_are_told_if_the_settings_say_so() {
    let mut server = Server::start(&["--audit-reads"]);
    let key = server.create_key("ada", &["--scope", "admin"]);
    let client = server.client().with_key(&key);
    let id = client.submit(&sleep(1)).await;
    client.until(&id, "completed").await;
    let paths = ["result", "input", "logs", "activity"].map(|part| format!("/task/{id}/{part}"));
    for path in &paths {
        client.get(path).await;
    }
    client.get("/task?limit=1").await;
    // These show no contents.
    for path in ["/stats", "/plugins", "/healthz", &format!("/task/{id}/why")] {
        client.get(path).await;
    }
    let pages = client.undocumented();
    assert_eq!(pages.get(&format!("/ui/task/{id}/input")).await.status, StatusCode::OK);
    assert!(server.terminate().success(), "{}", server.log());
    let lines = lines(&server, &["--who", "ada"]);
    let told = |path: &str| lines.iter().filter(|line| line["path"] == path).count();
    for path in &paths {
        assert!(told(path) >= 1, "{path}: {lines:?}");
    }
    assert_eq!((told("/task?limit=1"), told("/stats"), told("/plugins")), (1, 0, 0), "{lines:?}");
    // The page asked for it in the name of its reader.
    assert!(told(&format!("/task/{id}/input")) == 2, "{lines:?}");
    assert!(lines.iter().all(|line| line["did"] != ""), "{lines:?}");
}
