//! Group commit: many commands, one transaction.
//!
//! Each transaction begins with the fence: the row of the host must still have this incarnation, and takes the number
//! of the transaction, so that after a lost connection one question tells whether it was committed. An error of the
//! machine rolls the whole batch back and is returned to all its callers; an error of one command is returned to its
//! caller alone: the batch is halved until that command is isolated. No caller is answered before the commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_model::fault_point;
use wasmill_store::commit::{AbandonedClaims, Committed, OutageLog, WriterState, WriterStats};
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::finish::Finish;

use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::connection::server::{LOCKED, Server};
use crate::dependency::resolution;
use crate::writer::batch::{Batch, Job, Operation};
use crate::writer::{clock_skew, events, plugin_counts};

const FENCE: &str = "UPDATE host SET batch = $2 WHERE id = 0 AND incarnation = $1";
const WHAT_WAS_COMMITTED: &str = "SELECT batch FROM host WHERE id = 0 AND incarnation = $1";

/// How long a transaction whose outcome is unknown is asked for before its callers are told so.
const UNKNOWN_TIMEOUT: Duration = Duration::from_secs(5);
const RECONNECT_WAIT: Duration = Duration::from_millis(100);

/// Runs batches on the write connection.
pub(crate) struct Batcher {
    server: Server,
    connection: Option<Arc<Connection>>,
    incarnation: i64,
    batch: i64,
    writer_state: WriterState,
    turn: (String, String),
    stats: Arc<WriterStats>,
    live_runs: Arc<LiveRuns>,
    abandoned: Arc<AbandonedClaims>,
    outage_log: OutageLog,
    /// Commands that failed alone.
    damage: OutageLog,
    /// Whether the deferred work failed by itself the last time.
    is_stuck: bool,
}

/// What the batcher is started with.
pub(crate) struct Start {
    pub(crate) server: Server,
    pub(crate) connection: Arc<Connection>,
    pub(crate) incarnation: i64,
    pub(crate) writer_state: WriterState,
    pub(crate) stats: Arc<WriterStats>,
    pub(crate) live_runs: Arc<LiveRuns>,
    pub(crate) abandoned: Arc<AbandonedClaims>,
}

/// A transaction that has run and whose effects are to be published once it is known to be committed.
struct Ran {
    writer_state: WriterState,
    turn: (String, String),
    effects: wasmill_store::commit::Effects,
    is_durable: bool,
    commands: usize,
    began: Instant,
}

impl Batcher {
    pub(crate) fn new(start: Start) -> Self {
        let Start { server, connection, incarnation, writer_state, stats, live_runs, abandoned } = start;
        Self {
            server,
            connection: Some(connection),
            incarnation,
            batch: 0,
            writer_state,
            turn: Default::default(),
            stats,
            live_runs,
            abandoned,
            outage_log: OutageLog::new("writing to the database"),
            damage: OutageLog::new("a change of a single row"),
            is_stuck: false,
        }
    }

    /// Returns true if the writer has deferred work even when its queue is empty, and the database works.
    pub(crate) fn has_backlog(&self) -> bool {
        self.writer_state.has_unresolved_ends && !self.outage_log.is_ongoing() && !self.is_stuck
    }

    /// Runs commands in one transaction, or in several if some of them fail, and answers every caller.
    pub(crate) async fn commit(&mut self, jobs: Vec<Box<dyn Job>>) {
        let abandoned = self.abandoned.take();
        if jobs.is_empty() && abandoned.is_empty() && !self.writer_state.has_unresolved_ends {
            return;
        }
        // In order, as a command may depend on an earlier one.
        let mut parts = vec![(abandoned, jobs)];
        while let Some((mut abandoned, mut jobs)) = parts.pop() {
            let Err(error) = self.try_commit(&mut jobs, &abandoned).await else {
                self.is_stuck = false;
                let committed = self.outage_log.record(Ok(()));
                jobs.into_iter().for_each(|job| job.answer(committed.clone()));
                continue;
            };
            self.stats.failed();
            tracing::debug!(commands = jobs.len(), %error, "a batch of the store was rolled back");
            let fault = error.of_store(&self.server.address.to_string());
            if error.is_of_machine() {
                self.abandoned.requeue(abandoned);
                let refused = self.outage_log.record(Err(fault));
                jobs.into_iter().for_each(|job| job.answer(refused.clone()));
                continue;
            }
            if jobs.len() + abandoned.len() > 1 {
                let rest = abandoned.split_off(abandoned.len().div_ceil(2));
                if abandoned.is_empty() {
                    let rest = jobs.split_off(jobs.len() / 2);
                    parts.push((Vec::new(), rest));
                    parts.push((Vec::new(), jobs));
                } else {
                    parts.push((rest, jobs));
                    parts.push((abandoned, Vec::new()));
                }
                continue;
            }
            self.is_stuck = jobs.is_empty();
            let failed = self.damage.record(Err(fault));
            jobs.into_iter().for_each(|job| job.answer(failed.clone()));
        }
    }

