//! Retention: prunes old or surplus finished tasks, expired idempotency keys and files that no task has, in small steps.
//!
//! The binary runs it beside the scheduler. Each step is one short write. While tasks finish slowly, pauses between
//! steps leave other writes twice the time; the faster tasks finish, the more steps run, so the limit holds under any
//! load.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use wasmill_model::{BoxFuture, Clock, TimeDelta, Timestamp};
use wasmill_store::{FinishedCounts, PruneCursor, PruneStep, Pruned, RetentionBounds, Store, StoreError};

/// How often to scan for tasks to prune; more often if the retention period is short.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10);
const PRUNE_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How often to check the number of tasks: under full load some thousands finish in that time.
const COUNT_INTERVAL: Duration = Duration::from_millis(100);

/// Maximum drift of the wall clock against the monotonic clock between two scans before it is not trusted.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// The pause after a round, as a multiple of the time that the round took.
const PAUSE_FACTOR: u32 = 2;

/// Minimum and maximum tasks per round; the steps of a round go into one commit or a few.
const ROUND_MIN: u64 = 200;
const ROUND_MAX: u64 = 4_000;

/// How long a pending delivery protects its task: longer than all attempts take, unless configured to last days.
const PENDING_AGE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Minimum number of pending deliveries that protect their tasks; more if `keep_max` is larger.
const PENDING_COUNT_MIN: u64 = 10_000;

/// When to log that the limit does not hold: above the limit by this fraction (1/n) and by this many tasks.
const EXCESS_MIN: (u64, u64) = (5, 10_000);

/// How long and how many finished tasks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long each task is kept; `None` for ever.
    pub keep_for: Option<Duration>,
    /// How many tasks are kept, newest first; `None` for all.
    pub keep_max: Option<u64>,
}

impl Retention {
    /// Prunes until the store is closed.
    pub fn run(self, store: Store, clock: Arc<dyn Clock>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let interval = self
                .keep_for
                .map_or(PRUNE_INTERVAL, |keep_for| (keep_for / 10).clamp(PRUNE_INTERVAL_MIN, PRUNE_INTERVAL));
            let mut before = (clock.now(), Instant::now());
            let mut is_over_limit = false;
            loop {
                if !store.is_on_duty() {
                    sleep(interval).await;
                    before = (clock.now(), Instant::now());
                    continue;
                }
                let now = (clock.now(), Instant::now());
                let is_clock_steady = is_clock_steady(before, now);
                if !is_clock_steady {
                    tracing::warn!("the system clock jumped; skipping pruning by age");
                }
                before = now;
                if is_clock_steady {
                    match prune_idempotency_keys(&store, now.0).await {
                        Ok(()) => {}
                        Err(StoreError::Closed) => return,
                        Err(error) => tracing::debug!(%error, "failed to prune idempotency keys"),
                    }
                    match sweep_files(&store, now.0).await {
                        Ok(()) => {}
                        Err(StoreError::Closed) => return,
                        Err(error) => tracing::debug!(%error, "failed to remove files that no task has"),
                    }
                }
                // A task that was protected before may be free now, so each scan starts at the oldest.
                let mut pruner = Pruner::new(&store, self.keep_now(now.0, is_clock_steady));
                let until = now.1 + interval;
                loop {
                    match pruner.run().await {
                        Ok(()) => {}
                        Err(StoreError::Closed) => return,
                        // The store has logged it; the next scan retries.
                        Err(error) => tracing::debug!(%error, "failed to prune"),
                    }
                    // Tasks that get too old from here on wait for the next scan.
                    pruner.bounds.ended_since = None;
                    if self.keep_max.is_none() || Instant::now() + COUNT_INTERVAL > until {
                        break;
                    }
                    sleep(COUNT_INTERVAL).await;
                }
                if pruner.dropped > 0 {
                    let dropped = pruner.dropped;
                    tracing::warn!(dropped, "dropped pending webhook deliveries: too old or too many");
                }
                is_over_limit = self.log_limit_change(&store, is_over_limit);
                sleep_until(until.max(Instant::now() + PRUNE_INTERVAL_MIN.min(interval))).await;
            }
        })
    }

    /// Returns what to keep at `now`; nothing counts as too old while the clock is not trusted.
    fn keep_now(self, now: Timestamp, is_clock_steady: bool) -> RetentionBounds {
        let before = |age: Duration| now.checked_sub_signed(to_delta(age)).filter(|_| is_clock_steady);
        RetentionBounds {
            ended_since: self.keep_for.and_then(before),
            tasks_max: self.keep_max,
            pending_since: before(PENDING_AGE_MAX),
            pending_max: self.keep_max.map(|max| max.max(PENDING_COUNT_MIN)),
        }
    }

    /// Logs when the number of stored tasks starts to exceed the limit, and when it is back within it.
    fn log_limit_change(self, store: &Store, was_over_limit: bool) -> bool {
        let Some(keep_max) = self.keep_max else { return false };
        let stored = store.finished_count();
        let is_over_limit = stored > keep_max + (keep_max / EXCESS_MIN.0).max(EXCESS_MIN.1);
        if is_over_limit && !was_over_limit {
            tracing::warn!(
                stored,
                keep_max,
                "more finished tasks are stored than --keep-max allows: other tasks need their results, their webhooks \
                 are pending, or tasks finish faster than they can be pruned"
            );
        } else if was_over_limit && !is_over_limit {
            tracing::info!(stored, keep_max, "finished tasks are within the limit again");
        }
        is_over_limit
    }
}

