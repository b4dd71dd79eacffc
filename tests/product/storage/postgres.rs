//! A server whose tasks are in PostgreSQL. Without PostgreSQL these tests are skipped.

use std::fs;

use serde_json::{Value, json};
use wasmill_tests::{PostgresServer, Server, command, wasmill};

/// Starts a server on an empty database.
fn server(url: &str) -> Server {
    Server::start(&["--database", url, "--database-migrate", "--slots", "4"])
}

#[tokio::test]
async fn tasks_in_postgresql_survive_the_host() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let server = server(&postgres.create("survive"));
    let client = server.client();
    let done = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&done, "completed").await;
    let sleeper = client.submit(&wasmill_tests::sleep(700)).await;
    client.until(&sleeper, "running").await;

    let server = server.kill_and_restart();
    let client = server.client();
    assert_eq!(client.get(&format!("/task/{done}/status")).await.str("status"), "completed");
    let task = client.until(&sleeper, "completed").await;
    assert_eq!((&task.json["attempt"], &task.json["host_crashes"]), (&json!(2), &json!(1)), "{}", task.text);
    assert!(server.log().contains("a host crashed while"), "{}", server.log());
    let files = fs::read_dir(server.folder().join("data")).expect("a folder").flatten();
    let names: Vec<_> = files.map(|file| file.file_name().into_string().expect("UTF-8")).collect();
    assert!(!names.iter().any(|name| name.starts_with("wasmill.")), "no embedded database: {names:?}");
}

#[tokio::test]
async fn a_server_lives_through_a_restart_of_its_connections() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let server = server(&postgres.create("cut"));
    let client = server.client();
    let sleeper = client.submit(&wasmill_tests::sleep(1_000)).await;
    client.until(&sleeper, "running").await;
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'wasmill%'
        AND datname = 'cut'";
    let mut ids = vec![sleeper];
    for _ in 0..5 {
        postgres.run("postgres", all);
        ids.push(client.submit(&json!({"plugin": "noop"})).await);
    }
    for id in &ids {
        let task = client.until(id, "completed").await;
        assert_eq!(task.json["attempt"], 1, "{}", task.text);
    }
}

#[test]
fn a_second_server_on_the_same_data_folder_is_refused() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let first = server(&postgres.create("second"));
    let refused = first.start_beside().err().expect("refused");
    assert!(refused.to_string().contains("is in use by another wasmill"), "{refused}");
}

#[test]
fn a_database_that_cannot_be_used_is_refused_with_advice_and_without_its_password() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let empty = postgres.create("refuse");
    postgres.run("postgres", "CREATE ROLE app LOGIN PASSWORD 's3cret'");
    let as_app = empty.replacen("wasmill@", "app:s3cret@", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |url: &str, words: &[&str]| {
        let args = ["serve", "--listen", "127.0.0.1:0"];
        let output = command(folder.path(), &args).env("WASMILL_DATABASE", url).output().expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && !error.contains("s3cret"), "{error}");
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    };
    refused(&empty, &["no tables of wasmill yet", "wasmill database migrate"]);
    refused(&empty.replace("/refuse", "/nothing"), &["does not exist", "createdb --owner wasmill nothing"]);
    refused(
        "postgres://app:s3cret@127.0.0.1:1/refuse",
        &["postgres://app@127.0.0.1:1/refuse", "the address is right"],
    );
    refused("postgres://app:s3cret@localhost:none/refuse", &["invalid value for --database"]);
    refused("mysql://app:s3cret@localhost/refuse", &["not a URL such as postgres://"]);

    let migrated = wasmill(folder.path(), &["database", "migrate", "--database", &empty]);
    assert_eq!(
        (migrated.code, migrated.out.contains("created the tables of version")),
        (0, true),
        "{migrated:?}"
    );
    let again = wasmill(folder.path(), &["database", "migrate", "--database", &empty]);
    assert_eq!((again.code, again.out.contains("already")), (0, true), "{again:?}");
    refused(&as_app, &["no right to use schema wasmill"]);
    postgres.run("refuse", "GRANT USAGE ON SCHEMA wasmill TO app");
    refused(&as_app, &["may not read and write table wasmill.", "grant select, insert, update and delete"]);
    postgres.run("refuse", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA wasmill TO app");
    drop(Server::start(&["--database", &as_app]));
    postgres.run("refuse", "UPDATE wasmill.schema_version SET version = 99");
    refused(&as_app, &["version 99", "start a newer wasmill"]);
}

#[test]
fn the_doctor_examines_the_database() {
    let Some(postgres) = PostgresServer::shared() else { return };
    let url = postgres.create("examined");
    let folder = tempfile::tempdir().expect("a folder");
    let examined = |args: &[&str]| {
        let args = [&["doctor", "--json", "--listen", "127.0.0.1:0", "--database", &url], args].concat();
        let output = wasmill(folder.path(), &args);
        let report: Value = serde_json::from_str(&output.out).expect("JSON");
        let checks = report["checks"].as_array().expect("an array").clone();
        checks.into_iter().filter(|check| check["name"] == "database" || check["name"] == "tables").collect()
    };
    let checks: Vec<Value> = examined(&[]);
    assert!(checks[0]["found"].as_str().expect("words").contains("is PostgreSQL"), "{checks:?}");
    assert_eq!(checks[1]["state"], "fail", "{checks:?}");
    assert!(checks[1]["fix"].as_str().expect("words").contains("wasmill database migrate"), "{checks:?}");
    let checks: Vec<Value> = examined(&["--database-migrate"]);
    assert_eq!(checks[1]["state"], "ok", "{checks:?}");
    let _server = server(&url);
    let checks: Vec<Value> = examined(&[]);
    assert_eq!((&checks[0]["state"], &checks[1]["state"]), (&json!("ok"), &json!("ok")), "{checks:?}");
    assert!(checks[0]["found"].as_str().expect("words").ends_with(" uses it"), "{checks:?}");
    let backup = wasmill(folder.path(), &["backup", "x.db", "--data", "data"]);
    assert_ne!(backup.code, 0);
    let output =
        command(folder.path(), &["backup", "x.db"]).env("WASMILL_DATABASE", &url).output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && error.contains("pg_dump"), "{error}");
}
