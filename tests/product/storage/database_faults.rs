//! What PostgreSQL and hosts may do wrong, one by one: the table in `docs/explanation/failures.md` names these tests.
//! Without PostgreSQL they are skipped.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;
use wasmill_tests::{Client, PostgresServer, Server, WrongClock, sleep};

/// Within this time the tasks of a dead host run elsewhere. A busy machine gets some more.
const TAKEN_OVER: Duration = Duration::from_secs(40);

const WAITS: Duration = Duration::from_secs(30);

fn server(url: &str) -> Server {
    Server::start(&["--database", url, "--database-migrate", "--slots", "4"])
}

async fn eventually(what: &str, deadline: Duration, condition: impl AsyncFn() -> bool) {
    let until = Instant::now() + deadline;
    while !condition().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_ready(client: &Client, status: StatusCode) {
    eventually("readiness changes", WAITS, async || client.get("/readyz").await.status == status).await;
}

#[tokio::test]
async fn a_run_outlives_a_restart_a_crash_and_a_killed_process_of_the_database() {
    let Some(postgres) = PostgresServer::start("") else { return };
    let (a, b) = (server(&postgres.url("postgres")), server(&postgres.url("postgres")));
    let (of_a, of_b) = (a.client(), b.client());
    let sleeper = of_a.submit(&sleep(10_000)).await;
    of_a.until(&sleeper, "running").await;
    let mut ids = Vec::new();
    for fault in ["restart", "crash", "a killed process"] {
        match fault {
            "restart" => postgres.restart(),
            "crash" => postgres.crash(),
            _ => {
                let writer =
                    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'wasmill writer%' LIMIT 1";
                postgres.kill_backend(&postgres.run("postgres", writer));
            }
        }
        for client in [&of_a, &of_b] {
            let began = Instant::now();
            // Not `submit`, which tries again.
            let answer = client.post("/task", &json!({"plugin": "noop"})).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{fault}: {}", answer.text);
            println!("{fault}: stored after {:?}", began.elapsed());
            ids.push(answer.str("id").to_owned());
            let read = client.get(&format!("/task/{sleeper}")).await;
            assert_eq!(read.status, StatusCode::OK, "{fault}: {}", read.text);
        }
    }
    for id in ids.iter().chain([&sleeper]) {
        let task = of_b.until(id, "completed").await.json;
        assert_eq!((&task["attempt"], &task["host_crashes"]), (&json!(1), &json!(0)), "{task}");
    }
}

#[tokio::test]
async fn a_host_without_a_free_connection_does_not_start_and_the_others_continue() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let url = postgres.create("exhausted");
    let first = server(&url);
    postgres.run(
        "exhausted",
        "CREATE ROLE few LOGIN CONNECTION LIMIT 5; GRANT USAGE ON SCHEMA wasmill TO few;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA wasmill TO few",
    );
    let few = url.replacen("wasmill@", "few@", 1);
    let client = first.client();
    let mut second = Server::start(&["--database", &few, "--slots", "4"]);
    let of_second = second.client();
    let id = of_second.submit(&json!({"plugin": "noop"})).await;
    of_second.until(&id, "completed").await;
    // What it holds it keeps, and others find nothing left.
    let held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'few'";
    eventually("it holds its connections", WAITS, async || {
        of_second.get("/task").await;
        of_second.get("/stats").await;
        postgres.run("exhausted", held).parse::<u32>().expect("a number") >= 3
    })
    .await;
    // A read may want one more than it held when the limit sank.
    second.expect_errors();
    postgres.run("exhausted", "ALTER ROLE few CONNECTION LIMIT 3");
    let refused =
        Server::start_in(Server::folder_with_guests(), &["--database", &few]).err().expect("refused");
    for words in ["too many connections", "raise max_connections of the server"] {
        assert!(refused.to_string().contains(words), "{refused}");
    }
    for client in [&client, &of_second] {
        let id = client.submit(&json!({"plugin": "noop"})).await;
        client.until(&id, "completed").await;
    }
    assert!(second.terminate().success());
}

