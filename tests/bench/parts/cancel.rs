//! Time from DELETE to 204, one after another, for many tasks: sleeping, CPU-bound, inside HTTP calls.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::black_hole::BlackHole;
use wasmill_tests::{Client, PROGRAM, Server};

use crate::report::{Spread, row, title};

/// Deletes 1,000 sleeping tasks, then this many CPU-bound ones and ones inside HTTP calls.
pub(crate) async fn measure(guests: usize) -> Result<()> {
    title("DELETE to 204 among many tasks (goal: p99 5 ms; 10 ms beside CPU-bound guests)");
    let black_hole = BlackHole::listen();
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    std::fs::write(plugins.join("program.wasm"), PROGRAM)?;
    let manifest = format!("allow.http = [\"http://{}\"]", black_hole.address());
    std::fs::write(plugins.join("program.toml"), manifest)?;
    let server = Server::start_in(folder, &["--timeout", "1h", "--slots", "1000"])?;
    let client = server.client();

    let asleep = start_tasks(&client, &misbehave(&json!({"do": "sleep", "ms": 3_600_000})), 1_000).await?;
    row("1,000 asleep", &delete(&client, asleep).await?.to_string());
    let url = format!("http://{}/", black_hole.address());
    let calling = json!({"plugin": "program", "input": {"args": ["get", url]}});
    let calling = start_tasks(&client, &calling, guests).await?;
    while black_hole.calls() < guests {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    row(&format!("{guests} inside HTTP calls"), &delete(&client, calling).await?.to_string());
    let computing = start_tasks(&client, &misbehave(&json!({"do": "spin"})), guests).await?;
    row(&format!("{guests} CPU-bound, fewer each time"), &delete(&client, computing).await?.to_string());
    Ok(())
}

fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}

/// Submits this many tasks and waits until all of them run.
async fn start_tasks(client: &Client, task: &Value, size: usize) -> Result<Vec<String>> {
    let mut ids = Vec::with_capacity(size);
    for _ in 0..size {
        ids.push(client.submit(task).await);
    }
    for id in &ids {
        client.until(id, "running").await;
    }
    Ok(ids)
}

async fn delete(client: &Client, ids: Vec<String>) -> Result<Spread> {
    let mut samples = Vec::with_capacity(ids.len());
    for id in ids {
        let start = Instant::now();
        let answer = client.delete(&format!("/task/{id}")).await;
        samples.push(start.elapsed());
        ensure!(answer.status == StatusCode::NO_CONTENT, "answered {}", answer.text);
    }
    Ok(Spread::of(samples))
}
