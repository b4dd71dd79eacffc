//! What it costs to be safe: tasks per second with a key, and with TLS and a key, against a server that is open.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use wasmill_access::{Access, KeyFile, KeyFiles, NewKey, Scope};
use wasmill_model::{KeyLimits, Reach, SystemClock};
use wasmill_tests::{Authority, Server, wasmill};

use crate::report::{middle, per_second, row, title};

/// How long tasks are submitted in each round.
const LOAD: Duration = Duration::from_secs(4);
/// How often each server is measured, in turns: a shared machine changes from moment to moment.
const TURNS: usize = 5;
/// Checks of a key.
const CHECKS: u32 = 1_000_000;
/// What a check of a key may take.
const CHECK_GOAL: Duration = Duration::from_micros(1);

/// How a server is protected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    Open,
    Key,
    TlsAndKey,
}

impl Protection {
    const ALL: [Self; 3] = [Self::Open, Self::Key, Self::TlsAndKey];

    fn name(self) -> &'static str {
        match self {
            Self::Open => "completed, open",
            Self::Key => "completed, with a key",
            Self::TlsAndKey => "completed, with TLS and a key",
        }
    }

    /// Returns how many percent of the open server's rate it should have.
    fn goal(self) -> Option<f64> {
        match self {
            Self::Open => None,
            Self::Key => Some(99.0),
            Self::TlsAndKey => Some(85.0),
        }
    }
}

/// Measures the rates of the three servers in turns, and one check of a key.
pub(crate) async fn measure(clients: usize) -> Result<()> {
    title(&format!("Access: no-op tasks over HTTP, {clients} clients that keep their connections"));
    let mut rates = [const { Vec::new() }; Protection::ALL.len()];
    for _ in 0..TURNS {
        for (protection, rates) in Protection::ALL.into_iter().zip(&mut rates) {
            rates.push(Target::start(protection).await?.rate(clients).await?);
        }
    }
    let medians = rates.map(|mut rates| middle(&mut rates));
    for (protection, rate) in Protection::ALL.into_iter().zip(medians) {
        let rate_shown = per_second(rate, "tasks");
        match protection.goal() {
            None => row(protection.name(), &rate_shown),
            Some(goal) => {
                let share = 100.0 * rate / medians[0];
                row(
                    protection.name(),
                    &format!("{rate_shown}, {share:.1} % (goal {goal:.0} %: {})", met(share >= goal)),
                );
            }
        }
    }
    let check = check_of_a_key()?;
    row("one check of a key", &format!("{check:?} (goal {CHECK_GOAL:?}: {})", met(check <= CHECK_GOAL)));
    Ok(())
}

fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

/// Returns how long one check of a valid key takes.
fn check_of_a_key() -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let scopes = [Scope::Submit].into_iter().collect();
    let key = KeyFile::new(folder.path()).create(&NewKey {
        limits: KeyLimits::default(),
        name: "bench".to_owned(),
        scopes,
        expires: None,
        rate: None,
        reach: Reach::default(),
    })?;
    let keys = KeyFiles::new(folder.path(), None, None)?.read()?;
    let access = Access::new(keys, true, Arc::new(SystemClock));
    let (text, peer) = (key.reveal().as_bytes(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let start = Instant::now();
    for _ in 0..CHECKS {
        ensure!(access.check(black_box(Some(text)), peer).is_ok(), "the key is valid");
    }
    Ok(start.elapsed() / CHECKS)
}

/// A server, and how to reach it.
struct Target {
    server: Server,
    authority: Option<Authority>,
    key: Option<String>,
}

impl Target {
    async fn start(protection: Protection) -> Result<Self> {
        let folder = Server::folder_with_guests();
        let (mut args, mut authority, mut key) = (Vec::new(), None, None);
        if protection == Protection::TlsAndKey {
            let made = Authority::new();
            made.issue().write(folder.path());
            args.extend(["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
            authority = Some(made);
        }
        let server = Server::start_in(Arc::clone(&folder), &args)?;
        if protection != Protection::Open {
            let made = wasmill(folder.path(), &["key", "create", "bench", "--scope", "admin"]);
            ensure!(made.code == 0, "{}", made.err);
            key = Some(made.out.trim().to_owned());
        }
        let target = Self { server, authority, key };
        target.wait_for_key().await?;
        Ok(target)
    }

    /// Waits until the server knows the key, so that no round is of a server that is still open.
    async fn wait_for_key(&self) -> Result<()> {
        if self.key.is_none() {
            return Ok(());
        }
        let mut connection = Connection { authorization: None, ..self.connect().await? };
        let deadline = Instant::now() + Duration::from_secs(30);
        while connection.send(Method::GET, "/stats", "").await?.0 != StatusCode::UNAUTHORIZED {
            ensure!(Instant::now() < deadline, "the server does not ask for its key");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Returns how many tasks complete per second.
    async fn rate(&self, clients: usize) -> Result<f64> {
        self.submit_for(clients, Duration::from_secs(1)).await?;
        self.drained().await?;
        let start = Instant::now();
        let submitted = self.submit_for(clients, LOAD).await?;
        self.drained().await?;
        Ok(submitted as f64 / start.elapsed().as_secs_f64())
    }

    async fn submit_for(&self, clients: usize, time: Duration) -> Result<u64> {
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(self.connect().await?);
        }
        let until = Instant::now() + time;
        let submits: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                tokio::spawn(async move {
                    let mut submitted = 0_u64;
                    while Instant::now() < until {
                        connection.submit().await?;
                        submitted += 1;
                    }
                    anyhow::Ok(submitted)
                })
            })
            .collect();
        let mut submitted = 0;
        for submit in submits {
            submitted += submit.await??;
        }
        Ok(submitted)
    }

    /// Waits until no task is unfinished.
    async fn drained(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        loop {
            let (status, stats) = connection.send(Method::GET, "/stats", "").await?;
            ensure!(status == StatusCode::OK, "answered {status}");
            let stats: Value = serde_json::from_slice(&stats).context("statistics")?;
            if stats["waiting"] == 0 && stats["running"] == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn connect(&self) -> Result<Connection> {
        let http = match &self.authority {
            Some(authority) => {
                let (http, connection) =
                    handshake(TokioIo::new(authority.connect(self.server.address()).await?)).await?;
                tokio::spawn(connection);
                http
            }
            None => {
                let stream = TcpStream::connect(self.server.address()).await?;
                stream.set_nodelay(true)?;
                let (http, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                http
            }
        };
        Ok(Connection { http, authorization: self.key.as_ref().map(|key| format!("Bearer {key}")) })
    }
}

/// A connection that sends one request after another.
struct Connection {
    http: SendRequest<Full<Bytes>>,
    authorization: Option<String>,
}

impl Connection {
    async fn submit(&mut self) -> Result<()> {
        let (status, answer) = self.send(Method::POST, "/task", "{\"plugin\":\"noop\"}").await?;
        ensure!(status == StatusCode::CREATED, "answered {status}: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    async fn send(&mut self, method: Method, path: &str, body: &'static str) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::from(body))?;
        self.http.ready().await?;
        let response = self.http.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}
