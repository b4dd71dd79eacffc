//! Group commit: many commands, one transaction.
//!
//! Each transaction begins with the turn, so that those of all hosts are serial, and the fence: the row of the host must
//! still be live and of this connection, and takes the number of the transaction, so that after a lost connection one
//! question tells whether it was committed. An error of the machine rolls the whole batch back and is returned to all
//! its callers; an error of one command is returned to its caller alone: the batch is halved until that command is
//! isolated. No caller is answered before the commit.

mod hosts;
mod reconnect;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use wasmill_model::{Clock, TaskState, fault_point};
use wasmill_store::StoreError;
use wasmill_store::commit::{AbandonedClaims, Committed, Effects, OutageLog, WriterState, WriterStats};
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::finish::Finish;

use crate::cluster::others::Others;
use crate::cluster::place::Place;
use crate::connection::database::{Connection, Write};
use crate::connection::fault::{Error, Result};
use crate::connection::server::{PATIENCE, RECONNECT_WAIT, Server};
use crate::dependency::resolution;
use crate::writer::batch::{Batch, Job, Operation};
use crate::writer::events::Numbers;
use crate::writer::gathered::{Gathered, Written};
use crate::writer::{clock_skew, key_usage, plugin_counts};

/// How long the server may take for one transaction, and for its commit.
const RUN_TIMEOUT: Duration = Duration::from_secs(90);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a batch is done again that the server has rolled back in favour of others.
const CONFLICTS_MAX: u32 = 5;

/// Runs batches on the write connection.
pub(crate) struct Batcher {
    server: Server,
    connection: Option<Arc<Connection>>,
    place: Place,
    others: Arc<Others>,
    /// How long a lease is valid.
    lease_period: Duration,
    clock: Arc<dyn Clock>,
    /// The registration of this host.
    host: i64,
    /// The number of this connection.
    epoch: i64,
    /// The number of the last transaction.
    batch: i64,
    /// The number of the last one that its callers know to be durable.
    durable: i64,
    /// How many transactions are known to be committed.
    published: u64,
    /// The last transaction of any host whose changes are known.
    writes: i64,
    /// Whether the host has to register: it is new, or others took it for dead.
    is_revoked: bool,
    /// The last transaction, if its connection was lost while it was committed.
    unknown: Option<Unknown>,
    /// Since when there is no connection.
    lost_since: Option<Instant>,
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
    pub(crate) place: Place,
    pub(crate) others: Arc<Others>,
    pub(crate) lease_period: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<WriterStats>,
    pub(crate) live_runs: Arc<LiveRuns>,
    pub(crate) abandoned: Arc<AbandonedClaims>,
}

/// A transaction that has run and whose effects are to be published once it is known to be committed.
struct Ran {
    changes: Changes,
    is_durable: bool,
    commands: usize,
    began: Instant,
    /// The number of the transaction among those of all hosts.
    writes: i64,
}

/// What the commands of a transaction have changed.
struct Changes {
    writer_state: WriterState,
    turn: (String, String),
    effects: Effects,
    stops_at: BTreeSet<i64>,
    /// What is not written yet, beside what follows from the effects.
    numbers: Numbers,
    latest: Option<Write<'static>>,
}

impl Changes {
    /// Returns what is written together with the commit.
    fn last_writes(&mut self) -> Vec<Write<'_>> {
        let mut writes = self.numbers.writes(&self.effects.events);
        writes.extend(self.latest.take());
        writes.extend(plugin_counts::write(&self.effects.count_delta));
        writes.extend(key_usage::write(&self.effects.key_delta));
        writes
    }
}

/// A transaction of which nobody knows whether it was committed.
struct Unknown {
    number: i64,
    ran: Ran,
    /// Whose callers got that answer.
    jobs: Vec<Box<dyn Job>>,
    abandoned: Vec<Finish>,
}

