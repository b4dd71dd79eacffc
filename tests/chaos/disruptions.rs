//! Disruptions of the server: kills, stops, a full disk, other plugins, drains, failing starts.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use wasmill_tests::{Client, Server, ServerFolder, test_database, tiny};

use crate::check;
use crate::clients::Clients;
use crate::database;
use crate::disk::Disk;
use crate::rng::Rng;

/// Time limit for a task to start running.
const DEADLINE: Duration = Duration::from_secs(10);

/// Disrupts one server after another on the same folders.
pub(crate) struct Disruptions {
    server: Option<Server>,
    folder: Arc<ServerFolder>,
    handle: Handle,
    disk: Disk,
    rng: Rng,
    start: Instant,
    kills: u32,
    stops: u32,
    drains: u32,
    fills: u32,
    database_faults: u32,
    swaps: u32,
    failing_starts: u32,
    recoveries: Vec<Duration>,
}

impl Disruptions {
    pub(crate) fn new(
        server: Server,
        folder: Arc<ServerFolder>,
        handle: Handle,
        disk: Disk,
        rng: Rng,
    ) -> Self {
        Self {
            server: Some(server),
            folder,
            handle,
            disk,
            rng,
            start: Instant::now(),
            kills: 0,
            stops: 0,
            drains: 0,
            fills: 0,
            database_faults: 0,
            swaps: 0,
            failing_starts: 0,
            recoveries: Vec::new(),
        }
    }

    /// Waits for a while, then causes one disruption.
    pub(crate) fn make(&mut self, clients: &Clients) -> Result<()> {
        sleep(self.rng.millis(200, 1_500));
        let start = self.start.elapsed();
        let (what, made) = match self.rng.below(14) {
            5..9 if let Some(server) = test_database() => {
                self.database_faults += 1;
                (database::disrupt(server, &mut self.rng), Ok(()))
            }
            0..4 => ("kill", self.kill(clients)),
            4 | 5 => ("stop", self.stop()),
            6 | 7 => ("full disk", self.fill(clients)),
            8 | 9 => ("swap", self.swap()),
            10 => ("drain", self.drain(clients, false)),
            11 | 12 => ("failing starts", self.fail_to_start(clients)),
            _ => ("drain over REST", self.drain(clients, true)),
        };
        println!("  {start:>8.1?}  {what}, took {:.1?}", self.start.elapsed() - start);
        made
    }

    /// Ends all disruptions and returns the server.
    pub(crate) fn end(&mut self, clients: &Clients) -> Result<Server> {
        self.disk.free()?;
        self.put_plugin(&tiny::plugin("AAAA"))?;
        // The last restart finds everything in order.
        self.drain(clients, false)?;
        self.server.take().context("a server")
    }

    pub(crate) fn figures(&self) -> Vec<(&'static str, String)> {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        let show = |at: Option<&Duration>| at.map_or("not measured".to_owned(), |time| format!("{time:.0?}"));
        vec![
            ("kills (SIGKILL)", self.kills.to_string()),
            ("stops (SIGSTOP, then SIGCONT)", self.stops.to_string()),
            ("drains (SIGTERM, half of them after POST /drain)", self.drains.to_string()),
            ("disk fills", if self.disk.is_small() { self.fills.to_string() } else { "skipped".to_owned() }),
            ("faults of PostgreSQL, half of them crashes", self.database_faults.to_string()),
            ("swaps of a plugin, half of them broken", self.swaps.to_string()),
            ("starts that failed and changed nothing", self.failing_starts.to_string()),
            ("recovery, start of the process to a task running: p50", show(sorted.get(sorted.len() / 2))),
            ("recovery, the slowest", show(sorted.last())),
        ]
    }

