//! The data folder: deletion while the server runs, and backups that must not destroy it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::{Client, Server, binary, embedded_only};

/// Waits for this readiness.
async fn until_ready(client: &Client, status: StatusCode) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if client.get("/readyz").await.status == status {
            return;
        }
        assert!(Instant::now() < until, "/readyz does not become {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn refuses_writes(client: &Client) {
    let refused = client.post("/task", &json!({"plugin": "noop"})).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text);
    assert_eq!(refused.str("code"), "store-unavailable");
}

fn error_count(server: &Server, what: &str) -> usize {
    server.log().lines().filter(|line| line.contains("\"level\":\"ERROR\"") && line.contains(what)).count()
}

async fn done(client: &Client) -> String {
    let id = client.submit(&json!({"plugin": "noop"})).await;
    client.until(&id, "completed").await;
    id
}

#[tokio::test]
async fn a_data_folder_that_comes_back_is_logged_with_the_length_of_the_outage() {
    embedded_only!("the data folder has the cache of compiled plugins only");
    let server = Server::start(&[]);
    server.expect_errors();
    let client = server.client();
    done(&client).await;
    let (data, away) = (server.folder().join("data"), server.folder().join("away"));
    fs::rename(&data, &away).expect("moved");
    until_ready(&client, StatusCode::SERVICE_UNAVAILABLE).await;
    fs::rename(&away, &data).expect("moved back");
    // Nobody asks: the server notices by itself.
    let until = Instant::now() + Duration::from_secs(30);
    while !server.log().contains("writing to the database works again, after ") {
        assert!(Instant::now() < until, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    done(&client).await;
}

#[tokio::test]
async fn a_deleted_data_folder_is_detected_and_its_replacement_is_not_touched() {
    embedded_only!("the data folder has the cache of compiled plugins only");
    let mut server = Server::start(&["--drain", "100ms"]);
    server.expect_errors();
    let client = server.client();
    done(&client).await;
    fs::remove_dir_all(server.folder().join("data")).expect("deleted");
    until_ready(&client, StatusCode::SERVICE_UNAVAILABLE).await;
    // A separate thread reads the log, and may lag.
    let until = Instant::now() + Duration::from_secs(30);
    while error_count(&server, "deleted, renamed or unmounted") == 0 {
        assert!(Instant::now() < until, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    refuses_writes(&client).await;

    let mut second = server.start_beside().expect("a server");
    let other = second.client();
    let id = done(&other).await;
    refuses_writes(&client).await;
    until_ready(&client, StatusCode::SERVICE_UNAVAILABLE).await;
    // Many concurrent reads open further connections, which must not read the other server's database.
    let reads: Vec<_> = (0..32)
        .map(|_| {
            let (client, path) = (client.clone(), format!("/task/{id}"));
            tokio::spawn(
                async move { client.send(Method::GET, &path, None).await.expect("an answer").status },
            )
        })
        .collect();
    for read in reads {
        let status = read.await.expect("no panic");
        assert!([StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{status}");
    }
    assert!(
        (1..=3).contains(&error_count(&server, "database")),
        "once, and not with every request: {}",
        server.log()
    );
    server.terminate();
    let next = done(&other).await;
    assert!(second.terminate().success(), "{}", second.log());
    let second = second.start_beside().expect("its database is whole");
    for id in [id, next] {
        assert_eq!(second.client().get(&format!("/task/{id}")).await.str("state"), "completed");
    }
}

#[tokio::test]
async fn a_restored_data_folder_is_used_again() {
    embedded_only!("the data folder has the cache of compiled plugins only");
    let server = Server::start(&[]);
    server.expect_errors();
    let client = server.client();
    let (data, away) = (server.folder().join("data"), server.folder().join("away"));
    fs::rename(&data, &away).expect("renamed");
    until_ready(&client, StatusCode::SERVICE_UNAVAILABLE).await;
    refuses_writes(&client).await;
    fs::rename(&away, &data).expect("renamed");
    until_ready(&client, StatusCode::OK).await;
    let id = done(&client).await;
    let again = server.kill_and_restart();
    assert_eq!(again.client().get(&format!("/task/{id}")).await.str("state"), "completed");
}

#[tokio::test]
async fn a_lost_database_file_is_detected_and_no_data_is_lost() {
    embedded_only!("the data folder has the cache of compiled plugins only");
    for part in ["wasmill.db-wal", "wasmill.db-shm", "wasmill.lock"] {
        let mut server = Server::start(&["--drain", "100ms"]);
        server.expect_errors();
        let client = server.client();
        let before = done(&client).await;
        let file = server.folder().join("data").join(part);
        fs::remove_file(&file).expect("deleted");
        until_ready(&client, StatusCode::SERVICE_UNAVAILABLE).await;
        refuses_writes(&client).await;
        // A new file of the same name does not replace it.
        fs::write(&file, "").expect("written");
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        refuses_writes(&client).await;
        fs::remove_file(&file).expect("deleted");
        server.terminate();
        assert!(error_count(&server, part) > 0, "{part}: {}", server.log());
        let again = server.start_beside().expect("its database is whole");
        assert_eq!(again.client().get(&format!("/task/{before}")).await.str("state"), "completed", "{part}");
        done(&again.client()).await;
    }
}

fn backup(server: &Server, file: &Path) -> Output {
    let mut command = Command::new(binary().expect("a binary"));
    command.arg("backup").arg(file).arg("--force").arg("--data").arg(server.folder().join("data"));
    command.current_dir(server.folder()).output().expect("it runs")
}

#[tokio::test]
async fn a_backup_onto_the_live_database_is_refused_without_damage() {
    embedded_only!("`wasmill backup` copies the embedded database");
    let server = Server::start(&[]);
    let client = server.client();
    let id = done(&client).await;
    let data = server.folder().join("data");
    let linked = server.folder().join("linked");
    std::os::unix::fs::symlink(&data, &linked).expect("linked");
    for file in ["wasmill.db", "wasmill.db-wal", "wasmill.db-shm", "wasmill.lock"] {
        for folder in [&data, &linked, Path::new("data"), Path::new("./plugins/../data")] {
            let refused = backup(&server, &folder.join(file));
            let error = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && error.contains("is in the data folder"), "{file}: {error}");
        }
    }
    let null = server.folder().join("null");
    std::os::unix::fs::symlink("/dev/null", &null).expect("linked");
    let refused = backup(&server, &null);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no regular file"));
    let last = done(&client).await;
    let again = server.kill_and_restart();
    for id in [id, last] {
        assert_eq!(again.client().get(&format!("/task/{id}")).await.str("state"), "completed");
    }
}
