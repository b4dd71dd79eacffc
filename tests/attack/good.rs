//! The good client: submits tasks and reads them at a steady pace, whatever the others do.
//!
//! It has a thread of its own. A latency counts from when the request was due, so a server that stalls is not measured
//! by fewer requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client};

/// Connections, and how often each sends a request: a hundred a second in all.
const CONNECTIONS: u32 = 4;
const PACE: Duration = Duration::from_millis(40);

/// The quantile that is compared, and the most that it may be worse under attack. It is told, not asserted: on a busy
/// machine both are noise.
const QUANTILE: f64 = 0.99;
const WORSE_MAX: f64 = 2.0;

/// How many faults of a connection are kept.
const FAULTS_MAX: usize = 10;

/// What a request counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Unmeasured,
    Quiet,
    Attacked,
}

/// The running client.
pub(crate) struct GoodClient {
    /// A [`Phase`].
    pub(crate) phase: Arc<AtomicU8>,
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<Measured>,
}

/// Latencies by phase, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    quiet: Vec<Duration>,
    attacked: Vec<Duration>,
    faults: Vec<String>,
}

impl GoodClient {
    pub(crate) fn start(server: SocketAddr, key: &str) -> Self {
        let (phase, is_stopped) =
            (Arc::new(AtomicU8::new(Phase::Unmeasured as u8)), Arc::new(AtomicBool::new(false)));
        let (client, phases, stopped) =
            (Client::new(server).with_key(key), Arc::clone(&phase), Arc::clone(&is_stopped));
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work(client, phases, stopped))
        });
        Self { phase, is_stopped, thread }
    }

    /// Ends it and returns what it has seen.
    pub(crate) fn stop(self) -> Measured {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.join().expect("the good client does not panic")
    }
}

impl Measured {
    /// Prints the quantiles, and returns what must not be.
    pub(crate) fn report(mut self) -> Vec<String> {
        let (quiet, attacked) = (quantile(&mut self.quiet), quantile(&mut self.attacked));
        println!(
            "  {:<34} {quiet:>9.2} {attacked:>9.2} ms, quiet ({} requests) and under attack ({})",
            "good client, p99",
            self.quiet.len(),
            self.attacked.len()
        );
        let ratio = attacked / quiet.max(f64::MIN_POSITIVE);
        let verdict = if ratio <= WORSE_MAX { "within" } else { "BEYOND" };
        println!("  {:<34} {ratio:>9.2} {verdict} {WORSE_MAX}", "under attack to quiet");
        if self.quiet.is_empty() || self.attacked.is_empty() {
            self.faults.push("the good client was never answered".to_owned());
        }
        self.faults
    }
}

fn quantile(latencies: &mut [Duration]) -> f64 {
    latencies.sort_unstable();
    let place = (latencies.len() as f64 * QUANTILE) as usize;
    latencies
        .get(place.min(latencies.len().saturating_sub(1)))
        .map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

async fn work(client: Client, phase: Arc<AtomicU8>, is_stopped: Arc<AtomicBool>) -> Measured {
    let start = Instant::now() + PACE;
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|worker| {
            let (client, phase, is_stopped) = (client.clone(), Arc::clone(&phase), Arc::clone(&is_stopped));
            tokio::spawn(connection(client, phase, is_stopped, start + PACE * worker / CONNECTIONS))
        })
        .collect();
    let mut all = Measured::default();
    for worker in workers {
        let measured = worker.await.expect("the good client does not panic");
        all.quiet.extend(measured.quiet);
        all.attacked.extend(measured.attacked);
        all.faults.extend(measured.faults);
    }
    all
}

/// Sends one request after another, each when it is due.
async fn connection(
    client: Client,
    phase: Arc<AtomicU8>,
    is_stopped: Arc<AtomicBool>,
    mut due: Instant,
) -> Measured {
    let (mut measured, mut number, mut task) = (Measured::default(), 0_u64, None);
    while !is_stopped.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due.into()).await;
        let during = phase.load(Ordering::Relaxed);
        let answer = ask(&client, number, &mut task).await;
        let latency = due.elapsed();
        match answer {
            Err(fault) if measured.faults.len() < FAULTS_MAX => measured.faults.push(fault),
            Err(_) => {}
            // A request that began in another turn tells of neither.
            Ok(()) if during != phase.load(Ordering::Relaxed) => {}
            Ok(()) if during == Phase::Quiet as u8 => measured.quiet.push(latency),
            Ok(()) if during == Phase::Attacked as u8 => measured.attacked.push(latency),
            Ok(()) => {}
        }
        (due, number) = (due + PACE, number + 1);
    }
    measured
}

/// Sends the next request: a task, its record, a list and the statistics in turn.
async fn ask(client: &Client, number: u64, task: &mut Option<String>) -> Result<(), String> {
    let expected = match number % 4 {
        0 => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let path = match (number % 4, task.as_deref()) {
        (0, _) => "/task".to_owned(),
        (1, Some(id)) => format!("/task/{id}"),
        (2, _) => "/task?limit=20".to_owned(),
        _ => "/stats".to_owned(),
    };
    let answer: anyhow::Result<Answer> = if expected == StatusCode::CREATED {
        let body: Value = json!({"plugin": "noop"});
        client.send(Method::POST, &path, Some(("application/json", body.to_string().into_bytes()))).await
    } else {
        client.send(Method::GET, &path, None).await
    };
    let answer = answer.map_err(|error| format!("the good client got no answer to {path}: {error:#}"))?;
    if answer.status != expected {
        return Err(format!("the good client got {} for {path}: {}", answer.status, answer.text));
    }
    if expected == StatusCode::CREATED {
        *task = answer.json["id"].as_str().map(str::to_owned);
    }
    Ok(())
}