    /// Kills the server while a task runs, and measures the time until it runs again.
    fn kill(&mut self, clients: &Clients) -> Result<()> {
        let client = self.server()?.client();
        let witness = self.handle.block_on(witness(&client));
        self.server_mut()?.kill();
        self.kills += 1;
        let start = Instant::now();
        self.restart(clients)?;
        if let Some(witness) = witness {
            let client = self.server()?.client();
            let until = start + DEADLINE;
            let runs = self.handle.block_on(until_running(&client, &witness, until));
            ensure!(runs, "a task that ran when the host was killed did not run again within {DEADLINE:?}");
            self.recoveries.push(start.elapsed());
            // If this fails, the task ends by its timeout.
            let _ = self.handle.block_on(client.send(Method::DELETE, &format!("/task/{witness}"), None));
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.server()?.pause();
        sleep(self.rng.millis(200, 1_500));
        self.server()?.resume();
        self.stops += 1;
        Ok(())
    }

    /// Fills the disk for a while; sometimes the server is killed meanwhile.
    fn fill(&mut self, clients: &Clients) -> Result<()> {
        if !self.disk.is_small() {
            return Ok(());
        }
        self.disk.fill()?;
        self.fills += 1;
        sleep(self.rng.millis(300, 2_000));
        if self.rng.below(3) == 0 {
            self.server_mut()?.kill();
            self.kills += 1;
            self.disk.free()?;
            return self.restart(clients);
        }
        self.disk.free()
    }

    fn swap(&mut self) -> Result<()> {
        self.swaps += 1;
        match self.rng.below(4) {
            0 => self.put_plugin(&tiny::plugin("AAAA")),
            1 => self.put_plugin(&tiny::plugin("BBBB")),
            2 => self.put_plugin(b"not wasm"),
            _ => self.put_plugin(&tiny::plugin("AAAA")[..100]),
        }
    }

    fn put_plugin(&self, bytes: &[u8]) -> Result<()> {
        let plugins = self.server()?.folder().join("plugins");
        let part = plugins.join("swapped.part");
        std::fs::write(&part, bytes)?;
        Ok(std::fs::rename(part, plugins.join("swapped.wasm"))?)
    }

    /// Stops the server cleanly and starts it again.
    fn drain(&mut self, clients: &Clients, over_rest: bool) -> Result<()> {
        if over_rest {
            let client = self.server()?.client();
            let asked = client.send(Method::POST, "/drain", None);
            let answer = self.handle.block_on(asked)?;
            ensure!(answer.status.as_u16() == 202, "a drain was answered {}", answer.text);
            sleep(self.rng.millis(0, 1_500));
        }
        let server = self.server_mut()?;
        let status = server.terminate();
        ensure!(status.success(), "the server failed to stop cleanly: {}", server.log());
        self.drains += 1;
        self.restart(clients)
    }

    /// Stops the server cleanly, starts it with invalid settings, and starts it normally again. The failed start must
    /// have claimed, counted and changed nothing.
    fn fail_to_start(&mut self, clients: &Clients) -> Result<()> {
        let server = self.server_mut()?;
        let status = server.terminate();
        ensure!(status.success(), "the server failed to stop cleanly: {}", server.log());
        std::fs::write(self.folder.path().join("no-secret"), "whsec_none")?;
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let taken = taken.local_addr()?.to_string();
        let before = check::tasks(&self.folder)?;
        for _ in 0..1 + self.rng.below(4) {
            let wrong = match self.rng.below(5) {
                0 => ["--webhook-secret-file", "no-secret"],
                1 => ["--webhook-secret-file", "no-such-file"],
                2 => ["--debug-listen", &taken],
                3 => ["--http-roots", "no-such-file"],
                _ => ["--waiting-max", "0"],
            };
            if let Ok(mut started) = self.server()?.start_beside_with(&wrong) {
                started.kill();
                bail!("a server started with {wrong:?}");
            }
            self.failing_starts += 1;
            let after = check::tasks(&self.folder)?;
            let changed = before.iter().zip(&after).find(|(before, after)| before != after);
            ensure!(
                changed.is_none() && before.len() == after.len(),
                "a start with {wrong:?} changed {changed:?}"
            );
        }
        self.restart(clients)
    }

    fn restart(&mut self, clients: &Clients) -> Result<()> {
        let server = self.server()?.start_beside()?;
        clients.turn_to(0, &server);
        self.server = Some(server);
        Ok(())
    }

    fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("a server")
    }

    fn server_mut(&mut self) -> Result<&mut Server> {
        self.server.as_mut().context("a server")
    }
}

/// Submits a task that sleeps, and waits until it runs.
async fn witness(client: &Client) -> Option<String> {
    let task: Value =
        json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}, "timeout": "20s"});
    let body = Some(("application/json", task.to_string().into_bytes()));
    let answer = client.send(Method::POST, "/task", body).await.ok()?;
    let id = answer.json["id"].as_str()?.to_owned();
    until_running(client, &id, Instant::now() + DEADLINE).await.then_some(id)
}

async fn until_running(client: &Client, id: &str, until: Instant) -> bool {
    while Instant::now() < until {
        let answer = client.send(Method::GET, &format!("/task/{id}"), None).await;
        if answer.is_ok_and(|answer| answer.json["state"] == "running") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}