#[tokio::test]
async fn a_host_that_is_cut_from_the_database_says_so_and_comes_back() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let url = postgres.create("cut_off");
    let a = server(&url);
    postgres.run(
        "cut_off",
        "CREATE ROLE other LOGIN; GRANT USAGE ON SCHEMA wasmill TO other;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA wasmill TO other",
    );
    let b = Server::start(&["--database", &url.replacen("wasmill@", "other@", 1), "--slots", "4"]);
    b.expect_errors();
    let (of_a, of_b) = (a.client(), b.client());
    // One after the other: within one transaction, who is cut off may log in again before it is committed.
    let cut = || {
        postgres.run("cut_off", "ALTER ROLE other NOLOGIN");
        postgres.run(
            "cut_off",
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'other'",
        );
    };
    // For less than its lease: nothing happens.
    cut();
    tokio::time::sleep(Duration::from_secs(2)).await;
    postgres.run("cut_off", "ALTER ROLE other LOGIN");
    let id = of_b.submit(&json!({"plugin": "noop"})).await;
    of_b.until(&id, "completed").await;
    // For longer: it refuses, its task runs elsewhere, and it comes back.
    let sleeper = loop {
        let id = of_b.submit(&sleep(3_000)).await;
        of_b.until(&id, "running").await;
        if of_b.slots_used().await == 1 {
            break id;
        }
        assert_eq!(of_b.delete(&format!("/task/{id}")).await.status, 204);
    };
    cut();
    until_ready(&of_b, StatusCode::SERVICE_UNAVAILABLE).await;
    let refused = of_b.post("/task", &json!({"plugin": "noop"})).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text);
    let task = of_a.until(&sleeper, "completed").await.json;
    assert_eq!((&task["attempt"], &task["host_crashes"]), (&json!(2), &json!(1)), "{task}");
    postgres.run("cut_off", "ALTER ROLE other LOGIN");
    until_ready(&of_b, StatusCode::OK).await;
    let id = of_b.submit(&json!({"plugin": "noop"})).await;
    of_b.until(&id, "completed").await;
}

/// A small disk, where the tables of a database are.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir(folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=48m,mode=0700,uid=nobody", "none"]).arg(folder);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: mounting a small disk needs root and the right to mount");
            return None;
        }
        Some(Self(folder.to_owned()))
    }

    /// Writes until it is full; returns the file.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).expect("a file");
        let mut block = vec![0; 1 << 20];
        while !block.is_empty() {
            if file.write_all(&block).is_err() {
                block.truncate(block.len() / 2);
            }
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_disk_of_the_database_refuses_tasks_and_loses_none() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let folder = postgres.folder().join("small");
    let Some(disk) = Disk::mount(&folder) else { return };
    postgres.run("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()));
    postgres.run("postgres", "CREATE DATABASE small TABLESPACE small");
    let server = server(&postgres.url("small"));
    server.expect_errors();
    let client = server.client();
    let sleeper = client.submit(&sleep(3_000)).await;
    client.until(&sleeper, "running").await;
    let ballast = disk.fill();
    let big = json!({"plugin": "misbehave", "input": {"do": "echo", "text": "x".repeat(200_000)}});
    let mut accepted = Vec::new();
    let refused = loop {
        let answer = client.post("/task", &big).await;
        if answer.status != StatusCode::CREATED {
            break answer;
        }
        accepted.push(answer.str("id").to_owned());
        assert!(accepted.len() < 1_000, "the disk is not full");
    };
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text);
    assert_eq!(client.get(&format!("/task/{sleeper}")).await.status, StatusCode::OK, "reads work");
    std::fs::remove_file(ballast).expect("removed");
    accepted.push(client.submit(&big).await);
    accepted.push(sleeper);
    for id in &accepted {
        let task = client.until(id, "completed").await.json;
        assert_eq!(task["attempt"], 1, "{}", task["id"]);
    }
    println!("{} tasks were accepted", accepted.len());
    drop(server);
    postgres.run("postgres", "DROP DATABASE small WITH (FORCE)");
    postgres.run("postgres", "DROP TABLESPACE small");
}

