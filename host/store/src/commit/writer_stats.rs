//! What callers learn of the writer without waiting for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wasmill_model::{COUNTS, Histogram, LATENCY_SECONDS, PluginName};

use crate::commit::Effects;
use crate::commit::writer_state::WriterState;
use crate::rules::key_usage::{AllKeyUsage, KeyUsage};
use crate::rules::plugin_counts::AllPluginCounts;
use crate::{CommitStats, Counts, PluginCounts, StoreStats};

/// What the writer publishes after each commit for callers that need no query.
#[derive(Debug)]
pub struct WriterStats {
    waiting: AtomicU64,
    running: AtomicU64,
    commits: AtomicU64,
    commands: AtomicU64,
    kept_max: AtomicU64,
    deliveries_dropped: AtomicU64,
    plugin_counts: AllPluginCounts,
    key_usage: AllKeyUsage,
    spread: Mutex<CommitStats>,
    /// Notified when a delivery becomes due.
    pub wait_for_delivery: Notify,
}

/// A successful commit.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// Number of commands.
    pub commands: usize,
    /// Number of pending deliveries dropped.
    pub deliveries_dropped: u64,
    /// Whether it waited for fsync.
    pub synced: bool,
    /// How long it took.
    pub took: Duration,
}

impl WriterStats {
    /// Starts from these counts.
    pub fn new(writer_state: WriterState, plugin_counts: AllPluginCounts) -> Self {
        Self {
            waiting: AtomicU64::new(writer_state.waiting),
            running: AtomicU64::new(writer_state.running),
            commits: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            kept_max: AtomicU64::new(u64::MAX),
            deliveries_dropped: AtomicU64::new(0),
            plugin_counts,
            key_usage: AllKeyUsage::default(),
            spread: Mutex::new(CommitStats {
                synced_seconds: Histogram::new(LATENCY_SECONDS),
                unsynced_seconds: Histogram::new(LATENCY_SECONDS),
                turn_seconds: Histogram::new(LATENCY_SECONDS),
                commands: Histogram::new(COUNTS),
                failed: 0,
            }),
            wait_for_delivery: Notify::new(),
        }
    }

    /// Adds a commit.
    pub fn publish(&self, writer_state: WriterState, effects: Effects, committed: Committed) {
        self.waiting.store(writer_state.waiting, Ordering::Relaxed);
        self.running.store(writer_state.running, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(committed.commands as u64, Ordering::Relaxed);
        self.deliveries_dropped.fetch_add(committed.deliveries_dropped, Ordering::Relaxed);
        self.take(effects);
        let mut spread = self.spread();
        let seconds =
            if committed.synced { &mut spread.synced_seconds } else { &mut spread.unsynced_seconds };
        seconds.observe_time(committed.took);
        spread.commands.observe(committed.commands as f64);
    }

    /// Replaces the counts after other hosts have written.
    pub fn replace(
        &self,
        writer_state: WriterState,
        plugin_counts: BTreeMap<PluginName, PluginCounts>,
        key_usage: BTreeMap<Arc<str>, KeyUsage>,
    ) {
        self.waiting.store(writer_state.waiting, Ordering::Relaxed);
        self.running.store(writer_state.running, Ordering::Relaxed);
        self.plugin_counts.replace(plugin_counts);
        self.key_usage.replace(key_usage);
    }

    /// Adds the count changes of a transaction.
    pub fn take(&self, effects: Effects) {
        self.plugin_counts.take(effects.count_delta);
        self.key_usage.take(effects.key_delta);
    }

    /// Records the number of finished tasks that retention keeps.
    pub fn note_kept(&self, tasks_max: Option<u64>) {
        self.kept_max.store(tasks_max.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Adds the wait of a transaction for its turn.
    pub fn waited_for_turn(&self, waited: Duration) {
        self.spread().turn_seconds.observe_time(waited);
    }

    /// Counts a transaction that was rolled back.
    pub fn failed(&self) {
        self.spread().failed += 1;
    }

    /// Returns the number of unfinished tasks.
    pub fn counts(&self) -> Counts {
        Counts {
            waiting: self.waiting.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
        }
    }

    /// Returns write statistics.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            commits: self.commits.load(Ordering::Relaxed),
            commands: self.commands.load(Ordering::Relaxed),
            excess: self.plugin_counts.stored().saturating_sub(self.kept_max.load(Ordering::Relaxed)),
            deliveries_dropped: self.deliveries_dropped.load(Ordering::Relaxed),
        }
    }

    /// Returns the counts of all plugins.
    pub fn plugin_counts(&self) -> &AllPluginCounts {
        &self.plugin_counts
    }

    /// Returns what the tasks of limited keys take up.
    pub fn key_usage(&self) -> &AllKeyUsage {
        &self.key_usage
    }

    /// Returns the distribution of commits.
    pub fn commit_stats(&self) -> CommitStats {
        self.spread().clone()
    }

    fn spread(&self) -> MutexGuard<'_, CommitStats> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
