//! Group commit: many commands, one transaction, one fsync.
//!
//! Runs on the writer thread. An error of the machine, such as a full disk, rolls the whole batch back and is
//! returned to all its callers; the next batch starts afresh. An error of one command is returned to its
//! caller alone: the batch is halved until that command is isolated. No caller is answered before the commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use wasmill_model::fault_point;
use wasmill_store::StoreError;
use wasmill_store::commit::{AbandonedClaims, Committed, OutageLog, WriterState, WriterStats};
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::fair_queue::FairQueue;
use wasmill_store::rules::finish::Finish;

use crate::dependency::resolution;
use crate::file::fault::{fault, is_of_machine};
use crate::file::home::Home;
use crate::writer::batch::{Batch, Job, Operation};
use crate::writer::{clock_skew, events, key_usage, plugin_counts};

/// Runs batches on the write connection.
#[derive(Debug)]
pub(crate) struct Batcher {
    connection: Connection,
    home: Arc<Home>,
    home_checked: Instant,
    writer_state: WriterState,
    /// Whether `synchronous` is FULL right now; unknown at first.
    synced: Option<bool>,
    stats: Arc<WriterStats>,
    live_runs: Arc<LiveRuns>,
    abandoned: Arc<AbandonedClaims>,
    outage_log: OutageLog,
    /// Commands that failed alone.
    damage: OutageLog,
    /// Whether the deferred work failed by itself the last time.
    is_stuck: bool,
    fair_queue: FairQueue,
}

/// How often to check that the database file is still in its place.
const HOME_CHECK: Duration = Duration::from_secs(1);

impl Batcher {
    pub(crate) fn new(
        connection: Connection,
        home: Arc<Home>,
        writer_state: WriterState,
        stats: Arc<WriterStats>,
        live_runs: Arc<LiveRuns>,
        abandoned: Arc<AbandonedClaims>,
    ) -> Self {
        let outage_log = OutageLog::new("writing to the database");
        let damage = OutageLog::new("a change of a single row");
        let (fair_queue, home_checked) = (FairQueue::default(), Instant::now());
        Self {
            connection,
            home,
            home_checked,
            writer_state,
            synced: None,
            stats,
            live_runs,
            abandoned,
            outage_log,
            damage,
            is_stuck: false,
            fair_queue,
        }
    }

    /// Returns the connection, which counts the steps of its statements.
    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns true if the writer has deferred work even when its queue is empty, and the disk works.
    pub(crate) fn has_backlog(&self) -> bool {
        self.writer_state.has_unresolved_ends && !self.outage_log.is_ongoing() && !self.is_stuck
    }

    /// Runs commands in one transaction, or in several if some of them fail, and answers every caller.
    pub(crate) fn commit(&mut self, jobs: Vec<Box<dyn Job>>) {
        let abandoned = self.abandoned.take();
        if jobs.is_empty() && abandoned.is_empty() && !self.writer_state.has_unresolved_ends {
            return;
        }
        match self.check_home() {
            Ok(()) => self.commit_part(jobs, abandoned),
            Err(error) => self.refuse(jobs, abandoned, error),
        }
    }

    /// Checks now and then that this file is the database that the next host will open.
    fn check_home(&mut self) -> Result<(), StoreError> {
        // On every batch while it is not: whatever is written would be lost.
        if self.home_checked.elapsed() >= HOME_CHECK || self.outage_log.is_ongoing() {
            self.home.check()?;
            self.home_checked = Instant::now();
        }
        Ok(())
    }

    fn commit_part(&mut self, mut jobs: Vec<Box<dyn Job>>, mut abandoned: Vec<Finish>) {
        let Err(error) = self.try_commit(&mut jobs, &abandoned) else {
            self.is_stuck = false;
            let committed = self.outage_log.record(Ok(()));
            return jobs.into_iter().for_each(|job| job.answer(committed.clone()));
        };
        self.roll_back();
        self.stats.failed();
        tracing::debug!(commands = jobs.len(), %error, "a batch of the store was rolled back");
        let fault = fault(self.home.path(), &error);
        if is_of_machine(&error) {
            return self.refuse(jobs, abandoned, fault);
        }
        if jobs.len() + abandoned.len() > 1 {
            // Put back before anything is claimed again: the next claim has the same token.
            jobs.iter_mut().for_each(|job| job.roll_back());
            abandoned.extend(self.abandoned.take());
            // In order, as a command may depend on an earlier one. Each part has less than this batch had, whatever it
            // claimed.
            if jobs.is_empty() {
                let rest = abandoned.split_off(abandoned.len() / 2);
                self.commit_part(Vec::new(), abandoned);
                return self.commit_part(Vec::new(), rest);
            }
            if !abandoned.is_empty() {
                self.commit_part(Vec::new(), abandoned);
            }
            let rest = jobs.split_off(jobs.len().div_ceil(2));
            self.commit_part(jobs, Vec::new());
            if !rest.is_empty() {
                self.commit_part(rest, Vec::new());
            }
            return;
        }
        self.is_stuck = jobs.is_empty();
        let failed = self.damage.record(Err(fault));
        for job in jobs {
            job.answer(failed.clone());
        }
    }