/// Returns true if both clocks advanced alike: a clock that jumps ahead must not delete the history.
fn is_clock_steady(before: (Timestamp, Instant), now: (Timestamp, Instant)) -> bool {
    let wall = now.0 - before.0;
    let steady = to_delta(now.1 - before.1);
    (wall - steady).abs() <= to_delta(CLOCK_SKEW_MAX)
}

fn to_delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Deletes expired idempotency keys in steps.
async fn prune_idempotency_keys(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    loop {
        let start = Instant::now();
        if store.prune_keys(now).await? == 0 {
            return Ok(());
        }
        sleep((PAUSE_FACTOR * start.elapsed()).max(Duration::from_millis(2))).await;
    }
}

/// Removes the bytes of files that no task has any longer, in small steps.
async fn sweep_files(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    loop {
        let start = Instant::now();
        if store.sweep_unused(now).await? == 0 {
            return Ok(());
        }
        sleep((PAUSE_FACTOR * start.elapsed()).max(Duration::from_millis(2))).await;
    }
}

/// One scan of the finished tasks, which continues as more tasks finish.
struct Pruner<'a> {
    store: &'a Store,
    bounds: RetentionBounds,
    cursor: PruneCursor,
    /// The number of tasks that had ever finished as of the last round.
    ended: u64,
    /// Pending deliveries deleted together with their tasks.
    dropped: u64,
}

impl<'a> Pruner<'a> {
    fn new(store: &'a Store, bounds: RetentionBounds) -> Self {
        Self { store, bounds, cursor: PruneCursor::default(), ended: ended(store), dropped: 0 }
    }

    /// Prunes in rounds until nothing is left to prune for now.
    async fn run(&mut self) -> Result<(), StoreError> {
        let has_too_many = self.bounds.tasks_max.is_some_and(|max| self.store.finished_count() > max);
        if !has_too_many && self.bounds.ended_since.is_none() {
            self.ended = ended(self.store);
            return Ok(());
        }
        loop {
            let start = Instant::now();
            let ended = ended(self.store);
            let newly_ended = ended.saturating_sub(self.ended);
            self.ended = ended;
            // A quarter more than finished since the last round, so the surplus shrinks however fast tasks finish.
            let max = (ROUND_MIN + newly_ended + newly_ended / 4).min(ROUND_MAX);
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            let excess = self.store.excess(self.bounds, self.cursor, max).await?;
            self.cursor = excess.cursor;
            let pruned = prune(self.store, excess.steps).await?;
            self.dropped += pruned.deliveries;
            if excess.is_all {
                return Ok(());
            }
            if newly_ended < ROUND_MIN {
                sleep((PAUSE_FACTOR * start.elapsed()).max(Duration::from_millis(2))).await;
            }
        }
    }
}

/// Runs these prune steps, batched into one commit where they fit.
async fn prune(store: &Store, steps: Vec<PruneStep>) -> Result<Pruned, StoreError> {
    let mut writes = JoinSet::new();
    for step in steps {
        let store = store.clone();
        writes.spawn(async move { store.prune(step).await });
    }
    let mut all = Pruned::default();
    for pruned in writes.join_all().await {
        all += pruned?;
    }
    Ok(all)
}

/// Returns how many tasks have ever finished.
fn ended(store: &Store) -> u64 {
    let of_plugin = |FinishedCounts { completed, failed, cancelled }| completed + failed + cancelled;
    store.plugin_counts().iter().map(|(_, counts)| of_plugin(counts.ended())).sum()
}
