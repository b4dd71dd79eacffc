//! The relay: writes what others want to know of the runs of this host, and reads the logs that are asked for here.
//!
//! A task of the runtime of the store, with a connection of its own, which also carries hints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wasmill_store::live::{LiveRun, LiveRuns};

use crate::cluster::others::Others;
use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::connection::server::{Purpose, RECONNECT_WAIT, Server};
use crate::live::carry_hints::carry;
use crate::live::reports::Reports;
use crate::live::watched_logs::{self, LogAllowance, WatchedLogs};
use crate::writer::thread::WriterQueue;

const SWEEP_RUNS: &str = "
    DELETE FROM live_run
    WHERE host <> $1 AND NOT EXISTS (SELECT FROM host WHERE host.id = live_run.host AND host.is_live)";
const SWEEP_OWN: &str = "DELETE FROM live_run WHERE host = $1";
const SWEEP_LOGS: &str = "DELETE FROM live_log WHERE until < clock_timestamp()";

/// The least time between two looks for logs that are asked for or have grown.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How often reports are written, and how often what nobody needs is removed.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Relays between the runs of this host and those who ask for them elsewhere.
pub(crate) struct Relay {
    server: Server,
    others: Arc<Others>,
    live_runs: Arc<LiveRuns>,
    watched: Arc<WatchedLogs>,
    queue: WriterQueue,
    connection: Option<Arc<Connection>>,
    /// What carries hints on the connection.
    carrying: JoinSet<()>,
    reports: Reports,
    allowance: LogAllowance,
    reported_at: Instant,
    swept_at: Instant,
}

impl Relay {
    pub(crate) fn new(
        server: Server,
        others: Arc<Others>,
        live_runs: Arc<LiveRuns>,
        watched: Arc<WatchedLogs>,
        queue: WriterQueue,
    ) -> Self {
        let now = Instant::now();
        Self {
            server,
            others,
            live_runs,
            watched,
            queue,
            connection: None,
            carrying: JoinSet::new(),
            reports: Reports::default(),
            allowance: LogAllowance::new(now),
            reported_at: now,
            swept_at: now,
        }
    }

    /// Relays until the runtime ends.
    pub(crate) async fn run(mut self) {
        loop {
            // A reader may learn of another host before this one's writer does.
            if !self.others.is_any() && self.watched.is_empty() {
                self.stop().await;
                tokio::select! {
                    () = sleep(REPORT_INTERVAL) => {}
                    () = self.watched.added() => {}
                }
                continue;
            }
            if let Err(error) = timeout(LOOK_TIMEOUT, self.look()).await.unwrap_or(Err(Error::Silent)) {
                tracing::debug!(%error, "failed to relay the runs of this host");
                // The tables may be empty now.
                self.disconnect();
                self.reports = Reports::default();
                sleep(RECONNECT_WAIT).await;
                continue;
            }
            tokio::select! {
                () = sleep(self.others.poll().max(LOOK_INTERVAL)) => {}
                () = self.watched.added() => {}
                _ = self.carrying.join_next(), if !self.carrying.is_empty() => {
                    self.disconnect();
                }
            }
        }
    }

    /// Removes the rows of this host once it is the only one, and disconnects.
    async fn stop(&mut self) {
        self.reports = Reports::default();
        let Some(connection) = self.disconnect() else { return };
        let host = self.others.lease.term();
        let swept = async {
            connection.execute(SWEEP_OWN, &[&host]).await?;
            connection.execute(SWEEP_RUNS, &[&host]).await?;
            connection.execute(SWEEP_LOGS, &[]).await
        };
        if let Err(error) = timeout(LOOK_TIMEOUT, swept).await.unwrap_or(Err(Error::Silent)) {
            tracing::debug!(%error, "failed to remove what was relayed");
        }
    }

    fn disconnect(&mut self) -> Option<Arc<Connection>> {
        self.carrying.abort_all();
        self.connection.take()
    }

    async fn look(&mut self) -> Result<()> {
        let connection = self.connected().await?;
        let (runs, now) = (self.live_runs.all(), Instant::now());
        let is_idle = runs.is_empty() && self.reports.is_empty() && self.watched.is_empty();
        let is_sweep_due = self.others.is_on_duty() && now - self.swept_at > SWEEP_INTERVAL;
        if is_idle && !is_sweep_due {
            return Ok(());
        }
        if is_sweep_due {
            self.swept_at = now;
            let own = self.others.lease.term();
            connection.execute(SWEEP_RUNS, &[&own]).await?;
            connection.execute(SWEEP_LOGS, &[]).await?;
        }
        self.write(&connection, runs, now).await?;
        self.watched.look(&connection).await
    }

    /// Writes the logs that are asked for and what runs have reported.
    async fn write(&mut self, connection: &Connection, runs: Vec<LiveRun>, now: Instant) -> Result<()> {
        let host = self.others.lease.term();
        if !runs.is_empty() {
            watched_logs::write_asked(connection, host, &self.live_runs, &mut self.allowance).await?;
        }
        if now - self.reported_at >= REPORT_INTERVAL {
            self.reported_at = now;
            self.reports.write(connection, host, runs, self.others.hosts()).await?;
        }
        Ok(())
    }

    async fn connected(&mut self) -> Result<Arc<Connection>> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        self.disconnect();
        let connection = self.server.connect(Purpose::Live).await?;
        self.reports = Reports::default();
        self.carrying = JoinSet::new();
        self.carrying.spawn(carry(Arc::clone(&connection), self.others.clone(), self.queue.clone()));
        self.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }
}
