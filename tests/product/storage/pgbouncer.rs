//! Servers that reach PostgreSQL through pgbouncer. Without PostgreSQL and pgbouncer these tests are skipped.

use std::time::{Duration, Instant};

use serde_json::json;
use wasmill_tests::{Pgbouncer, PostgresServer, Server, sleep, wasmill};

#[test]
fn a_pooler_that_lends_sessions_for_a_transaction_is_refused() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let Some(pooler) = Pgbouncer::start(postgres, "pool_mode = transaction") else { return };
    postgres.create("lent");
    let url = pooler.url("lent");
    let folder = tempfile::tempdir().expect("a folder");
    for args in [
        &["serve", "--listen", "127.0.0.1:0", "--database-migrate"][..],
        &["database", "migrate"],
        &["doctor", "--listen", "127.0.0.1:0"],
    ] {
        let refused = wasmill(folder.path(), &[args, &["--database", &url]].concat());
        let said = refused.out.clone() + &refused.err;
        assert_ne!(refused.code, 0, "{args:?}: {said}");
        for words in ["a pooler in between lends sessions for a transaction", "set pool_mode=session"] {
            assert!(said.contains(words), "{args:?}: {said}");
        }
    }
    assert_eq!(postgres.run("lent", "SELECT count(*) FROM pg_namespace WHERE nspname = 'wasmill'"), "0");
}

#[tokio::test]
async fn servers_behind_a_pooler_that_keeps_sessions_live_through_its_end() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let Some(mut pooler) = Pgbouncer::start(postgres, "pool_mode = session") else { return };
    postgres.create("pooled");
    let url = pooler.url("pooled");
    let args = ["--database", &url, "--database-migrate", "--slots", "4"];
    let (a, mut b) = (Server::start(&args), Server::start(&args));
    let (of_a, of_b) = (a.client(), b.client());
    let sleeper = of_a.submit(&sleep(6_000)).await;
    of_a.until(&sleeper, "running").await;
    let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'pooled'
        AND pid <> pg_backend_pid()";
    let mut ids = Vec::new();
    for round in 0..4 {
        let what = if round % 2 == 0 {
            pooler.kill_and_restart();
            "pgbouncer was killed"
        } else {
            postgres.run("postgres", all);
            "all sessions were ended"
        };
        for client in [&of_a, &of_b] {
            let began = Instant::now();
            ids.push(client.submit(&json!({"plugin": "noop"})).await);
            println!("{what}: stored after {:?}", began.elapsed());
        }
    }
    for id in ids.iter().chain([&sleeper]) {
        let task = of_b.until(id, "completed").await.json;
        assert_eq!((&task["attempt"], &task["host_crashes"]), (&json!(1), &json!(0)), "{task}");
    }
    assert_eq!(postgres.run("pooled", "SELECT count(*) FROM wasmill.task"), "9");
    // The other one takes over, through the pooler.
    let sleeper = of_b.submit(&sleep(2_000)).await;
    of_b.until(&sleeper, "running").await;
    b.kill();
    let task = of_a.until(&sleeper, "completed").await.json;
    assert!(task["attempt"].as_u64() <= Some(2), "{task}");
}

#[tokio::test]
async fn a_server_that_finds_no_room_in_the_pool_does_not_start_and_the_others_continue() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let Some(pooler) = Pgbouncer::start(postgres, "pool_mode = session\ndefault_pool_size = 7") else {
        return;
    };
    postgres.create("small_pool");
    let url = pooler.url("small_pool");
    let server = Server::start(&["--database", &url, "--database-migrate", "--slots", "4"]);
    let client = server.client();
    // What another program holds.
    let hold = "SELECT pg_sleep(20)";
    let mut holders: Vec<_> = (0..7)
        .map(|_| {
            let mut psql = postgres.psql("wasmill", "small_pool");
            psql.args(["-d", &url, "-c", hold]).stderr(std::process::Stdio::null());
            psql.spawn().expect("psql")
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    let folder = tempfile::tempdir().expect("a folder");
    let refused = wasmill(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--database", &url]);
    assert!(refused.code != 0 && refused.err.contains("the server does not answer"), "{refused:?}");
    println!("refused after {:?}", began.elapsed());
    let id = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&id, "completed").await;
    for holder in &mut holders {
        holder.kill().expect("a process");
        holder.wait().expect("its end");
    }
}
