//! The writer among those of other hosts: it takes the turn, catches up with what they have written, registers and leaves.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use uuid::Uuid;
use wasmill_model::{Timestamp, boot_time, fault_point};
use wasmill_store::Recovery;
use wasmill_store::commit::WriterState;
use wasmill_store::live::LiveRuns;

use super::{Batcher, COMMIT_TIMEOUT};
use crate::cluster::catch_up::Current;
use crate::cluster::membership::{self, Registration};
use crate::cluster::turn::{TransactionNumber, Turn};
use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::read::rows::nanos;
use crate::writer::batch::Batch;
use crate::writer::events::Numbers;
use crate::writer::gathered::{Gathered, Written};
use crate::writer::{key_usage, plugin_counts};

const POLL_TIMEOUT: Duration = Duration::from_secs(5);

impl Batcher {
    /// Begins a transaction: takes the turn, writes these rows, and catches up with what others have written. Returns its
    /// number among the transactions of all hosts.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if others have taken the room of the rows.
    pub(super) async fn begin(
        &mut self,
        connection: &Connection,
        number: i64,
        is_durable: bool,
        rows: &Gathered<'_>,
    ) -> Result<(i64, Written)> {
        let number = TransactionNumber { host: self.host, epoch: self.epoch, batch: number };
        Turn::prepare(connection).await?;
        let (asked, has_others) = (Instant::now(), self.others.is_any());
        let begin = async {
            let turn = Turn::begin(connection, is_durable, has_others, Some(number)).await?;
            self.stats.waited_for_turn(asked.elapsed());
            Ok(turn)
        };
        let (turn, written) = tokio::try_join!(biased; begin, rows.write(connection))?;
        if turn.writes != self.writes + 1 {
            self.catch_up(connection, turn).await?;
            self.writes = turn.writes - 1;
        }
        self.others.set_hosts(turn.hosts);
        self.writer_state.events_reserved = turn.events_reserved;
        if rows.fits(self.writer_state.waiting) { Ok((turn.writes, written)) } else { Err(Error::Full) }
    }

    /// Reads what other hosts have changed, and publishes it here.
    async fn catch_up(&mut self, connection: &Connection, turn: Turn) -> Result<()> {
        let event_bus = &self.live_runs.event_bus;
        let next = i64::try_from(event_bus.next()).unwrap_or(i64::MAX);
        let mut current = Current::read(connection, self.host, next).await?;
        if next < turn.events_pruned {
            event_bus.lose_until(turn.events_pruned.unsigned_abs());
        }
        event_bus.publish_numbered(std::mem::take(&mut current.events));
        event_bus.skip_to(turn.events_reserved.unsigned_abs());
        let (waiting, running) = current.unfinished();
        let Current { has_dependents, has_unresolved_ends, .. } = current;
        self.writer_state =
            WriterState { waiting, running, has_dependents, has_unresolved_ends, ..self.writer_state };
        let has_available = current.has_available();
        self.stats.replace(self.writer_state, current.plugin_counts, current.key_usage);
        self.others.set_stops(current.stops);
        self.others.wrote.notify_one();
        if has_available {
            self.live_runs.wait_for_ready.notify_one();
        }
        if self.others.is_on_duty() {
            self.stats.wait_for_delivery.notify_one();
        }
        Ok(())
    }

    /// Tells other hosts at once of runs that are to stop there, and of tasks that became available by a transaction and
    /// for which this host has no free slot.
    pub(super) fn hint(&self, stops_at: BTreeSet<i64>, became_available: i64) {
        if !self.others.is_any() {
            return;
        }
        self.others.hints.tell(stops_at);
        let own = self.others.own.report();
        let running_here = self.live_runs.len() as u64;
        let free_here = if own.is_draining { 0 } else { own.slots.saturating_sub(running_here) };
        let left = u64::try_from(became_available).unwrap_or(0).saturating_sub(free_here);
        if left > 0 {
            self.others.hints.offer(left, self.writer_state.running.saturating_sub(running_here));
        }
    }

