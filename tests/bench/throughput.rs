//! Completed tasks a second, submitted one by one over HTTP, each stored with an fsync before its 201.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wasmill_tests::{Client, Server};

use crate::report::{per_second, row, title};

/// How long tasks are submitted.
const LOAD: Duration = Duration::from_secs(8);

/// Submits from this many clients at once, waits until all is done, and prints the rates.
pub(crate) async fn measure(clients: usize) -> Result<()> {
    title(&format!("Throughput: no-op tasks over HTTP, {clients} clients, fsync on"));
    let server = Server::start(&[]);
    let client = server.client();
    submit_for(server.address(), clients, Duration::from_secs(2)).await?;
    drained(&client).await;

    let start = Instant::now();
    let submitted = submit_for(server.address(), clients, LOAD).await?;
    let submit_time = start.elapsed().as_secs_f64();
    drained(&client).await;
    let total_time = start.elapsed().as_secs_f64();
    row("submitted (POST to 201)", &per_second(submitted as f64 / submit_time, "tasks"));
    row("completed (POST to stored result)", &per_second(submitted as f64 / total_time, "tasks"));
    let newest = client.get("/task?limit=1000").await;
    let tasks = newest.json.as_array().context("a list")?;
    ensure!(tasks.iter().all(|task| task["state"] == "completed"), "every task is completed");
    Ok(())
}

/// Submits no-op tasks to a server that may have others, waits until they are done, and returns how many it
/// completed in a second. No-ops are done when none wait: others run on.
pub(crate) async fn of_noops(server: &Server, clients: usize, time: Duration) -> Result<f64> {
    let client = server.client();
    let running = client.get("/stats").await.json["running"].clone();
    let start = Instant::now();
    let submitted = submit_for(server.address(), clients, time).await?;
    loop {
        let stats = client.get("/stats").await.json;
        if stats["waiting"] == 0 && stats["running"] == running {
            return Ok(submitted as f64 / start.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn submit_for(server: SocketAddr, clients: usize, time: Duration) -> Result<u64> {
    let until = Instant::now() + time;
    let submits: Vec<_> = (0..clients).map(|_| tokio::spawn(submit_until(server, until))).collect();
    let mut submitted = 0;
    for submit in submits {
        submitted += submit.await??;
    }
    Ok(submitted)
}

async fn submit_until(server: SocketAddr, until: Instant) -> Result<u64> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let body = Bytes::from_static(b"{\"plugin\":\"noop\"}");
    let mut submitted = 0;
    while Instant::now() < until {
        let request = Request::post("/task")
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))?;
        let response = sender.send_request(request).await?;
        ensure!(response.status() == StatusCode::CREATED, "answered {}", response.status());
        response.into_body().collect().await?;
        submitted += 1;
    }
    Ok(submitted)
}

/// Waits until nothing waits or runs.
async fn drained(client: &Client) {
    loop {
        let stats = client.get("/stats").await.json;
        if stats["waiting"] == 0 && stats["running"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
