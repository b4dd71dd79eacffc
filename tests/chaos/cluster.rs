//! Several servers on a PostgreSQL with a synchronous standby: servers are killed and frozen, and the primary is killed,
//! restarted and replaced by its standby.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use wasmill_tests::{Client, Patroni, Server};

use crate::clients::Clients;
use crate::ledger::{Fault, Ledger};
use crate::rng::Rng;
use crate::{CLIENTS, ODD_CLIENTS, add_plugins, check, debug_port, report};

/// Maximum time until each server stores tasks again once there is a primary. A server that was frozen for long registers
/// anew, and takes its turn.
const SERVING: Duration = Duration::from_secs(30);

/// The connections of the servers.
const BACKENDS: &str = "FROM pg_stat_activity WHERE application_name LIKE 'wasmill%'";

/// One disruption.
#[derive(Clone, Copy, Debug)]
enum Disruption {
    /// The primary is gone with its machine; the standby takes its place.
    LosePrimary,
    SwitchOver,
    KillPrimary,
    RestartPrimary,
    CutConnections,
    KillServer,
    /// For longer than its lease: others take over its tasks.
    FreezeServer,
    /// For less.
    StopServer,
}

const DISRUPTIONS: [Disruption; 7] = [
    Disruption::SwitchOver,
    Disruption::KillPrimary,
    Disruption::RestartPrimary,
    Disruption::CutConnections,
    Disruption::KillServer,
    Disruption::FreezeServer,
    Disruption::StopServer,
];

struct Cluster {
    patroni: Patroni,
    servers: Vec<Server>,
    /// The one that was killed and not yet started again.
    killed: Option<usize>,
    load: Runtime,
    ledger: Arc<Ledger>,
    rng: Rng,
    start: Instant,
    counts: [u32; 8],
    /// Times from the loss of a primary until a server stored a task again.
    failovers: Vec<Duration>,
    /// The same for the other faults of PostgreSQL.
    others: Vec<Duration>,
}

/// Runs the chaos with this many servers; skips it with a line if something is not installed.
pub(crate) fn run(servers: u64, seconds: u64, seed: u64) -> Result<()> {
    ensure!(servers > 1, "CHAOS_CLUSTER must be at least 2");
    let began = Instant::now();
    let Some(patroni) = Patroni::start()? else { return Ok(()) };
    println!("  a primary and a synchronous standby after {:.1?}", began.elapsed());
    let shared = tempfile::tempdir()?;
    let started = (0..servers).map(|_| start_server(&patroni, shared.path())).collect::<Result<Vec<_>>>()?;
    let load = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ledger = Arc::new(Ledger::new(shared.path().to_owned(), true));
    let clients = Clients::start(&load, &started, &ledger, (CLIENTS, ODD_CLIENTS), seed);
    let mut cluster = Cluster {
        patroni,
        servers: started,
        killed: None,
        load,
        ledger,
        rng: Rng::new(seed),
        start: Instant::now(),
        counts: [0; 8],
        failovers: Vec::new(),
        others: Vec::new(),
    };
    cluster.disrupt(&clients, Duration::from_secs(seconds))?;
    cluster.end(clients)?;
    report(&cluster.ledger, cluster.figures(), seed)
}

fn start_server(patroni: &Patroni, shared: &std::path::Path) -> Result<Server> {
    let folder = Server::folder_with_guests();
    add_plugins(&folder, shared)?;
    let url = patroni.url("postgres");
    let args = ["--database", &url, "--database-migrate", "--slots", "30", "--drain", "1s"];
    let server = Server::start_in(folder, &[&args[..], &["--debug-listen", "127.0.0.1:0"]].concat())?;
    // A database that is away is logged as an error.
    server.expect_errors();
    server.wait_for_plugins();
    Ok(server)
}

