//! The orders of a client of Wasmill.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::Client;

use super::requests::{self, Asked};
use super::{number, seconds, time};

/// The most tasks in one request.
const BATCH: u64 = 10_000;

/// How often it looks whether all is done.
const LOOK: Duration = Duration::from_millis(10);

/// A client, and the ids of the tasks that it submitted by the driver's numbers.
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

    pub(crate) async fn obey(&mut self, name: &str, order: &Value) -> Result<Value> {
        match name {
            "singles" => self.singles(number(order, "callers")?, seconds(order)?).await,
            "batches" => self.batches(number(order, "count")?).await,
            "submit" => self.submit(order).await,
            "until" => self.until(number(order, "below")?).await,
            "cancel" => self.cancel(number(order, "id")?).await,
            "ready" => self.ready().await,
            "hold" => self.post("/pause").await,
            "release" => self.post("/resume").await,
            other => bail!("there is no operation '{other}'"),
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

    /// Submits no-ops one by one from many callers for some time, and waits until all are done.
    async fn singles(&self, callers: u64, lasting: Duration) -> Result<Value> {
        let start = Instant::now();
        let asked = Asked::post("/task", "{\"plugin\":\"noop\"}");
        let count = requests::until(self.server, callers, &asked, start + lasting).await?;
        let submit_s = start.elapsed().as_secs_f64();
        self.until(1).await?;
        Ok(json!({"count": count, "submit_s": submit_s, "done_s": start.elapsed().as_secs_f64()}))
    }

    /// Submits no-ops many at a time, and waits until all are done.
    async fn batches(&mut self, count: u64) -> Result<Value> {
        let start = Instant::now();
        self.submit_many("noop", count, 0, 0).await?;
        let submit_s = start.elapsed().as_secs_f64();
        self.until(1).await?;
        Ok(json!({"count": count, "submit_s": submit_s, "done_s": start.elapsed().as_secs_f64()}))
    }

    async fn submit(&mut self, order: &Value) -> Result<Value> {
        let kind = order["kind"].as_str().context("a kind")?;
        let ms = order["ms"].as_u64().unwrap_or_default();
        let first = order["first"].as_u64().unwrap_or_default();
        self.submit_many(kind, number(order, "count")?, ms, first).await?;
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

    /// Cancels a running task; the answer comes when its guest is gone.
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

/// What sleeps or spins keeps a ledger in the folder that its manifest opens to it.
fn task(kind: &str, id: u64, ms: u64) -> Value {
    if kind == "noop" {
        return json!({"plugin": "noop"});
    }
    let args = ["ledger", "/ledger/ledger", kind, &id.to_string(), &ms.to_string()];
    json!({"plugin": "program", "input": {"args": args}})
}
