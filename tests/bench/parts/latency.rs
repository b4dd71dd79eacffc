//! Latency for one client: from submit to start, to the stored result, and from DELETE to 204.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use hyper::header::LINK;
use serde_json::{Value, json};
use wasmill_tests::{Client, Server};

use crate::parts::throughput::{drained, submit_at};
use crate::report::{Spread, row, title};

const SAMPLES: usize = 300;

/// Half of the throughput of the machine behind the numbers of the book.
const HALF: u32 = 10_000;
const CLIENTS: u32 = 64;

/// Pages of 1,000 newest tasks that are read.
const PAGES: usize = 10;

/// Measures an idle server.
pub(crate) async fn measure_idle() -> Result<()> {
    title("Latency, idle");
    let server = Server::start(&[]);
    let client = server.client();
    submits(&client).await?;
    deletes(&client, "a sleeping task", &json!({"do": "sleep", "ms": 600_000})).await?;
    deletes(&client, "a spinning task", &json!({"do": "spin"})).await
}

/// Measures a server at about half of its throughput.
pub(crate) async fn measure_busy() -> Result<()> {
    title(&format!("Latency at {HALF} no-op tasks/s, {CLIENTS} clients (goal: p99 of 5 ms)"));
    let server = Server::start(&[]);
    submit_at(server.address(), CLIENTS, HALF, Duration::from_secs(1)).await?;
    let posted = submit_at(server.address(), CLIENTS, HALF, Duration::from_secs(4)).await?;
    let client = server.client();
    drained(&client).await;
    let (mut started, mut done) = (Vec::new(), Vec::new());
    let mut path = "/task?limit=1000".to_owned();
    for _ in 0..PAGES {
        let page = client.get(&path).await;
        for record in page.json.as_array().context("a list")? {
            started.push(between(&record["created_at"], &record["started_at"])?);
            done.push(between(&record["started_at"], &record["finished_at"])?);
        }
        let link = page.headers.get(LINK).context("another page")?.to_str()?;
        path = link.split(['<', '>']).nth(1).context("a path")?.to_owned();
    }
    row("POST to 201", &Spread::of(posted).to_string());
    row("submit to start (created_at to started_at)", &Spread::of(started).to_string());
    row("start to end (started_at to finished_at)", &Spread::of(done).to_string());
    Ok(())
}

/// Measures a server beside this many CPU-bound guests.
pub(crate) async fn measure_beside_guests(guests: usize) -> Result<()> {
    title(&format!("Latency beside {guests} CPU-bound guests"));
    let server = Server::start(&["--timeout", "1h"]);
    let client = server.client();
    for _ in 0..guests {
        let id = client.submit(&misbehave(&json!({"do": "spin"}))).await;
        client.until(&id, "running").await;
    }
    submits(&client).await?;
    deletes(&client, "a sleeping task", &json!({"do": "sleep", "ms": 600_000})).await?;
    deletes(&client, "a spinning task", &json!({"do": "spin"})).await
}

fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}

async fn submits(client: &Client) -> Result<()> {
    let (mut posted, mut started, mut done) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let start = Instant::now();
        let id = client.submit(&json!({"plugin": "noop"})).await;
        posted.push(start.elapsed());
        let path = format!("/task/{id}");
        let record = loop {
            let answer = client.get(&path).await;
            if answer.json["state"] == "completed" {
                break answer.json;
            }
        };
        done.push(start.elapsed());
        started.push(between(&record["created_at"], &record["started_at"])?);
    }
    row("POST to 201", &Spread::of(posted).to_string());
    row("submit to start (created_at to started_at)", &Spread::of(started).to_string());
    row("POST to result seen", &Spread::of(done).to_string());
    Ok(())
}

async fn deletes(client: &Client, what: &str, input: &Value) -> Result<()> {
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let id = client.submit(&misbehave(input)).await;
        client.until(&id, "running").await;
        let start = Instant::now();
        let answer = client.delete(&format!("/task/{id}")).await;
        samples.push(start.elapsed());
        ensure!(answer.status == StatusCode::NO_CONTENT, "answered {}", answer.text);
    }
    row(&format!("DELETE to 204, {what}"), &Spread::of(samples).to_string());
    Ok(())
}

/// Returns how much later the second of two times is that a record has.
pub(crate) fn between(from: &Value, to: &Value) -> Result<Duration> {
    let parse =
        |time: &Value| -> Result<wasmill_model::Timestamp> { Ok(time.as_str().unwrap_or_default().parse()?) };
    Ok((parse(to)? - parse(from)?).to_std().unwrap_or_default())
}
