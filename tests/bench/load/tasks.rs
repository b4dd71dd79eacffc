//! The commands of a client of Wasmill.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::Client;

use super::requests::{self, RequestSpec};
use super::{number, seconds, time};

/// Maximum tasks per request.
const BATCH: u64 = 10_000;

/// How often it checks whether all tasks have finished.
const LOOK: Duration = Duration::from_millis(10);

/// A client, and the ids of its tasks by the driver's numbers.
pub(crate) struct Tasks {
    server: SocketAddr,
    client: Client,
    ids: HashMap<u64, String>,
}

impl Tasks {
    pub(crate) fn at(server: SocketAddr) -> Self {
        wasmill_tests::document::ignore();
        Self { server, client: Client::new(server), ids: HashMap::new() }
    }

    pub(crate) async fn run_command(&mut self, name: &str, command: &Value) -> Result<Value> {
        match name {
            "singles" => self.singles(number(command, "callers")?, seconds(command)?).await,
            "batches" => self.batches(number(command, "count")?).await,
            "submit" => self.submit(command).await,
            "until" => self.until(number(command, "below")?).await,
            "cancel" => self.cancel(number(command, "id")?).await,
            "ready" => self.ready().await,
            "hold" => self.post("/pause").await,
            "release" => self.post("/resume").await,
            other => bail!("unknown operation '{other}'"),
        }
    }

    /// Waits until both plugins are compiled.
    async fn ready(&self) -> Result<Value> {
        for plugin in ["noop", "program"] {
            while self.client.get(&format!("/plugins/{plugin}")).await.json["state"] != "ready" {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(json!({}))
    }

    /// Submits no-ops one by one from many callers for some time, and waits until all have finished.
    async fn singles(&self, callers: u64, lasting: Duration) -> Result<Value> {
        let start = Instant::now();
        let asked = RequestSpec::post("/task", "{\"plugin\":\"noop\"}");
        let count = requests::until(self.server, callers, &asked, start + lasting).await?;
        let submit_s = start.elapsed().as_secs_f64();
        self.until(1).await?;
        Ok(json!({"count": count, "submit_s": submit_s, "done_s": start.elapsed().as_secs_f64()}))
    }

    /// Submits no-ops in batches, and waits until all have finished.
    async fn batches(&mut self, count: u64) -> Result<Value> {
        let start = Instant::now();
        self.submit_many("noop", count, 0, 0).await?;
        let submit_s = start.elapsed().as_secs_f64();
        self.until(1).await?;
        Ok(json!({"count": count, "submit_s": submit_s, "done_s": start.elapsed().as_secs_f64()}))
    }

    async fn submit(&mut self, command: &Value) -> Result<Value> {
        let kind = command["kind"].as_str().context("a kind")?;
        let ms = command["ms"].as_u64().unwrap_or_default();
        let first = command["first"].as_u64().unwrap_or_default();
        self.submit_many(kind, number(command, "count")?, ms, first).await?;
        Ok(json!({}))
    }

    async fn submit_many(&mut self, kind: &str, count: u64, ms: u64, first: u64) -> Result<()> {
        for from in (0..count).step_by(usize::try_from(BATCH)?) {
            let numbers = first + from..first + count.min(from + BATCH);
            let tasks: Vec<_> = numbers.clone().map(|id| task(kind, id, ms)).collect();
            let answer = self.client.post("/task/batch", &Value::Array(tasks)).await;
            ensure!(answer.status == StatusCode::CREATED, "{}", answer.text);
            if kind != "noop" {
                let tasks = answer.json.as_array().context("a list")?;
                let ids = tasks.iter().map(|task| task["id"].as_str().unwrap_or_default().to_owned());
                self.ids.extend(numbers.zip(ids));
            }
        }
        Ok(())
    }

    async fn until(&self, below: u64) -> Result<Value> {
        loop {
            let stats = self.client.get("/stats").await.json;
            let left = number(&stats, "waiting")? + number(&stats, "running")?;
            if left < below {
                return Ok(json!({"left": left, "time": time()}));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Cancels a running task; the response arrives when its guest is gone.
    async fn cancel(&self, id: u64) -> Result<Value> {
        let id = self.ids.get(&id).context("a task that was submitted")?;
        let start = Instant::now();
        let answer = self.client.send(Method::DELETE, &format!("/task/{id}"), None).await?;
        let stopped_s = start.elapsed().as_secs_f64();
        ensure!(answer.status == StatusCode::NO_CONTENT, "{}", answer.text);
        Ok(json!({"stopped_s": stopped_s}))
    }

    async fn post(&self, path: &str) -> Result<Value> {
        let answer = self.client.post(path, &json!({})).await;
        ensure!(answer.status == StatusCode::OK, "{}", answer.text);
        Ok(json!({}))
    }
}

/// Sleeping and spinning guests keep a ledger in a folder that their manifest grants.
fn task(kind: &str, id: u64, ms: u64) -> Value {
    if kind == "noop" {
        return json!({"plugin": "noop"});
    }
    let args = ["ledger", "/ledger/ledger", kind, &id.to_string(), &ms.to_string()];
    json!({"plugin": "program", "input": {"args": args}})
}