    /// Answers every caller that nothing can be written right now.
    fn refuse(&self, jobs: Vec<Box<dyn Job>>, abandoned: Vec<Finish>, error: StoreError) {
        let refused = self.outage_log.record(Err(error));
        self.abandoned.requeue(abandoned);
        for job in jobs {
            job.answer(refused.clone());
        }
    }

    fn try_commit(&mut self, jobs: &mut [Box<dyn Job>], abandoned: &[Finish]) -> rusqlite::Result<()> {
        self.sync(jobs.iter().any(|job| job.durable()))?;
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut batch = Batch::new(&self.connection, self.writer_state, &self.live_runs);
        batch.plugin_counts = Some(self.stats.plugin_counts());
        batch.key_usage = Some(self.stats.key_usage());
        // After a rollback it is discarded and learnt again: the batch may have removed groups from it.
        batch.fair_queue = std::mem::take(&mut self.fair_queue);
        // First, so that requeued tasks can be claimed in this batch.
        for finish in abandoned {
            finish.run(&mut batch)?;
        }
        for job in jobs.iter_mut() {
            job.run(&mut batch)?;
        }
        // Last, so that tasks that finish in this batch unblock their dependents in the same transaction.
        resolution::resolve(&mut batch)?;
        events::reserve(&mut batch)?;
        clock_skew::store_latest(&self.connection, &mut batch.writer_state)?;
        let Batch { writer_state, mut effects, fair_queue, .. } = batch;
        plugin_counts::write(&self.connection, &effects.count_delta)?;
        key_usage::write(&self.connection, &effects.key_delta)?;
        // Durable commands only: the others are the routine of the dispatcher.
        let promises = jobs.iter().any(|job| job.durable());
        if promises {
            fault_point!("all written, not committed");
        }
        let publishing = self.live_runs.event_bus.publishing();
        let commit = Instant::now();
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        let took = commit.elapsed();
        let committed = Committed {
            commands: jobs.len(),
            deliveries_dropped: effects.deliveries_dropped,
            synced: promises,
            took,
        };
        if promises {
            fault_point!("committed, not answered");
        }
        self.writer_state = writer_state;
        self.fair_queue = fair_queue;
        self.fair_queue.forget_if_over(writer_state.waiting);
        effects.publish(&self.live_runs, writer_state.events_reserved.unsigned_abs());
        drop(publishing);
        let wait_for_delivery = effects.wait_for_delivery;
        self.stats.publish(writer_state, effects, committed);
        if wait_for_delivery {
            self.stats.wait_for_delivery.notify_one();
        }
        Ok(())
    }

    /// Sets whether commits wait for fsync. It cannot change within a transaction; a later synced commit
    /// makes all earlier ones durable too.
    fn sync(&mut self, synced: bool) -> rusqlite::Result<()> {
        if self.synced == Some(synced) {
            return Ok(());
        }
        self.synced = None;
        self.connection.execute_batch(if synced {
            "PRAGMA synchronous = FULL"
        } else {
            "PRAGMA synchronous = NORMAL"
        })?;
        self.synced = Some(synced);
        Ok(())
    }

    /// Rolls a failed transaction back; some errors have done so already.
    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a batch of the store could not be rolled back");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono::DateTime;
    use tokio::sync::oneshot;
    use wasmill_model::{NewTask, PluginName, Tracer};

    use super::*;
    use crate::file::connection;
    use crate::queue::claim::ClaimReady;
    use crate::queue::insert::Insert;
    use crate::queue::recover;
    use crate::writer::batch::Pending;
    use wasmill_store::commit::UndeliveredClaims;
    use wasmill_store::rules::plugin_counts::AllPluginCounts;

    type Answer = oneshot::Receiver<Result<Result<wasmill_store::Submitted, StoreError>, StoreError>>;