    async fn try_commit(&mut self, jobs: &mut [Box<dyn Job>], abandoned: &[Finish]) -> Result<()> {
        let connection = self.connected().await?;
        let number = self.batch + 1;
        let ran = match self.run(&connection, number, jobs, abandoned).await {
            Ok(ran) => ran,
            Err(error) => {
                if error.is_lost() || connection.batch("ROLLBACK").await.is_err() {
                    self.connection = None;
                }
                return Err(error);
            }
        };
        if ran.is_durable {
            fault_point!("all written, not committed");
        }
        let live_runs = Arc::clone(&self.live_runs);
        let publishing = live_runs.event_bus.publishing();
        if let Err(error) = connection.batch("COMMIT").await
            && !self.was_committed(number, &error).await
        {
            return Err(error);
        }
        if ran.is_durable {
            fault_point!("committed, not answered");
        }
        self.batch = number;
        let Ran { writer_state, turn, mut effects, is_durable, commands, began } = ran;
        (self.writer_state, self.turn) = (writer_state, turn);
        effects.publish(&self.live_runs, writer_state.events_reserved.unsigned_abs());
        drop(publishing);
        let deliveries_dropped = effects.deliveries_dropped;
        let committed = Committed { commands, deliveries_dropped, synced: is_durable, took: began.elapsed() };
        self.stats.publish(writer_state, effects.count_delta, committed);
        if effects.wait_for_delivery {
            self.stats.wait_for_delivery.notify_one();
        }
        Ok(())
    }

    /// Runs the commands in an open transaction.
    async fn run(
        &self,
        connection: &Connection,
        number: i64,
        jobs: &mut [Box<dyn Job>],
        abandoned: &[Finish],
    ) -> Result<Ran> {
        let is_durable = jobs.iter().any(|job| job.durable());
        let began = Instant::now();
        connection
            .batch(if is_durable { "BEGIN" } else { "BEGIN; SET LOCAL synchronous_commit = off" })
            .await?;
        if connection.execute(FENCE, &[&self.incarnation, &number]).await? == 0 {
            return Err(Error::TakenOver);
        }
        let mut batch = Batch::new(connection, self.writer_state, &self.live_runs);
        batch.plugin_counts = Some(self.stats.plugin_counts());
        batch.turn.clone_from(&self.turn);
        // First, so that requeued tasks can be claimed in this batch.
        for finish in abandoned {
            finish.run(&mut batch).await?;
        }
        for job in jobs.iter_mut() {
            job.run(&mut batch).await?;
        }
        // Last, so that tasks that finish in this batch unblock their dependents in the same transaction.
        resolution::resolve(&mut batch).await?;
        events::reserve(&mut batch).await?;
        clock_skew::store_latest(connection, &mut batch.writer_state).await?;
        plugin_counts::write(connection, &batch.effects.count_delta).await?;
        let Batch { writer_state, turn, effects, .. } = batch;
        Ok(Ran { writer_state, turn, effects, is_durable, commands: jobs.len(), began })
    }

    /// Returns the write connection; connects anew if it is gone.
    async fn connected(&mut self) -> Result<Arc<Connection>> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        self.connection = None;
        let connection = self.server.connect_anew().await?;
        connection.one(LOCKED, &[&self.server.schema]).await?;
        self.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Returns true if the transaction of this number was committed although its connection was lost.
    async fn was_committed(&mut self, number: i64, error: &Error) -> bool {
        if !error.is_lost() {
            return false;
        }
        let asked = Instant::now();
        while asked.elapsed() < UNKNOWN_TIMEOUT {
            if let Ok(connection) = self.connected().await
                && let Ok(row) = connection.optional(WHAT_WAS_COMMITTED, &[&self.incarnation]).await
            {
                return row.is_some_and(|row| row.get::<_, i64>(0) == number);
            }
            tokio::time::sleep(RECONNECT_WAIT).await;
        }
        tracing::error!(%error, "it is unknown whether a batch of the store was committed");
        false
    }
}
