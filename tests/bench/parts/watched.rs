//! The cost of observation: the same no-op tasks unobserved, and while a client follows a task's log, progress and the
//! list and Prometheus scrapes. The two alternate, as a shared machine changes from moment to moment; CPU time is
//! measured as well, since other processes affect it less.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::task::JoinHandle;
use wasmill_tests::{Client, Server};

use crate::parts::computing::computed;
use crate::parts::throughput;
use crate::report::{middle, per_second, row, title};

/// How often each case is measured.
pub(crate) const ROUNDS: usize = 7;
/// How long tasks are submitted in each round.
pub(crate) const LOAD: Duration = Duration::from_secs(2);
/// How often the metrics are scraped and the list is requested.
const LOOK: Duration = Duration::from_secs(1);

/// The results of rounds: tasks per second, and CPU microseconds of the server per task.
#[derive(Default)]
pub(crate) struct Rounds {
    rates: Vec<f64>,
    micros: Vec<f64>,
}

pub(crate) async fn measure(clients: usize) -> Result<()> {
    title("Metrics, logs and progress, observed and not, alternating");
    let server = Server::start(&["--timeout", "2h"]);
    let client = server.client();
    throughput::of_noops(&server, clients, LOAD).await?;
    let (mut alone, mut watched) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        alone.add(&server, clients).await?;
        let lines = json!({"plugin": "misbehave", "input": {"do": "lines", "count": 1_000_000, "ms": 10}});
        let waits = json!({"plugin": "io-stub", "input": {"min_ms": 3_600_000, "max_ms": 3_600_000}});
        let (lines, waits) = (client.submit(&lines).await, client.submit(&waits).await);
        let lookers = [
            tokio::spawn(poll(client.clone(), "/metrics")),
            tokio::spawn(poll(client.clone(), "/task?limit=50")),
            read_on(&client, &format!("/task/{lines}/logs")).await,
            read_on(&client, &format!("/task/{waits}/events")).await,
        ];
        watched.add(&server, clients).await?;
        for looker in lookers {
            looker.abort();
        }
        for id in [lines, waits] {
            client.delete(&format!("/task/{id}")).await;
        }
    }
    compare(&mut alone, "metrics, list, a log of 100 lines/s, progress", &mut watched);
    Ok(())
}

/// Prints the medians of rounds without observers, and those of rounds with them beside.
pub(crate) fn compare(alone: &mut Rounds, name: &str, watched: &mut Rounds) {
    let (rate, micros) = (middle(&mut alone.rates), middle(&mut alone.micros));
    row("unobserved", &format!("{}, {micros:.1} us of CPU each", per_second(rate, "tasks")));
    let (seen_rate, seen_micros) = (middle(&mut watched.rates), middle(&mut watched.micros));
    let shares = format!("{:.1} %, {:.1} %", 100.0 * seen_rate / rate, 100.0 * seen_micros / micros);
    row(name, &format!("{}, {seen_micros:.1} us: {shares}", per_second(seen_rate, "tasks")));
}

impl Rounds {
    /// Measures one round.
    pub(crate) async fn add(&mut self, server: &Server, clients: usize) -> Result<()> {
        let before = computed(server)?;
        let rate = throughput::of_noops(server, clients, LOAD).await?;
        self.rates.push(rate);
        // The load lasts as long as requested, plus the tasks that wait at its end.
        let took = computed(server)? - before;
        self.micros.push(1e6 * took.as_secs_f64() / (rate * LOAD.as_secs_f64()));
        Ok(())
    }
}

async fn poll(client: Client, path: &'static str) {
    let mut next = tokio::time::interval(LOOK);
    loop {
        next.tick().await;
        client.get(path).await;
    }
}

pub(crate) async fn read_on(client: &Client, path: &str) -> JoinHandle<()> {
    let mut stream = client.follow(path, None).await;
    tokio::spawn(async move { stream.drain().await })
}