#[tokio::test]
async fn a_delete_of_a_task_at_a_stopped_host_is_answered_once_it_is_taken_for_dead() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let url = postgres.create("stopped_delete");
    let (a, b) = (server(&url), server(&url));
    let (of_a, of_b) = (a.client(), b.client());
    let id = loop {
        let id = of_b.submit(&sleep(600_000)).await;
        of_b.until(&id, "running").await;
        if of_b.slots_used().await == 1 {
            break id;
        }
        assert_eq!(of_b.delete(&format!("/task/{id}")).await.status, 204);
    };
    b.pause();
    let began = Instant::now();
    // One that gives up sooner learns that it continues; the end of its host is what answers the last one.
    eventually("it is deleted", TAKEN_OVER, async || {
        let status = of_a.delete(&format!("/task/{id}")).await.status;
        assert!([204, 404, 503, 202].contains(&status.as_u16()), "{status}");
        status == 204 || status == 404
    })
    .await;
    println!("DELETE of a task at a stopped host: {:?}", began.elapsed());
    b.resume();
    assert_eq!(of_a.get(&format!("/task/{id}")).await.status, 404);
    eventually("its guest is gone", WAITS, async || of_b.slots_used().await == 0).await;
}

#[tokio::test]
async fn who_follows_a_log_sees_the_next_run_when_its_host_dies() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let url = postgres.create("followed_death");
    let (a, mut b) = (server(&url), server(&url));
    let (of_a, of_b) = (a.client(), b.client());
    let task = json!({"plugin": "misbehave", "input": {"do": "lines", "count": 60, "ms": 50}});
    let id = loop {
        let id = of_b.submit(&task).await;
        of_b.until(&id, "running").await;
        if of_b.slots_used().await == 1 {
            break id;
        }
        assert_eq!(of_b.delete(&format!("/task/{id}")).await.status, 204);
    };
    let mut stream = of_a.follow(&format!("/task/{id}/logs"), None).await;
    let first = stream.next().await.expect("a line");
    assert_eq!(first.name, "log", "{first:?}");
    b.kill();
    let rest = stream.rest().await;
    let names: Vec<_> = rest.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names.last(), Some(&"end"), "{names:?}");
    let text = rest.iter().map(|event| event.data.to_string()).collect::<String>();
    assert!(text.contains("line 60"), "the log of the second run: {text}");
    let task = of_a.until(&id, "completed").await.json;
    assert_eq!((&task["attempt"], &task["host_crashes"]), (&json!(2), &json!(1)), "{task}");
}

#[tokio::test]
async fn when_all_hosts_are_dead_the_next_one_takes_over() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let url = postgres.create("all_dead");
    let (mut a, mut b) = (server(&url), server(&url));
    let mut ids = Vec::new();
    for client in [a.client(), b.client()] {
        for _ in 0..3 {
            ids.push(client.submit(&sleep(600_000)).await);
        }
        for id in &ids {
            client.until(id, "running").await;
        }
    }
    a.kill();
    b.kill();
    let killed = Instant::now();
    let c = Server::start(&["--database", &url, "--slots", "8"]);
    let of_c = c.client();
    for id in &ids {
        of_c.until_task(id, "runs again", |task| task["attempt"] == 2 && task["state"] == "running").await;
    }
    println!("all hosts dead: their tasks run at a new one after {:?}", killed.elapsed());
    assert!(killed.elapsed() < TAKEN_OVER);
    for id in &ids {
        assert_eq!(of_c.delete(&format!("/task/{id}")).await.status, 204);
    }
}