impl Cluster {
    /// Causes one disruption after the other; each seed has an order of its own, which begins with a failover.
    fn disrupt(&mut self, clients: &Clients, time: Duration) -> Result<()> {
        let mut left = Vec::new();
        let mut next = Some(Disruption::LosePrimary);
        while self.start.elapsed() < time {
            sleep(self.rng.millis(500, 2_000));
            let disruption = match next.take() {
                Some(disruption) => disruption,
                None => {
                    if left.is_empty() {
                        left = [&DISRUPTIONS[..], &[Disruption::LosePrimary]].concat();
                    }
                    left.swap_remove(self.rng.below(left.len()))
                }
            };
            self.counts[disruption as usize] += 1;
            let began = self.start.elapsed();
            self.make(disruption, clients)?;
            println!("  {began:>8.1?}  {disruption:?}, took {:.1?}", self.start.elapsed() - began);
        }
        Ok(())
    }

    fn make(&mut self, disruption: Disruption, clients: &Clients) -> Result<()> {
        match disruption {
            Disruption::LosePrimary => self.lose_primary()?,
            Disruption::SwitchOver => self.disturb(Patroni::switch_over)?,
            Disruption::KillPrimary => self.disturb(Patroni::kill_primary)?,
            Disruption::RestartPrimary => self.disturb(Patroni::restart_primary)?,
            Disruption::CutConnections => self.disturb(|patroni| {
                patroni
                    .query("postgres", &format!("SELECT count(pg_terminate_backend(pid)) {BACKENDS}"))
                    .map(drop)
            })?,
            // The one that was killed starts again when the next one is.
            Disruption::KillServer => {
                self.restart(clients)?;
                let index = self.rng.below(self.servers.len());
                self.servers[index].kill();
                self.killed = Some(index);
                if self.rng.below(2) == 0 {
                    self.restart(clients)?;
                }
            }
            Disruption::FreezeServer => self.stop(13_000, 17_000),
            Disruption::StopServer => self.stop(500, 8_000),
        }
        Ok(())
    }

    /// Stops a server for a while, as a suspended machine is.
    fn stop(&mut self, from: u64, to: u64) {
        let up: Vec<_> = (0..self.servers.len()).filter(|index| self.killed != Some(*index)).collect();
        let index = up[self.rng.below(up.len())];
        self.servers[index].pause();
        sleep(self.rng.millis(from, to));
        self.servers[index].resume();
    }

    fn restart(&mut self, clients: &Clients) -> Result<()> {
        if let Some(index) = self.killed.take() {
            self.servers[index] = self.servers[index].start_beside()?;
            clients.turn_to(index, &self.servers[index]);
        }
        Ok(())
    }

    /// Kills the primary with its machine. What runs meanwhile freezes and thaws: no attempt and no crash is counted.
    fn lose_primary(&mut self) -> Result<()> {
        let witness = self.witness()?;
        let began = Instant::now();
        let lost = self.patroni.lose_primary()?;
        self.patroni.wait_for_primary()?;
        self.until_all_store()?;
        self.failovers.push(began.elapsed());
        if let Some((client, id)) = witness {
            let path = format!("/task/{id}");
            let task = self.load.block_on(client.send(Method::GET, &path, None))?;
            let counted = (&task.json["state"], &task.json["attempt"], &task.json["host_crashes"]);
            if counted != (&json!("running"), &json!(1), &json!(0)) {
                self.ledger.report(Fault::Odd, format!("a run did not outlive a failover: {}", task.text));
            }
            // If this fails, the task ends by its timeout.
            let _ = self.load.block_on(client.send(Method::DELETE, &path, None));
        }
        sleep(self.rng.millis(0, 2_000));
        self.patroni.start_node(lost)?;
        self.patroni.wait_for_standby()
    }

    /// Does something to PostgreSQL that it recovers from, and waits until it has.
    fn disturb(&mut self, fault: impl Fn(&Patroni) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        fault(&self.patroni)?;
        self.patroni.wait_for_primary()?;
        self.until_all_store()?;
        self.others.push(began.elapsed());
        // Without it a failover would lose what was acknowledged.
        self.patroni.wait_for_standby()
    }

