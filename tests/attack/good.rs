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
use serde_json::json;
use wasmill_tests::Client;

/// What each connection asks for, and how often: a hundred requests a second in all. Submits wait for the disk, which is
/// not the server's alone, so they are counted apart, too.
const CONNECTIONS: [Asks; 4] = [Asks::Submit, Asks::Record, Asks::List, Asks::Statistics];
const PACE: Duration = Duration::from_millis(40);

/// The quantile that is compared, and the most that it may be worse under attack. It is printed, not asserted: on a busy
/// machine both are noise.
const QUANTILE: f64 = 0.99;
const WORSE_MAX: f64 = 2.0;

/// How many faults of a connection are kept.
const FAULTS_MAX: usize = 10;

/// What a connection of the good client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Submit,
    Record,
    List,
    Statistics,
}

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
    quiet: Latencies,
    attacked: Latencies,
    faults: Vec<String>,
}

#[derive(Debug, Default)]
struct Latencies {
    submits: Vec<Duration>,
    reads: Vec<Duration>,
}

impl Latencies {
    fn add(&mut self, asks: Asks, latency: Duration) {
        if asks == Asks::Submit { self.submits.push(latency) } else { self.reads.push(latency) }
    }

    fn append(&mut self, mut others: Self) {
        self.submits.append(&mut others.submits);
        self.reads.append(&mut others.reads);
    }
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
        let (quiet, attacked) = (&mut self.quiet, &mut self.attacked);
        for (what, quiet, attacked) in [
            ("submits", &mut quiet.submits, &mut attacked.submits),
            ("reads", &mut quiet.reads, &mut attacked.reads),
        ] {
            let (before, under, counts) =
                (quantile(quiet), quantile(attacked), (quiet.len(), attacked.len()));
            let ratio = under / before.max(f64::MIN_POSITIVE);
            let verdict = if ratio <= WORSE_MAX { "within" } else { "BEYOND" };
            println!(
                "  good client, p99 of {what:<14} {before:>9.2} {under:>9.2} ms quiet and under attack: {ratio:.2}, {verdict} \
                 {WORSE_MAX} ({} and {} requests)",
                counts.0, counts.1
            );
            if counts.0 == 0 || counts.1 == 0 {
                self.faults.push(format!("the {what} of the good client were never answered"));
            }
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
    let mut due = Instant::now() + PACE;
    let mut connections = Vec::new();
    for asks in CONNECTIONS {
        let (client, phase, is_stopped) = (client.clone(), Arc::clone(&phase), Arc::clone(&is_stopped));
        connections.push(tokio::spawn(connection(client, asks, phase, is_stopped, due)));
        due += PACE / 4;
    }
    let mut all = Measured::default();
    for connection in connections {
        let measured = connection.await.expect("the good client does not panic");
        all.quiet.append(measured.quiet);
        all.attacked.append(measured.attacked);
        all.faults.extend(measured.faults);
    }
    all
}

/// Sends one request after another, each when it is due.
async fn connection(
    client: Client,
    asks: Asks,
    phase: Arc<AtomicU8>,
    is_stopped: Arc<AtomicBool>,
    mut due: Instant,
) -> Measured {
    let mut measured = Measured::default();
    let task = client.submit(&json!({"plugin": "noop"})).await;
    while !is_stopped.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due.into()).await;
        let during = phase.load(Ordering::Relaxed);
        let answer = ask(&client, asks, &task).await;
        let latency = due.elapsed();
        // A request that began in another turn counts for neither.
        let is_of_turn = during == phase.load(Ordering::Relaxed);
        match answer {
            Err(fault) => measured.faults.push(fault),
            Ok(()) if is_of_turn && during == Phase::Quiet as u8 => measured.quiet.add(asks, latency),
            Ok(()) if is_of_turn && during == Phase::Attacked as u8 => measured.attacked.add(asks, latency),
            Ok(()) => {}
        }
        measured.faults.truncate(FAULTS_MAX);
        due += PACE;
        if during == Phase::Unmeasured as u8 || !is_of_turn {
            // What was due in the turn before does not count for the next.
            due = due.max(Instant::now());
        }
    }
    measured
}

/// Sends a request, and says what is wrong with its answer.
async fn ask(client: &Client, asks: Asks, task: &str) -> Result<(), String> {
    let (method, path, status) = match asks {
        Asks::Submit => (Method::POST, "/task".to_owned(), StatusCode::CREATED),
        Asks::Record => (Method::GET, format!("/task/{task}"), StatusCode::OK),
        Asks::List => (Method::GET, "/task?limit=20".to_owned(), StatusCode::OK),
        Asks::Statistics => (Method::GET, "/stats".to_owned(), StatusCode::OK),
    };
    let body = (asks == Asks::Submit).then(|| ("application/json", br#"{"plugin":"noop"}"#.to_vec()));
    let answer = client.send(method, &path, body).await;
    let answer = answer.map_err(|error| format!("the good client got no answer to {path}: {error:#}"))?;
    if answer.status == status {
        return Ok(());
    }
    Err(format!("the good client got {} for {path}: {}", answer.status, answer.text))
}