#[tokio::test]
async fn a_host_continues_while_a_newer_version_changes_the_tables() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let url = postgres.create("newer");
    let (a, b) = (server(&url), server(&url));
    let (of_a, of_b) = (a.client(), b.client());
    let sleeper = of_a.submit(&sleep(4_000)).await;
    of_a.until(&sleeper, "running").await;
    // As the next version would: it adds, and changes nothing that this one reads.
    let step = "BEGIN; SET lock_timeout = '2s'; SELECT writes FROM wasmill.cluster FOR UPDATE;
        ALTER TABLE wasmill.task ADD COLUMN later text NOT NULL DEFAULT 'x', ADD COLUMN later_too bigint;
        ALTER TABLE wasmill.host ADD COLUMN later bigint NOT NULL DEFAULT 0;
        CREATE TABLE wasmill.later (id bigint PRIMARY KEY);
        CREATE INDEX task_later ON wasmill.task (later) WHERE finished_at IS NULL;
        UPDATE wasmill.schema_version SET version = version + 1; COMMIT";
    let mut ids = Vec::new();
    for client in [&of_a, &of_b].into_iter().cycle().take(20) {
        ids.push(client.submit(&json!({"plugin": "noop"})).await);
        if ids.len() == 10 {
            postgres.run("newer", step);
        }
    }
    // One that loses its connections continues as well.
    postgres.run("newer", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'newer' AND pid <> pg_backend_pid()");
    ids.push(of_b.submit(&json!({"plugin": "noop"})).await);
    for id in ids.iter().chain([&sleeper]) {
        let task = of_b.until(id, "completed").await.json;
        assert_eq!((&task["attempt"], &task["host_crashes"]), (&json!(1), &json!(0)), "{task}");
    }
    // One that starts is of the older version: it is refused, and changes nothing.
    let refused =
        Server::start_in(Server::folder_with_guests(), &["--database", &url]).err().expect("refused");
    assert!(refused.to_string().contains("start a newer wasmill"), "{refused}");
    let hosts = of_a.get("/hosts").await.json;
    assert_eq!(hosts.as_array().map(Vec::len), Some(2), "{hosts}");
    let id = of_a.submit(&json!({"plugin": "noop"})).await;
    of_b.until(&id, "completed").await;
}

#[tokio::test]
async fn wrong_clocks_take_nobody_for_dead_and_run_nothing_twice() {
    let clocks = [3_600, -3_600, 7_200, -7_200].map(WrongClock::ahead);
    let [Some(ahead), Some(behind), Some(of_database), Some(of_next)] = clocks else { return };
    let Some(postgres) = PostgresServer::start("") else { return };
    postgres.restart_with(&of_database.variables());
    let url = postgres.url("postgres");
    let start = |clock: Option<WrongClock>| {
        let folder = Server::folder_with_guests();
        if let Some(clock) = clock {
            folder.set_clock(clock);
        }
        let server = Server::start_in(folder, &["--database", &url, "--database-migrate"]).expect("a server");
        server.wait_for_plugins();
        server
    };
    let servers = [start(None), start(Some(ahead)), start(Some(behind))];
    let clients: Vec<_> = servers.iter().map(Server::client).collect();
    let mut sleepers = Vec::new();
    for client in &clients {
        let id = client.submit(&sleep(18_000)).await;
        client.until(&id, "running").await;
        sleepers.push(id);
    }
    let registered = async || {
        let hosts = clients[0].get("/hosts").await.json;
        let ids = hosts.as_array().expect("hosts").iter();
        ids.map(|host| (host["id"].clone(), host["state"].clone())).collect::<Vec<_>>()
    };
    let before = registered().await;
    assert!(before.len() == 3 && before.iter().all(|(_, state)| state == "live"), "{before:?}");
    // As a failover to a server whose clock is four hours behind that of the one before.
    postgres.restart_with(&of_next.variables());
    for (asked, other) in clients.iter().zip(clients.iter().cycle().skip(1)) {
        let id = asked.submit(&json!({"plugin": "noop"})).await;
        let task = other.until(&id, "completed").await.json;
        assert_eq!((&task["attempt"], &task["host_crashes"]), (&json!(1), &json!(0)), "{task}");
    }
    // Longer than a lease, after which one that was not seen is taken for dead.
    tokio::time::sleep(Duration::from_secs(14)).await;
    for (asked, id) in clients.iter().cycle().skip(1).zip(&sleepers) {
        let task = asked.until(id, "completed").await.json;
        assert_eq!((&task["attempt"], &task["host_crashes"]), (&json!(1), &json!(0)), "{task}");
    }
    assert_eq!(registered().await, before);
    for server in &servers {
        assert!(
            server.log().contains("the clocks of this machine and of the database differ"),
            "{}",
            server.log()
        );
    }
}
