//! The commands of a client of `wasmtime serve`, which stores nothing: a request is a task.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::requests::{self, RequestSpec};
use super::{number, seconds};

/// Runs one command.
pub(crate) async fn run_command(server: SocketAddr, name: &str, command: &Value) -> Result<Value> {
    match name {
        "singles" => singles(server, number(command, "callers")?, seconds(command)?).await,
        "sleepers" => sleepers(server, number(command, "count")?, number(command, "ms")?).await,
        "leave" => leave(server, command["path"].as_str().unwrap_or("/")).await,
        other => bail!("unknown operation '{other}'"),
    }
}

async fn singles(server: SocketAddr, callers: u64, lasting: Duration) -> Result<Value> {
    let start = Instant::now();
    let count = requests::until(server, callers, &RequestSpec::get("/"), start + lasting).await?;
    let done_s = start.elapsed().as_secs_f64();
    Ok(json!({"count": count, "submit_s": done_s, "done_s": done_s}))
}

/// Sends this many concurrent requests that take some time, and waits for all responses.
async fn sleepers(server: SocketAddr, count: u64, ms: u64) -> Result<Value> {
    let start = Instant::now();
    let asked = RequestSpec::get(&format!("/sleep/{ms}"));
    let asks: Vec<_> = (0..count)
        .map(|_| {
            let asked = asked.clone();
            tokio::spawn(async move { requests::ask(&mut requests::connect(server).await?, &asked).await })
        })
        .collect();
    let mut answered = 0;
    for ask in asks {
        answered += u64::from(ask.await?.is_ok());
    }
    Ok(json!({"answered": answered, "done_s": start.elapsed().as_secs_f64()}))
}

/// Sends a request and hangs up after a moment: a client has no other way to stop it.
async fn leave(server: SocketAddr, path: &str) -> Result<Value> {
    let asked = RequestSpec::get(path);
    let ask = async { requests::ask(&mut requests::connect(server).await?, &asked).await };
    let answered = tokio::time::timeout(Duration::from_millis(500), ask).await.is_ok();
    Ok(json!({"answered": answered}))
}
