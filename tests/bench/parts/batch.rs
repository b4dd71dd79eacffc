//! Tasks submitted in batches, each stored as a whole with one fsync before its 201.

use std::time::Instant;

use anyhow::{Result, ensure};
use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::Server;

use crate::report::{Spread, per_second, row, title};

/// Maximum tasks per batch.
const TASKS: usize = 10_000;
const BATCHES: usize = 20;

/// Submits batches one after another while the queue is paused.
pub(crate) async fn measure() -> Result<()> {
    title(&format!("Batches of {TASKS} tasks, one after another, fsync on (goal: 50,000 tasks/s)"));
    let server = Server::start(&[]);
    let client = server.client();
    client.post("/pause", &json!({})).await;
    let task = "{\"plugin\":\"noop\"}";
    let array = format!("[{}]", vec![task; TASKS].join(","));
    let lines = format!("{task}\n").repeat(TASKS);
    for (name, kind, body) in
        [("as a JSON array", "application/json", array), ("as lines of JSON", "application/x-ndjson", lines)]
    {
        let mut samples = Vec::new();
        let start = Instant::now();
        for _ in 0..BATCHES {
            let body = Some((kind, body.clone().into_bytes()));
            let sent = Instant::now();
            let answer = client.send(Method::POST, "/task/batch", body).await?;
            samples.push(sent.elapsed());
            ensure!(answer.status == StatusCode::CREATED, "{}", answer.text);
        }
        let tasks = (BATCHES * TASKS) as f64;
        row(&format!("submitted, {name}"), &per_second(tasks / start.elapsed().as_secs_f64(), "tasks"));
        row("one batch, POST to 201", &Spread::of(samples).to_string());
    }
    let waiting = client.get("/stats").await.json["waiting"].clone();
    ensure!(waiting == 2 * BATCHES * TASKS, "{waiting} wait");
    Ok(())
}