    fn batcher(path: &Path) -> Batcher {
        let connection = connection::writer(path).expect("opened");
        let (_, writer_state) =
            recover::recover(&connection, DateTime::UNIX_EPOCH, &Tracer::default()).expect("recovered");
        let stats = Arc::new(WriterStats::new(writer_state, AllPluginCounts::default()));
        let live_runs = Arc::new(LiveRuns::new(0, Tracer::default()));
        Batcher::new(
            connection,
            Arc::new(Home::of(path.into())),
            writer_state,
            stats,
            live_runs,
            Arc::default(),
        )
    }

    fn new_task(plugin: &str) -> NewTask {
        let plugin = plugin.parse().expect("a valid name");
        NewTask::new(plugin, DateTime::UNIX_EPOCH, Duration::from_secs(1))
    }

    fn insert(plugin: &str, waiting_max: u64) -> (Box<dyn Job>, Answer) {
        let task = new_task(plugin);
        let (reply, answer) = oneshot::channel();
        (Box::new(Pending::new(Insert { tasks: vec![task], waiting_max, request: None }, reply)), answer)
    }

    fn insert_large() -> (Box<dyn Job>, Answer) {
        let task = NewTask { input: Some("x".repeat(1 << 20)), ..new_task("a") };
        let (reply, answer) = oneshot::channel();
        (Box::new(Pending::new(Insert { tasks: vec![task], waiting_max: 9, request: None }, reply)), answer)
    }

    fn claim(batcher: &Batcher) -> (Box<dyn Job>, oneshot::Receiver<Result<UndeliveredClaims, StoreError>>) {
        let quotas = vec![wasmill_store::ClaimQuota::from("a".parse::<PluginName>().expect("a valid name"))];
        let (now, abandoned) = (DateTime::UNIX_EPOCH, batcher.abandoned.clone());
        let group_limits = Arc::default();
        let claim = ClaimReady { quotas, tasks_max: 9, available_memory: 9, now, abandoned, group_limits };
        let (reply, answer) = oneshot::channel();
        (Box::new(Pending::new(claim, reply)), answer)
    }

    /// Refuses tasks of the plugin `poison`.
    fn poison(batcher: &Batcher) {
        let poison = "CREATE TRIGGER poison BEFORE INSERT ON task WHEN NEW.plugin = 'poison'
            BEGIN SELECT RAISE(ABORT, 'this row is on fire'); END";
        batcher.connection.execute_batch(poison).expect("poisoned");
    }

    /// Limits the database to this many pages, or to its current size.
    fn limit(batcher: &Batcher, pages: u32) {
        batcher.connection.pragma_update(None, "max_page_count", pages).expect("set");
    }

    fn commit(batcher: &mut Batcher, inserts: [(&str, u64); 3]) -> Vec<Result<(), StoreError>> {
        let inserts = inserts.map(|(plugin, waiting_max)| insert(plugin, waiting_max));
        let (jobs, answers): (Vec<_>, Vec<_>) = inserts.into_iter().unzip();
        batcher.commit(jobs);
        let flat = |mut answer: Answer| answer.try_recv().expect("answered").flatten().map(|_| ());
        answers.into_iter().map(flat).collect()
    }

    #[test]
    fn an_error_of_the_machine_fails_the_whole_batch_and_not_the_next() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut batcher = batcher(&dir.path().join("wasmill.db"));
        // At its current size: the disk is full.
        limit(&batcher, 1);
        let before = batcher.writer_state;
        let (large_one, mut large) = insert_large();
        let (small_one, mut small) = insert("a", 9);
        batcher.commit(vec![small_one, large_one]);
        for answer in [&mut small, &mut large] {
            let answer = answer.try_recv().expect("answered");
            assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
        }
        assert_eq!((batcher.writer_state, batcher.stats.stats().commits), (before, 0));
        assert_eq!(batcher.stats.commit_stats().failed, 1, "nothing is tried one by one on a full disk");
        assert!(batcher.outage_log.is_ongoing());
        limit(&batcher, 1 << 20);
        assert_eq!(commit(&mut batcher, [("a", 9); 3]), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(batcher.writer_state.waiting, 3);
        assert!(!batcher.outage_log.is_ongoing());
    }