    /// Waits until each server stores a task: all connect again by themselves.
    fn until_all_store(&self) -> Result<()> {
        let deadline = Instant::now() + SERVING;
        for (index, server) in self.servers.iter().enumerate() {
            let client = server.client();
            while self.killed != Some(index) {
                if let Some(id) = self.submit(&client, &json!({"plugin": "noop"}))? {
                    self.ledger.accept(id, None, None);
                    break;
                }
                if Instant::now() > deadline {
                    self.ledger
                        .report(Fault::Stuck, format!("server {index} stores nothing: {}", server.log()));
                    break;
                }
                sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// Submits a task; `None` if it is not stored, or nobody knows.
    fn submit(&self, client: &Client, task: &Value) -> Result<Option<String>> {
        let body = Some(("application/json", task.to_string().into_bytes()));
        let Ok(answer) = self.load.block_on(client.send(Method::POST, "/task", body)) else {
            return Ok(None);
        };
        match answer.status {
            StatusCode::CREATED => Ok(Some(answer.json["id"].as_str().context("an id")?.to_owned())),
            _ => Ok(None),
        }
    }

    /// Submits a task that sleeps and that no client knows, and waits until it runs.
    fn witness(&self) -> Result<Option<(Client, String)>> {
        let task = json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}, "timeout": "2m"});
        let index = (0..self.servers.len()).find(|index| self.killed != Some(*index)).context("a server")?;
        let client = self.servers[index].client();
        let Some(id) = self.submit(&client, &task)? else { return Ok(None) };
        let deadline = Instant::now() + SERVING;
        while Instant::now() < deadline {
            let answer = self.load.block_on(client.send(Method::GET, &format!("/task/{id}"), None));
            if answer.is_ok_and(|answer| answer.json["state"] == "running") {
                return Ok(Some((client, id)));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(None)
    }

    /// Checks all promises.
    fn end(&mut self, clients: Clients) -> Result<()> {
        self.restart(&clients)?;
        self.patroni.wait_for_standby()?;
        self.load.block_on(clients.stop());
        let client = self.servers[0].client();
        self.load.block_on(check::over_rest(&client, &self.ledger))?;
        for server in &mut self.servers {
            let debug = debug_port(server).context("the log shows the debug port")?;
            self.load.block_on(check::nothing_computes(&server.client(), &debug, &self.ledger));
            ensure!(server.terminate().success(), "a server failed to stop cleanly: {}", server.log());
        }
        let query = |sql: &str| {
            let rows = self.patroni.query("postgres", &format!("SET search_path = wasmill; {sql}"))?;
            Ok(rows.lines().map(str::to_owned).collect())
        };
        check::in_tables(query, "replace(CAST(id AS text), '-', '')", &self.ledger)
    }

    fn figures(&self) -> Vec<(&'static str, String)> {
        let count = |disruption: Disruption| self.counts[disruption as usize].to_string();
        let slowest = |times: &[Duration]| {
            times.iter().max().map_or("not measured".to_owned(), |time| format!("{time:.1?}"))
        };
        vec![
            ("losses of the primary, its standby takes over", count(Disruption::LosePrimary)),
            ("switchovers", count(Disruption::SwitchOver)),
            ("kills of the primary (SIGKILL)", count(Disruption::KillPrimary)),
            ("restarts of the primary", count(Disruption::RestartPrimary)),
            ("cuts of all connections", count(Disruption::CutConnections)),
            ("kills of a server (SIGKILL)", count(Disruption::KillServer)),
            ("stops of a server for longer than its lease", count(Disruption::FreezeServer)),
            ("stops of a server for less", count(Disruption::StopServer)),
            ("failover until all servers store, the slowest", slowest(&self.failovers)),
            ("other faults of PostgreSQL, the slowest", slowest(&self.others)),
        ]
    }
}
