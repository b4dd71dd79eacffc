//! The orders of a client of `wasmtime serve`, which keeps nothing: a request is a task.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::requests::{self, Asked};
use super::{number, seconds};

/// Obeys one order.
pub(crate) async fn obey(server: SocketAddr, name: &str, order: &Value) -> Result<Value> {
    match name {
        "singles" => singles(server, number(order, "callers")?, seconds(order)?).await,
        "sleepers" => sleepers(server, number(order, "count")?, number(order, "ms")?).await,
        "leave" => leave(server, order["path"].as_str().unwrap_or("/")).await,
        other => bail!("there is no operation '{other}'"),
    }
}

async fn singles(server: SocketAddr, callers: u64, lasting: Duration) -> Result<Value> {
    let start = Instant::now();
    let count = requests::until(server, callers, &Asked::get("/"), start + lasting).await?;
    let done_s = start.elapsed().as_secs_f64();
    Ok(json!({"count": count, "submit_s": done_s, "done_s": done_s}))
}

/// Asks this often at once for an answer that takes some time, and waits until all are there.
async fn sleepers(server: SocketAddr, count: u64, ms: u64) -> Result<Value> {
    let start = Instant::now();
    let asked = Asked::get(&format!("/sleep/{ms}"));
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

/// Asks, and hangs up after a moment without an answer: all that a client can do to stop it.
async fn leave(server: SocketAddr, path: &str) -> Result<Value> {
    let asked = Asked::get(path);
    let ask = async { requests::ask(&mut requests::connect(server).await?, &asked).await };
    let answered = tokio::time::timeout(Duration::from_millis(500), ask).await.is_ok();
    Ok(json!({"answered": answered}))
}