    #[test]
    fn a_failing_command_fails_no_other() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut batcher = batcher(&dir.path().join("wasmill.db"));
        poison(&batcher);
        for bad in [0, 1, 77, 99] {
            let before = batcher.writer_state.waiting;
            let jobs = (0..100).map(|place| insert(if place == bad { "poison" } else { "a" }, 1_000));
            let (jobs, answers): (Vec<_>, Vec<_>) = jobs.unzip();
            batcher.commit(jobs);
            for (place, mut answer) in answers.into_iter().enumerate() {
                let answer = answer.try_recv().expect("answered");
                assert_eq!(answer.is_ok(), place != bad, "{place}: {answer:?}");
            }
            assert_eq!(batcher.writer_state.waiting, before + 99);
            assert!(!batcher.outage_log.is_ongoing(), "others are written");
        }
        assert!(batcher.stats.commit_stats().failed < 40, "it is found by halves, not one by one");
    }

    #[test]
    fn a_claim_beside_a_failing_command_is_made_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut batcher = batcher(&dir.path().join("wasmill.db"));
        poison(&batcher);
        for is_first in [true, false] {
            let (one, _stored) = insert("a", 9);
            batcher.commit(vec![one]);
            let ((claim, mut claimed), (bad, mut refused)) = (claim(&batcher), insert("poison", 9));
            batcher.commit(if is_first { vec![claim, bad] } else { vec![bad, claim] });
            assert!(refused.try_recv().expect("answered").is_err());
            let claims = claimed.try_recv().expect("answered").expect("committed").into_claims();
            assert_eq!(claims.claimed.len(), 1);
            assert!(batcher.abandoned.take().is_empty(), "the next batch puts nothing back");
        }
    }

    #[test]
    fn a_group_emptied_by_a_rolled_back_batch_is_found_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut batcher = batcher(&dir.path().join("wasmill.db"));
        let grouped = NewTask { group: "x".parse().ok(), ..new_task("a") };
        let (reply, _stored) = oneshot::channel();
        let insert_it = Insert { tasks: vec![grouped], waiting_max: 9, request: None };
        batcher.commit(vec![Box::new(Pending::new(insert_it, reply))]);
        let (lost, mut answer) = claim(&batcher);
        let (large_one, _refused) = insert_large();
        limit(&batcher, 1);
        batcher.commit(vec![lost, large_one]);
        limit(&batcher, 1 << 20);
        assert!(answer.try_recv().expect("answered").is_err());
        for brings in [1, 0] {
            let (job, mut answer) = claim(&batcher);
            batcher.commit(vec![job]);
            let claims = answer.try_recv().expect("answered").expect("committed").into_claims();
            assert_eq!(claims.claimed.len(), brings);
        }
    }

    #[test]
    fn a_refused_command_leaves_others_in_its_batch_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut batcher = batcher(&dir.path().join("wasmill.db"));
        let full = Err(StoreError::Full { waiting_max: 0 });
        assert_eq!(commit(&mut batcher, [("a", 9), ("a", 0), ("a", 9)]), [Ok(()), full, Ok(())]);
        assert_eq!(batcher.writer_state.waiting, 2);
    }

    #[test]
    fn event_numbers_are_reserved_before_they_are_needed() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut batcher = batcher(&dir.path().join("wasmill.db"));
        let reserved = batcher.writer_state.events_reserved;
        let read = |batcher: &Batcher| {
            batcher.connection.query_one(events::RESERVED, [], |row| row.get::<_, i64>(0)).expect("read")
        };
        let first = events::first(reserved);
        batcher.live_runs.event_bus.begin(first, reserved.unsigned_abs());
        commit(&mut batcher, [("a", 9); 3]);
        assert_eq!((read(&batcher), batcher.live_runs.event_bus.next()), (reserved, first + 3));
        // Half of the reserved numbers.
        let half = first + (reserved.unsigned_abs() - first) / 2;
        batcher.live_runs.event_bus.begin(half, reserved.unsigned_abs());
        commit(&mut batcher, [("a", 9); 3]);
        assert!(read(&batcher) > reserved);
        assert_eq!(batcher.writer_state.events_reserved, read(&batcher));
        assert_eq!(batcher.live_runs.event_bus.next(), half + 3);
    }

    #[test]
    fn only_durable_commands_wait_for_fsync() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut batcher = batcher(&dir.path().join("wasmill.db"));
        for (synced, level) in [(true, 2), (false, 1), (false, 1), (true, 2)] {
            batcher.sync(synced).expect("set");
            let read = batcher.connection.query_one("PRAGMA synchronous", [], |row| row.get::<_, i64>(0));
            assert_eq!(read, Ok(level));
        }
    }
}
