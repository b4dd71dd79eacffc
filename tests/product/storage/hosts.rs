//! Several servers on one PostgreSQL are one. Without PostgreSQL these tests are skipped.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wasmill_tests::{Client, PostgresServer, Server, Signer, sleep, wasmill};

/// Within this time the tasks of a dead host run elsewhere. A busy machine gets some more.
const TAKEN_OVER: Duration = Duration::from_secs(40);

/// A host knows what another one did.
const SOON: Duration = Duration::from_secs(30);

/// Starts servers on an empty database, whose plugin `misbehave` has this manifest.
fn servers<const N: usize>(database: &str, manifest: &str, args: &[&str]) -> Option<[Server; N]> {
    let url = PostgresServer::shared()?.create(database);
    let start = |_| {
        let folder = Server::folder_with_guests();
        std::fs::write(folder.path().join("plugins/misbehave.toml"), manifest).expect("written");
        let args = [&["--database", &url, "--database-migrate", "--slots", "4"], args].concat();
        let server = Server::start_in(Arc::clone(&folder), &args).expect("a server");
        server.wait_for_plugins();
        server
    };
    Some(std::array::from_fn(start))
}

async fn eventually(what: &str, deadline: Duration, condition: impl AsyncFn() -> bool) {
    let until = Instant::now() + deadline;
    while !condition().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Submits a task until it runs at the server that was asked: an idle one claims what it accepts, unless it is slow.
async fn run_at(client: &Client, task: &Value) -> String {
    loop {
        let id = client.submit(task).await;
        client.until(&id, "running").await;
        if used(client).await == 1 {
            return id;
        }
        assert_eq!(client.delete(&format!("/task/{id}")).await.status, 204);
    }
}

async fn used(client: &Client) -> u64 {
    client.slots_used().await
}

#[tokio::test]
async fn every_host_answers_for_all_tasks() {
    let Some([a, b]) = servers::<2>("alike", "", &[]) else { return };
    let (a, b) = (a.client(), b.client());
    let id = a.submit(&json!({"plugin": "misbehave", "input": {"do": "echo", "text": "hello"}})).await;
    let task = b.get(&format!("/task/{id}/result?wait=30s")).await;
    assert_eq!(task.status, 200, "{}", task.text);
    b.until(&id, "completed").await;
    assert_eq!(
        b.get(&format!("/task/{id}/result")).await.text,
        a.get(&format!("/task/{id}/result")).await.text
    );
    let hosts = b.get("/hosts").await;
    let shown: Vec<_> = hosts.json.as_array().expect("an array").iter().collect();
    assert_eq!(shown.len(), 2, "{}", hosts.text);
    assert_eq!((&shown[0]["this"], &shown[1]["this"]), (&json!(false), &json!(true)), "{}", hosts.text);
    assert!(shown.iter().all(|host| host["state"] == "live"), "{}", hosts.text);
    eventually("the counts agree", TAKEN_OVER, async || {
        let (of_a, of_b) = (a.get("/stats").await.json, b.get("/stats").await.json);
        of_a["finished"]["completed"] == 1 && of_a["finished"] == of_b["finished"]
    })
    .await;
    assert_eq!(b.delete(&format!("/task/{id}")).await.status, 204);
    assert_eq!(a.get(&format!("/task/{id}")).await.status, 404);
}

#[tokio::test]
async fn a_delete_at_one_host_stops_the_guest_at_another() {
    let Some([a, b]) = servers::<2>("deleted", "", &[]) else { return };
    let (a, b) = (a.client(), b.client());
    for task in [json!({"do": "spin"}), json!({"do": "sleep", "ms": 600_000})] {
        let id = run_at(&b, &json!({"plugin": "misbehave", "input": task})).await;
        let began = Instant::now();
        let deleted = a.delete(&format!("/task/{id}")).await;
        assert_eq!(deleted.status, 204, "{}", deleted.text);
        println!("DELETE at another host: {:?}", began.elapsed());
        eventually("its slot is free", SOON, async || used(&b).await == 0).await;
        assert_eq!(b.get(&format!("/task/{id}")).await.status, 404);
    }
    let id = run_at(&b, &json!({"plugin": "misbehave", "input": {"do": "spin"}})).await;
    let cancelled = a.post("/task/cancel?all=true", &json!({})).await;
    assert_eq!(cancelled.json["cancelled"], 1, "{}", cancelled.text);
    b.until(&id, "cancelled").await;
    eventually("its slot is free", SOON, async || used(&b).await == 0).await;
}

#[tokio::test]
async fn the_tasks_of_a_killed_host_run_elsewhere() {
    let Some([a, mut b, c]) = servers::<3>("killed", "", &[]) else { return };
    let id = run_at(&b.client(), &sleep(2_000)).await;
    let killed = Instant::now();
    b.kill();
    let (a, c) = (a.client(), c.client());
    let task = a.until_task(&id, "running elsewhere", |task| task["attempt"] == 2).await;
    println!("kill -9 to the next start at another host: {:?}", killed.elapsed());
    assert!(killed.elapsed() < TAKEN_OVER, "{}", task.text);
    let task = c.until(&id, "completed").await;
    assert_eq!((&task.json["attempt"], &task.json["host_crashes"]), (&json!(2), &json!(1)), "{}", task.text);
    eventually("it is forgotten", TAKEN_OVER, async || {
        c.get("/hosts").await.json.as_array().map(Vec::len) == Some(2)
    })
    .await;
}

#[tokio::test]
async fn a_run_at_another_host_shows_what_it_reports() {
    let Some([a, b]) = servers::<2>("live", "", &[]) else { return };
    let (a, b) = (a.client(), b.client());
    let task = json!({"do": "progress", "fraction": 0.25, "note": "a quarter", "ms": 600_000});
    let id = run_at(&b, &json!({"plugin": "misbehave", "input": task})).await;
    let path = format!("/task/{id}");
    let has_progress = |task: &Value| task["progress"]["note"] == "a quarter";
    let at_a = a.until_task(&id, "shows its progress", has_progress).await.json;
    let at_b = b.get(&path).await.json;
    for key in ["progress", "plugin_digest"] {
        assert_eq!(at_a[key], at_b[key]);
    }
    assert_eq!(at_a["usage"]["instantiate_us"], at_b["usage"]["instantiate_us"], "{at_a} {at_b}");
    let listed = a.get("/task?state=running").await.json;
    assert_eq!(listed[0]["progress"], at_a["progress"], "{listed}");
    let status = a.get(&format!("{path}/status")).await.json;
    assert_eq!(status["progress"], at_a["progress"], "{status}");
    assert_eq!(a.delete(&path).await.status, 204);
}

#[tokio::test]
async fn the_log_of_a_run_at_another_host_is_followed_without_gap_or_repetition() {
    let Some([a, b]) = servers::<2>("followed", "", &["--log-tail", "64KiB"]) else { return };
    let (a, b) = (a.client(), b.client());
    let task = json!({"do": "lines", "count": 150, "ms": 20});
    let id = run_at(&b, &json!({"plugin": "misbehave", "input": task})).await;
    let (path, began) = (format!("/task/{id}"), Instant::now());
    let log = a.get(&path).await;
    assert!(log.str("log").starts_with("line 1\n"), "{}", log.text);
    println!("the first look at a log at another host: {:?}", began.elapsed());
    let lines = a.get(&format!("{path}/logs?after=1&limit=1")).await;
    assert_eq!(lines.json[0]["text"], "line 2", "{}", lines.text);
    let mut streams =
        [a.follow(&format!("{path}/logs"), None).await, b.follow(&format!("{path}/logs"), None).await];
    let mut seen = Vec::new();
    for stream in &mut streams {
        seen.push(stream.rest().await);
    }
    assert_eq!(seen[0], seen[1]);
    let names: Vec<_> = seen[0].iter().map(|event| event.name.as_str()).collect();
    assert_eq!((names.len(), names.last()), (151, Some(&"end")), "{names:?}");
    assert!(names[..150].iter().all(|name| *name == "log"), "{names:?}");
}

/// The attempts that have written into a ledger, in this order.
fn ledger(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

#[tokio::test]
async fn a_stopped_host_runs_nothing_once_others_may() {
    let shared = tempfile::tempdir().expect("a folder");
    let manifest = format!(
        "allow.dirs = [{{ host = \"{}\", guest = \"/out\", write = true }}]",
        shared.path().display()
    );
    let Some([a, b]) = servers::<2>("stopped", &manifest, &[]) else { return };
    let task = json!({"do": "ledger", "file": "/out/ledger", "lines": 400, "ms": 20});
    let id = run_at(&b.client(), &json!({"plugin": "misbehave", "input": task})).await;
    let file = shared.path().join("ledger");
    eventually("it writes", TAKEN_OVER, async || !ledger(&file).is_empty()).await;
    b.pause();
    let stopped = Instant::now();
    eventually("another host runs it", TAKEN_OVER, async || ledger(&file).last() == Some(&2)).await;
    println!("SIGSTOP to the next start at another host: {:?}", stopped.elapsed());
    b.resume();
    let (a, b) = (a.client(), b.client());
    let task = a.until(&id, "completed").await;
    assert_eq!((&task.json["attempt"], &task.json["host_crashes"]), (&json!(2), &json!(1)), "{}", task.text);
    let lines = ledger(&file);
    // A write that was under way when the host was stopped ends when the host continues: nobody can take it back.
    let late = lines.iter().skip_while(|attempt| **attempt == 1).filter(|attempt| **attempt == 1).count();
    assert!(late <= 1, "the first attempt continued beside the second: {lines:?}");
    assert_eq!(lines.iter().filter(|attempt| **attempt == 2).count(), 400);
    eventually("it serves again", TAKEN_OVER, async || b.get("/readyz").await.status == 200).await;
    eventually("its run is over", TAKEN_OVER, async || used(&b).await == 0).await;
    let id = b.submit(&json!({"plugin": "noop"})).await;
    b.until(&id, "completed").await;
}

#[tokio::test]
async fn the_concurrency_of_a_plugin_is_that_of_all_servers() {
    let Some(servers) = servers::<3>("limited", "limits.concurrency = 3", &[]) else { return };
    let clients = servers.each_ref().map(Server::client);
    let mut ids = Vec::new();
    for client in clients.iter().cycle().take(12) {
        ids.push(client.submit(&sleep(400)).await);
    }
    let mut most = 0;
    let counted = async {
        loop {
            for client in &clients {
                let stats = client.get("/stats").await;
                most = most.max(stats.json["running"].as_u64().expect("a number"));
            }
        }
    };
    let finished = async {
        for id in &ids {
            clients[1].until(id, "completed").await;
        }
    };
    tokio::select! {
        () = counted => {}
        () = finished => {}
    }
    assert_eq!(most, 3);
    let hosts = clients[0].get("/hosts").await;
    assert_eq!(hosts.json.as_array().map(Vec::len), Some(3), "{}", hosts.text);
    let paused = clients[0].post("/pause", &json!({})).await;
    assert_eq!(paused.status, 200, "{}", paused.text);
    let waits = clients[1].submit(&sleep(0)).await;
    eventually("the others show the pause", TAKEN_OVER, async || {
        clients[2].get("/stats").await.json["paused"] == true
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(clients[2].get(&format!("/task/{waits}")).await.json["attempt"], 0);
    clients[1].post("/resume", &json!({})).await;
    clients[0].until(&waits, "completed").await;
}

/// The published version and the digest in service of a plugin.
async fn in_service(client: &Client, name: &str) -> (Value, Value) {
    let plugin = client.get(&format!("/plugins/{name}")).await.json;
    (plugin["version"].clone(), plugin["in_service"].clone())
}

#[tokio::test]
async fn a_plugin_of_one_host_runs_at_all() {
    let Some([a, b]) = servers::<2>("plugins", "", &["--allow-upload"]) else { return };
    let (of_a, of_b) = (a.client(), b.client());
    let digest = async |client: &Client| in_service(client, "fresh").await.1;
    // Uploaded, replaced, and run where it was not uploaded.
    let put = of_a.put_plugin("fresh", wasmill_tests::NOOP).await;
    assert_eq!(put.status, 201, "{}", put.text);
    assert!(put.json["version"].as_i64() > Some(0), "{}", put.text);
    eventually("b has it", SOON, async || digest(&of_b).await == put.json["digest"]).await;
    let id = run_or_complete(&of_b, "fresh").await;
    assert_eq!(of_a.get(&format!("/task/{id}")).await.json["plugin_digest"], put.json["digest"]);
    let replaced = of_b.put_plugin("fresh", wasmill_tests::HELLO).await;
    assert!(replaced.json["version"].as_i64() > put.json["version"].as_i64(), "{}", replaced.text);
    eventually("a has the newer one", SOON, async || digest(&of_a).await == replaced.json["digest"]).await;
    eventually("all hosts say so", SOON, async || {
        let hosts = of_a.get("/hosts").await.json;
        hosts
            .as_array()
            .expect("hosts")
            .iter()
            .all(|host| host["plugins_version"] == replaced.json["version"])
    })
    .await;
    // With a manifest, dropped into the folder of one host.
    let folder = a.folder().join("plugins");
    std::fs::write(folder.join("dropped.toml"), "description = \"of a\"\n").expect("written");
    std::fs::write(folder.join("dropped.wasm"), wasmill_tests::NOOP).expect("written");
    eventually("b has it with its manifest", SOON, async || {
        of_b.get("/plugins/dropped").await.json["description"] == "of a"
    })
    .await;
    std::fs::remove_file(folder.join("dropped.wasm")).expect("removed");
    eventually("b has it no more", SOON, async || of_b.get("/plugins/dropped").await.status == 404).await;
    assert_eq!(of_a.delete("/plugins/fresh").await.status, 204);
    eventually("nobody has it", SOON, async || {
        of_a.get("/plugins/fresh").await.json["in_service"].is_null()
            && of_b.get("/plugins/fresh").await.json["in_service"].is_null()
    })
    .await;
}

async fn run_or_complete(client: &Client, plugin: &str) -> String {
    let id = client.submit(&json!({"plugin": plugin})).await;
    client.until(&id, "completed").await;
    id
}

#[tokio::test]
async fn a_host_that_starts_with_older_files_runs_what_the_others_run() {
    let Some([a, b]) = servers::<2>("older", "", &["--allow-upload"]) else { return };
    let (of_a, of_b) = (a.client(), b.client());
    let file = b.folder().join("plugins/changing.wasm");
    std::fs::write(&file, wasmill_tests::NOOP).expect("written");
    eventually("a has it", SOON, async || of_a.get("/plugins/changing").await.json["state"] == "ready").await;
    let newer = of_a.put_plugin("changing", wasmill_tests::HELLO).await.json;
    eventually("b runs the newer one", SOON, async || {
        in_service(&of_b, "changing").await.1 == newer["digest"]
    })
    .await;
    let b = b.kill_and_restart();
    let of_b = b.client();
    let started = of_b.get("/plugins/changing").await.json;
    assert_eq!(
        (&started["in_service"], &started["version"]),
        (&newer["digest"], &newer["version"]),
        "{started}"
    );
    assert_eq!(in_service(&of_a, "changing").await, (newer["version"].clone(), newer["digest"].clone()));
    assert!(b.log().contains("the file of this host does not run"), "{}", b.log());
    // A change while it is up is news.
    std::fs::write(&file, wasmill_tests::FLOOD).expect("written");
    eventually("a has it", SOON, async || {
        let (version, digest) = in_service(&of_a, "changing").await;
        version.as_i64() > newer["version"].as_i64() && digest == in_service(&of_b, "changing").await.1
    })
    .await;
}

#[tokio::test]
async fn a_host_trusts_what_another_one_has_published_by_its_own_rules() {
    let Some(database) = PostgresServer::shared() else { return };
    let url = database.create("trust");
    let signer = Signer::new();
    let start = |args: &[&str]| {
        let folder = Server::folder_with_guests();
        std::fs::write(folder.path().join("keys.pub"), signer.public()).expect("written");
        let keys = folder.path().join("keys.pub").to_str().expect("UTF-8").to_owned();
        let mut all = vec!["--database", &url, "--database-migrate"];
        all.extend(args);
        if args.contains(&"signed") {
            all.extend(["--plugin-keys", &keys]);
        }
        Server::start_in(folder, &all).expect("a server")
    };
    let any = start(&["--allow-upload"]);
    let signed = start(&["--plugin-trust", "signed"]);
    let listed = start(&["--plugin-trust", "listed"]);
    let (of_any, of_signed, of_listed) = (any.client(), signed.client(), listed.client());
    let reason = async |client: &Client, said: &str| {
        let plugin = client.get("/plugins/fresh").await.json;
        plugin["reason"].as_str().is_some_and(|reason| reason.contains(said))
            && plugin["in_service"].is_null()
    };
    assert_eq!(of_any.put_plugin("fresh", wasmill_tests::NOOP).await.status, 201);
    eventually("it is not signed", SOON, async || reason(&of_signed, "is not signed").await).await;
    eventually("it is not listed", SOON, async || reason(&of_listed, "is not listed").await).await;
    // Its signature is published with it, and each host has a list of its own.
    let file = any.folder().join("plugins/fresh.wasm");
    std::fs::write(file.with_extension("wasm.minisig"), signer.sign(wasmill_tests::HELLO, "file:fresh.wasm"))
        .expect("written");
    std::fs::write(&file, wasmill_tests::HELLO).expect("written");
    eventually("another one is not listed", SOON, async || {
        let plugin = of_listed.get("/plugins/fresh").await.json;
        plugin["digest"] == of_any.get("/plugins/fresh").await.json["in_service"]
            && plugin["state"] == "rejected"
    })
    .await;
    let trusted = wasmill(listed.folder(), &["plugin", "trust", file.to_str().expect("UTF-8")]);
    assert_eq!(trusted.code, 0, "{trusted:?}");
    for client in [&of_signed, &of_listed] {
        eventually("it is trusted", SOON, async || {
            client.get("/plugins/fresh").await.json["state"] == "ready"
        })
        .await;
    }
    assert_eq!(of_signed.get("/plugins/misbehave").await.json["state"], "rejected");
}

#[tokio::test]
async fn a_shared_plugin_that_lacks_a_secret_or_a_folder_runs_once_it_is_there() {
    let Some(database) = PostgresServer::shared() else { return };
    let url = database.create("lacks");
    let granted = tempfile::tempdir().expect("a folder");
    let start = |has_all: bool| {
        let folder = Server::folder_with_guests();
        let secret = folder.path().join("KEY");
        std::fs::write(
            folder.path().join("wasmill.toml"),
            format!("[secrets]\nKEY = {{ file = {secret:?} }}\n"),
        )
        .expect("written");
        if has_all {
            std::fs::write(&secret, "long enough").expect("written");
        }
        Server::start_in(folder, &["--database", &url, "--database-migrate"]).expect("a server")
    };
    let (has, lacks) = (start(true), start(false));
    let (of_has, of_lacks) = (has.client(), lacks.client());
    let publish = |name: &str, manifest: &str| {
        let file = has.folder().join(format!("plugins/{name}.wasm"));
        std::fs::write(file.with_extension("toml"), manifest).expect("written");
        std::fs::write(file, wasmill_tests::NOOP).expect("written");
    };
    let state = async |client: &Client, name: &str| {
        client.get(&format!("/plugins/{name}")).await.json["state"].clone()
    };
    let folder = granted.path().join("later");
    std::fs::create_dir(&folder).expect("created");
    publish("secretive", "allow.secrets = { KEY = { reveal = true } }\n");
    publish("filing", &format!("allow.dirs = [{{ host = {folder:?}, guest = \"/f\" }}]\n"));
    for name in ["secretive", "filing"] {
        eventually("its own host runs it", SOON, async || state(&of_has, name).await == "ready").await;
    }
    eventually("it lacks the secret", SOON, async || state(&of_lacks, "secretive").await == "rejected").await;
    std::fs::write(lacks.folder().join("KEY"), "long enough").expect("written");
    eventually("it has the secret", SOON, async || state(&of_lacks, "secretive").await == "ready").await;
    eventually("it has the folder", SOON, async || state(&of_lacks, "filing").await == "ready").await;
    let rejected = lacks.log().matches("rejected what another host has published").count();
    assert_eq!(rejected, 1, "{}", lacks.log());
}
