//! Completed tasks per second, submitted one by one over HTTP, each stored with an fsync before its 201.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use wasmill_tests::{Client, Server};

use crate::report::{middle, per_second, row, title};

/// How long tasks are submitted in each round.
const LOAD: Duration = Duration::from_secs(4);

/// How often each rate is measured, alternating: a shared machine changes from moment to moment.
const TURNS: u32 = 2;

/// Tasks of the queue that is drained, and how often.
const DRAINED: usize = 20_000;
const DRAINS: usize = 5;

/// How often the metrics are scraped: more often than Prometheus does by default.
const SCRAPE: Duration = Duration::from_secs(1);

/// Submits from this many concurrent clients, waits until all tasks have finished, and prints the rates: alone, and
/// while the metrics are scraped.
pub(crate) async fn measure(clients: usize) -> Result<()> {
    title(&format!("Throughput: no-op tasks over HTTP, {clients} clients, fsync on"));
    let (mut submitted, mut completed, mut watched) = (0.0, 0.0, 0.0);
    for _ in 0..TURNS {
        let (posted, done) = rates(clients, false).await?;
        submitted += posted / f64::from(TURNS);
        completed += done / f64::from(TURNS);
        watched += rates(clients, true).await?.1 / f64::from(TURNS);
    }
    row("submitted (POST to 201)", &per_second(submitted, "tasks"));
    row("completed (POST to stored result)", &per_second(completed, "tasks"));
    let share = 100.0 * watched / completed;
    row(
        "completed, /metrics scraped each second",
        &format!("{}, {share:.0} %", per_second(watched, "tasks")),
    );
    let mut rates = Vec::new();
    for _ in 0..DRAINS {
        rates.push(drain().await?);
    }
    row(&format!("completed from a queue of {DRAINED}"), &per_second(middle(&mut rates), "tasks"));
    Ok(())
}

/// Returns how many waiting tasks complete per second once the queue is resumed.
async fn drain() -> Result<f64> {
    let server = Server::start(&[]);
    let client = server.client();
    client.post("/pause", &json!({})).await;
    for _ in 0..DRAINED / 10_000 {
        let batch = vec![json!({"plugin": "noop"}); 10_000];
        let answer = client.post("/task/batch", &json!(batch)).await;
        ensure!(answer.status == StatusCode::CREATED, "{}", answer.text);
    }
    let start = Instant::now();
    client.post("/resume", &json!({})).await;
    drained(&client).await;
    Ok(DRAINED as f64 / start.elapsed().as_secs_f64())
}

/// Scrapes the metrics until dropped.
async fn scrape(client: Client) {
    let mut next = tokio::time::interval(SCRAPE);
    loop {
        next.tick().await;
        let page = client.get("/metrics").await;
        assert!(page.text.ends_with("# EOF\n"), "{}", page.text);
    }
}

/// Returns how many tasks per second were submitted and completed.
async fn rates(clients: usize, watched: bool) -> Result<(f64, f64)> {
    let server = Server::start(&[]);
    let client = server.client();
    let watcher = watched.then(|| tokio::spawn(scrape(client.clone())));
    submit_for(server.address(), clients, Duration::from_secs(1)).await?;
    drained(&client).await;

    let start = Instant::now();
    let submitted = submit_for(server.address(), clients, LOAD).await?;
    let submit_time = start.elapsed().as_secs_f64();
    drained(&client).await;
    let total_time = start.elapsed().as_secs_f64();
    if let Some(watcher) = watcher {
        ensure!(!watcher.is_finished(), "the metrics were scraped to the end");
        watcher.abort();
    }
    let newest = client.get("/task?limit=1000").await;
    let tasks = newest.json.as_array().context("a list")?;
    ensure!(tasks.iter().all(|task| task["state"] == "completed"), "every task is completed");
    Ok((submitted as f64 / submit_time, submitted as f64 / total_time))
}

/// Submits no-op tasks to a server that may have others, waits until they have completed, and returns their rate. They
/// have completed when none wait: other tasks keep running.
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

/// Submits no-op tasks for a while from this many concurrent clients; returns how many.
pub(crate) async fn submit_for(server: SocketAddr, clients: usize, time: Duration) -> Result<u64> {
    let until = Instant::now() + time;
    let submits: Vec<_> = (0..clients).map(|_| tokio::spawn(submit_until(server, until))).collect();
    let mut submitted = 0;
    for submit in submits {
        submitted += submit.await??;
    }
    Ok(submitted)
}

async fn submit_until(server: SocketAddr, until: Instant) -> Result<u64> {
    let mut submitter = Submitter::connect(server).await?;
    let mut submitted = 0;
    while Instant::now() < until {
        submitter.submit().await?;
        submitted += 1;
    }
    Ok(submitted)
}

/// Submits no-op tasks at this rate for a while, however long responses take; returns how long each took from its due
/// time.
pub(crate) async fn submit_at(
    server: SocketAddr,
    clients: u32,
    per_second: u32,
    time: Duration,
) -> Result<Vec<Duration>> {
    let start = Instant::now();
    let pause = Duration::from_secs(1) * clients / per_second;
    let submit = move |client: u32| async move {
        let mut submitter = Submitter::connect(server).await?;
        let mut samples = Vec::new();
        let mut due = start + pause * client / clients;
        while due < start + time {
            tokio::time::sleep_until(due.into()).await;
            submitter.submit().await?;
            samples.push(due.elapsed());
            due += pause;
        }
        anyhow::Ok(samples)
    };
    let submits: Vec<_> = (0..clients).map(|client| tokio::spawn(submit(client))).collect();
    let mut samples = Vec::new();
    for submit in submits {
        samples.extend(submit.await??);
    }
    Ok(samples)
}

/// A connection that submits one no-op task after another.
struct Submitter(http1::SendRequest<Full<Bytes>>);

impl Submitter {
    async fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn submit(&mut self) -> Result<()> {
        let request = Request::post("/task")
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(b"{\"plugin\":\"noop\"}")))?;
        let response = self.0.send_request(request).await?;
        ensure!(response.status() == StatusCode::CREATED, "answered {}", response.status());
        response.into_body().collect().await?;
        Ok(())
    }
}

/// Waits until no task is unfinished.
pub(crate) async fn drained(client: &Client) {
    loop {
        let stats = client.get("/stats").await.json;
        if stats["waiting"] == 0 && stats["running"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