    /// Registers this host, and puts back what ran at dead ones.
    pub(crate) async fn register(&mut self, connection: &Connection, now: Timestamp) -> Result<Recovery> {
        self.others.lease.end();
        let sent = boot_time();
        // Never zero, and never negative, as a person may read it.
        let id = (Uuid::new_v4().as_u64_pair().0 >> 1).max(1).cast_signed();
        Turn::prepare(connection).await?;
        let turn = Turn::begin(connection, true, true, None).await?;
        if turn.hosts == 0 {
            plugin_counts::recount(connection).await?;
            key_usage::recount(connection).await?;
        }
        let current = Current::read(connection, id, turn.events_reserved).await?;
        let (waiting, running) = current.unfinished();
        let Current { has_dependents, has_unresolved_ends, plugin_counts, key_usage, .. } = current;
        let (claimed_at, events_reserved) = (nanos(now), turn.events_reserved);
        let before = WriterState {
            waiting,
            running,
            has_dependents,
            has_unresolved_ends,
            claimed_at,
            events_reserved,
            ..self.writer_state
        };
        // Their events are stored if there are others, and else lost: nobody has subscribed to a host that starts.
        let live_runs = LiveRuns::new(0, self.live_runs.tracer.clone());
        live_runs.event_bus.begin(events_reserved.unsigned_abs(), u64::MAX);
        let mut batch = Batch::new(connection, before, &live_runs);
        batch.host = id;
        let registration = Registration {
            id,
            place: &self.place.id,
            connection: &self.server.writer_name,
            own: &self.others.own,
        };
        let recovery = membership::register(&mut batch, registration, now).await?;
        let numbers = Numbers::take(&mut batch);
        let Batch { writer_state, mut effects, has_others, .. } = batch;
        let mut last = numbers.writes(&effects.events);
        last.extend(plugin_counts::write(&effects.count_delta));
        let commit = connection.durably(connection.commit(&last));
        timeout(COMMIT_TIMEOUT, commit).await.unwrap_or(Err(Error::Silent))?;
        drop(last);
        (self.host, self.epoch, self.batch, self.durable, self.writes) = (id, 0, 0, 0, turn.writes);
        (self.writer_state, self.is_revoked) = (writer_state, false);
        self.others.set_hosts(if has_others { 2 } else { 1 });
        self.live_runs.revoke_all();
        let next = if has_others { writer_state.events_reserved } else { events_reserved };
        self.live_runs.event_bus.lose_until(next.unsigned_abs());
        self.live_runs.event_bus.reserve(writer_state.events_reserved.unsigned_abs());
        self.stats.replace(writer_state, plugin_counts, key_usage);
        self.live_runs.tracer.record(std::mem::take(&mut effects.spans));
        self.stats.take(effects);
        self.others.lease.begin(id, sent + self.lease_period);
        fault_point!("recovery committed, nothing serves");
        Ok(recovery)
    }

    /// Learns that others took this registration for dead.
    pub(crate) async fn revoked(&mut self, host: i64) {
        if host == self.host {
            self.is_revoked = true;
            self.reconnect().await;
        }
    }

    /// Resolves when it is time to look what other hosts have written.
    pub(crate) async fn poll_due(&self) {
        if self.others.is_any() { sleep(self.others.poll()).await } else { pending().await }
    }

    /// Looks what other hosts have written, without a transaction.
    pub(crate) async fn poll(&mut self) {
        let Some(connection) = self.connection.clone() else { return };
        let polled = timeout(POLL_TIMEOUT, self.look(&connection)).await.unwrap_or(Err(Error::Silent));
        if let Err(error) = polled {
            tracing::debug!(%error, "failed to look what other hosts have written");
            if error.is_lost() {
                self.connection = None;
            }
        }
    }

    async fn look(&mut self, connection: &Connection) -> Result<()> {
        let turn = Turn::look(connection).await?;
        if turn.writes != self.writes {
            self.catch_up(connection, turn).await?;
            self.writes = turn.writes;
        }
        self.others.set_hosts(turn.hosts);
        Ok(())
    }

    /// Ends the registration of this host.
    pub(crate) async fn leave(&mut self) {
        let Some(connection) = self.connection.take().filter(|_| !self.is_revoked) else { return };
        self.others.lease.end();
        let left = async {
            Turn::prepare(&connection).await?;
            Turn::begin(&connection, true, true, None).await?;
            membership::leave(&connection, self.host).await?;
            connection.batch("COMMIT").await
        };
        // Otherwise the others find out.
        if let Err(error) = timeout(COMMIT_TIMEOUT, left).await.unwrap_or(Err(Error::Silent)) {
            tracing::debug!(%error, "failed to leave the other hosts");
        }
    }
}
