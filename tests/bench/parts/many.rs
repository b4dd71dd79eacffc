//! Time to cancel many tasks by one request, and its effect on other requests.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::{Client, Server};

use crate::report::{Spread, row, title};

const RUNNING: u64 = 10_000;
const WAITING: u64 = 100_000;

/// Fills a server with sleeping tasks, cancels the running ones, then the waiting ones.
pub(crate) async fn measure() -> Result<()> {
    title("Cancel by filter");
    let slots = RUNNING.to_string();
    let server = Server::start(&["--slots", &slots, "--memory", "2MiB", "--timeout", "1h"]);
    let client = server.client();
    let task = json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 3_600_000}});
    submit(&client, &task, RUNNING).await?;
    let running = wait_until_queue_idle(&client).await;
    let start = Instant::now();
    let answer = client.post("/task/cancel?state=running", &json!({})).await;
    let time = start.elapsed();
    ensure!(answer.json["cancelled"] == running && client.slots_used().await == 0, "{}", answer.text);
    row(&format!("{running} sleeping tasks, until their slots are free"), &format!("{:.0} ms", ms(time)));

    // With all slots used, these wait behind as many running tasks.
    submit(&client, &task, RUNNING + WAITING).await?;
    let posts = tokio::spawn(post_meanwhile(server.client()));
    let start = Instant::now();
    let answer = client.post("/task/cancel?state=waiting", &json!({})).await;
    row(&format!("{} waiting tasks", answer.json["cancelled"]), &format!("{:.0} ms", ms(start.elapsed())));
    row("POST to 201 of others meanwhile", &posts.await?.to_string());
    Ok(())
}

async fn submit(client: &Client, task: &Value, tasks: u64) -> Result<()> {
    let submits = (0..64).map(|part| {
        let (client, task) = (client.clone(), task.clone());
        tokio::spawn(async move {
            for _ in 0..tasks / 64 + u64::from(part < tasks % 64) {
                client.submit(&task).await;
            }
        })
    });
    for submit in submits.collect::<Vec<_>>() {
        submit.await?;
    }
    Ok(())
}

/// Waits until no more tasks start, and returns how many run.
async fn wait_until_queue_idle(client: &Client) -> u64 {
    loop {
        let stats = client.get("/stats").await.json;
        let used = &stats["slots"]["used"];
        // A task that was just claimed takes a moment to start.
        let all_run = stats["waiting"] == 0 && stats["running"] == *used;
        if all_run || stats["slots"]["free"] == 0 {
            return used.as_u64().unwrap_or_default();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn post_meanwhile(client: Client) -> Spread {
    let mut samples = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        client.submit(&json!({"plugin": "noop"})).await;
        samples.push(start.elapsed());
    }
    Spread::of(samples)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