impl Batcher {
    pub(crate) fn new(start: Start) -> Self {
        let Start { server, connection, place, others, lease_period, clock, stats, live_runs, abandoned } =
            start;
        Self {
            server,
            connection: Some(connection),
            place,
            others,
            lease_period,
            clock,
            host: 0,
            epoch: 0,
            batch: 0,
            durable: 0,
            published: 0,
            writes: 0,
            is_revoked: true,
            unknown: None,
            lost_since: None,
            writer_state: WriterState::default(),
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
            let Err(error) = self.try_commit(&mut jobs, &mut abandoned).await else {
                self.is_stuck = false;
                let committed = self.outage_log.record(Ok(()));
                jobs.into_iter().for_each(|job| job.answer(committed.clone()));
                continue;
            };
            self.stats.failed();
            if let (Error::Unknown, Some(unknown)) = (&error, &mut self.unknown) {
                let fault = error.of_store(&self.server.address.to_string());
                let fault = self.outage_log.record::<()>(Err(fault)).err().unwrap_or(StoreError::Closed);
                jobs.iter_mut().for_each(|job| job.give_up(fault.clone()));
                (unknown.jobs, unknown.abandoned) = (jobs, abandoned);
                continue;
            }
            tracing::debug!(commands = jobs.len(), %error, "a batch of the store was rolled back");
            let fault = error.of_store(&self.server.address.to_string());
            if error.is_of_machine() {
                self.abandoned.requeue(abandoned);
                let refused = self.outage_log.record(Err(fault));
                jobs.into_iter().for_each(|job| job.answer(refused.clone()));
                continue;
            }
            if jobs.len() + abandoned.len() > 1 {
                self.roll_back(&mut jobs, &mut abandoned);
                // Each part has less than this batch had, whatever it claimed.
                if jobs.is_empty() {
                    let rest = abandoned.split_off(abandoned.len() / 2);
                    parts.push((rest, Vec::new()));
                    parts.push((abandoned, Vec::new()));
                } else {
                    let rest = jobs.split_off(jobs.len().div_ceil(2));
                    parts.push((Vec::new(), rest));
                    parts.push((Vec::new(), jobs));
                    parts.push((abandoned, Vec::new()));
                }
                parts.retain(|(abandoned, jobs)| !abandoned.is_empty() || !jobs.is_empty());
                continue;
            }
            self.is_stuck = jobs.is_empty();
            let failed = self.damage.record(Err(fault));
            jobs.into_iter().for_each(|job| job.answer(failed.clone()));
        }
    }

    /// Commits a batch. If the connection is lost and nothing is stored, it is done again for a while.
    async fn try_commit(&mut self, jobs: &mut [Box<dyn Job>], abandoned: &mut Vec<Finish>) -> Result<()> {
        let mut conflicts = 0;
        loop {
            // After a conflict each command looks itself whether the queue has room.
            let waiting = if conflicts == 0 { self.writer_state.waiting } else { u64::MAX };
            let Err(error) = self.commit_once(jobs, abandoned, waiting).await else {
                self.lost_since = None;
                return Ok(());
            };
            if error.is_of_conflict() && conflicts < CONFLICTS_MAX {
                conflicts += 1;
                self.roll_back(jobs, abandoned);
                continue;
            }
            if !error.is_lost() {
                return Err(error);
            }
            let lost_since = *self.lost_since.get_or_insert_with(|| {
                tracing::warn!(%error, "lost the connection to the database");
                Instant::now()
            });
            if lost_since.elapsed() > PATIENCE {
                return Err(error);
            }
            self.roll_back(jobs, abandoned);
            sleep(RECONNECT_WAIT).await;
        }
    }

    /// Drops what was answered and not committed. Claims among it are put back before anything is claimed again: the
    /// next claim has the same token.
    fn roll_back(&self, jobs: &mut [Box<dyn Job>], abandoned: &mut Vec<Finish>) {
        jobs.iter_mut().for_each(|job| job.roll_back());
        abandoned.extend(self.abandoned.take());
    }

    async fn commit_once(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        abandoned: &mut Vec<Finish>,
        waiting: u64,
    ) -> Result<()> {
        let connection = self.connected().await?;
        // Connecting may have abandoned the claims of an earlier batch.
        abandoned.extend(self.abandoned.take());
        let number = self.batch + 1;
        let began = Instant::now();
        let run = async {
            let is_durable = jobs.iter().any(|job| job.durable());
            let mut rows = Gathered::new(waiting);
            let mut has_new = Vec::with_capacity(jobs.len());
            for job in jobs.iter() {
                let before = rows.new.len();
                job.gather(&mut rows);
                has_new.push(rows.new.len() > before);
            }
            let (writes, written) = self.begin(&connection, number, is_durable, &rows).await?;
            let changes = self.run(&connection, jobs, abandoned, written, &has_new).await?;
            Ok(Ran { changes, is_durable, commands: jobs.len(), began, writes })
        };
        let mut ran = match timeout(RUN_TIMEOUT, run).await.unwrap_or(Err(Error::Silent)) {
            Ok(ran) => ran,
            Err(error) => {
                let rolled_back = async { connection.batch("ROLLBACK").await.is_ok() };
                let is_broken = error.is_lost() && !matches!(error, Error::Fenced);
                if is_broken || !timeout(COMMIT_TIMEOUT, rolled_back).await.unwrap_or(false) {
                    self.connection = None;
                }
                self.is_revoked |= matches!(error, Error::Fenced);
                return Err(error);
            }
        };
        if ran.is_durable {
            fault_point!("all written, not committed");
        }
        let is_durable = ran.is_durable;
        let live_runs = Arc::clone(&self.live_runs);
        let publishing = live_runs.event_bus.publishing();
        let committed = {
            let last = ran.changes.last_writes();
            let commit = connection.durably(connection.commit(&last));
            timeout(COMMIT_TIMEOUT, commit).await.unwrap_or(Err(Error::Silent))
        };
        match committed {
            Ok(()) => self.publish(number, ran),
            Err(error) if !error.is_lost() => return Err(error),
            Err(error) => {
                self.connection = None;
                self.unknown = Some(Unknown { number, ran, jobs: Vec::new(), abandoned: Vec::new() });
                let published = self.published;
                self.find_out().await?;
                if self.published == published {
                    return Err(error);
                }
            }
        }
        if is_durable {
            fault_point!("committed, not answered");
        }
        drop(publishing);
        Ok(())
    }

    /// Finds out whether the last transaction was committed.
    async fn find_out(&mut self) -> Result<()> {
        let asked = Instant::now();
        while let Err(error) = self.connected().await {
            if !error.is_lost() {
                return Err(error);
            }
            if asked.elapsed() > PATIENCE {
                return Err(Error::Unknown);
            }
            sleep(RECONNECT_WAIT).await;
        }
        Ok(())
    }

    /// Publishes what a committed transaction has changed.
    fn publish(&mut self, number: i64, ran: Ran) {
        let Ran { changes, is_durable, commands, began, writes } = ran;
        let Changes { writer_state, turn, mut effects, stops_at, .. } = changes;
        (self.batch, self.writes) = (number, writes);
        self.published += 1;
        if is_durable {
            self.durable = number;
        }
        (self.writer_state, self.turn) = (writer_state, turn);
        effects.publish(&self.live_runs, writer_state.events_reserved.unsigned_abs());
        self.hint(stops_at, effects.count_delta.of_all(TaskState::Available));
        let deliveries_dropped = effects.deliveries_dropped;
        let committed = Committed { commands, deliveries_dropped, synced: is_durable, took: began.elapsed() };
        let wait_for_delivery = effects.wait_for_delivery;
        self.stats.publish(writer_state, effects, committed);
        if wait_for_delivery {
            self.stats.wait_for_delivery.notify_one();
        }
    }

    /// Runs the commands in an open transaction.
    async fn run(
        &self,
        connection: &Connection,
        jobs: &mut [Box<dyn Job>],
        abandoned: &[Finish],
        written: Written,
        has_new: &[bool],
    ) -> Result<Changes> {
        let mut batch = Batch::new(connection, self.writer_state, &self.live_runs);
        batch.written = written;
        batch.plugin_counts = Some(self.stats.plugin_counts());
        batch.key_usage = Some(self.stats.key_usage());
        batch.turn.clone_from(&self.turn);
        (batch.host, batch.has_others) = (self.host, self.others.is_any());
        batch.floor_every = self.others.floor_every();
        // First, so that requeued tasks can be claimed in this batch.
        for finish in abandoned {
            finish.run(&mut batch).await?;
        }
        // First those whose tasks are there already: a claim would find them before they are counted.
        for is_first in [true, false] {
            for (job, _) in jobs.iter_mut().zip(has_new).filter(|(_, has_new)| **has_new == is_first) {
                job.run(&mut batch).await?;
            }
        }
        // Last, so that tasks that finish in this batch unblock their dependents in the same transaction.
        resolution::resolve(&mut batch).await?;
        let numbers = Numbers::take(&mut batch);
        let latest = clock_skew::store_latest(&mut batch.writer_state);
        let Batch { writer_state, turn, effects, stops_at, .. } = batch;
        Ok(Changes { writer_state, turn, effects, stops_at, numbers, latest })
    }
}
