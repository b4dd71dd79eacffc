//! Retention: forgets tasks that ended long ago, or that are too many, and requests that may not be sent
//! again any more, in small steps.
//!
//! The binary starts it beside the scheduler. Each step is one short write. While tasks end slowly, others get twice
//! as much time between two steps; the faster they end, the more steps there are, so that the bound holds under
//! any load.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use wasmill_model::{Clock, TimeDelta, Timestamp};
use wasmill_store::{Ended, Keep, PruneCursor, PruneStep, Pruned, Store, StoreError};

/// How often to walk through all that may be forgotten; more often if tasks are kept for less.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10);
const PRUNE_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How often to see whether there are too many: under full load some thousands end meanwhile.
const COUNT_INTERVAL: Duration = Duration::from_millis(100);

/// How far the wall clock may stray from the steady one between two looks before it is not believed.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// How many times as long as a round took the pause after it is.
const PAUSE_FACTOR: u32 = 2;

/// The fewest and the most tasks of one round, whose steps go into one commit or a few.
const ROUND_MIN: u64 = 200;
const ROUND_MAX: u64 = 4_000;

/// How long a pending delivery keeps its task: longer than all its tries take, unless they are set to take days.
const PENDING_AGE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The fewest pending deliveries that keep their tasks; more if more tasks are kept.
const PENDING_COUNT_MIN: u64 = 10_000;

/// From how many times the bound on it is said that it does not hold, and from how many tasks beyond it.
const EXCESS_MIN: (u64, u64) = (5, 10_000);

/// What is kept of tasks that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long each is kept; `None` for ever.
    pub keep_for: Option<Duration>,
    /// How many are kept, the newest; `None` for all.
    pub keep_max: Option<u64>,
}

impl Retention {
    /// Forgets what is not kept, until the store is closed.
    pub async fn run(self, store: Store, clock: Arc<dyn Clock>) {
        let interval = self
            .keep_for
            .map_or(PRUNE_INTERVAL, |keep_for| (keep_for / 10).clamp(PRUNE_INTERVAL_MIN, PRUNE_INTERVAL));
        let mut before = (clock.now(), Instant::now());
        let mut is_over_limit = false;
        loop {
            let now = (clock.now(), Instant::now());
            let is_clock_steady = is_clock_steady(before, now);
            if !is_clock_steady {
                tracing::warn!("the clock of this machine jumped; nothing is pruned by age right now");
            }
            before = now;
            if is_clock_steady {
                match prune_idempotency_keys(&store, now.0).await {
                    Ok(()) => {}
                    Err(StoreError::Closed) => return,
                    Err(error) => tracing::debug!(%error, "failed to forget requests"),
                }
            }
            // What something kept before may be free by now, so each look begins at the front.
            let mut pruner = Pruner::new(&store, self.keep_now(now.0, is_clock_steady));
            let until = now.1 + interval;
            loop {
                match pruner.run().await {
                    Ok(()) => {}
                    Err(StoreError::Closed) => return,
                    // The store has told of it; the next look tries again.
                    Err(error) => tracing::debug!(%error, "failed to prune"),
                }
                // What became too old meanwhile waits for the next look.
                pruner.keep.ended_since = None;
                if self.keep_max.is_none() || Instant::now() + COUNT_INTERVAL > until {
                    break;
                }
                sleep(COUNT_INTERVAL).await;
            }
            if pruner.dropped > 0 {
                let dropped = pruner.dropped;
                tracing::warn!(dropped, "pending webhooks are made no more: they are too old, or too many");
            }
            is_over_limit = self.log_limit_change(&store, is_over_limit);
            sleep_until(until.max(Instant::now() + PRUNE_INTERVAL_MIN.min(interval))).await;
        }
    }

    /// Returns what is kept at this time; nothing is too old while the clock is not believed.
    fn keep_now(self, now: Timestamp, is_clock_steady: bool) -> Keep {
        let before = |age: Duration| now.checked_sub_signed(to_delta(age)).filter(|_| is_clock_steady);
        Keep {
            ended_since: self.keep_for.and_then(before),
            tasks_max: self.keep_max,
            pending_since: before(PENDING_AGE_MAX),
            pending_max: self.keep_max.map(|max| max.max(PENDING_COUNT_MIN)),
        }
    }

    /// Says in the log when the bound on the number of tasks stops to hold, and when it holds again.
    fn log_limit_change(self, store: &Store, was_over_limit: bool) -> bool {
        let Some(keep_max) = self.keep_max else { return false };
        let stored = store.stored();
        let is_over_limit = stored > keep_max + (keep_max / EXCESS_MIN.0).max(EXCESS_MIN.1);
        if is_over_limit && !was_over_limit {
            tracing::warn!(
                stored,
                keep_max,
                "more ended tasks are stored than are to be kept: others wait for their results, their webhooks \
                 are pending, or they end faster than they can be forgotten"
            );
        } else if was_over_limit && !is_over_limit {
            tracing::info!(stored, keep_max, "no more ended tasks are stored than are to be kept");
        }
        is_over_limit
    }
}

/// Says whether both clocks went on alike: a clock that leaps ahead must not cost the history.
fn is_clock_steady(before: (Timestamp, Instant), now: (Timestamp, Instant)) -> bool {
    let wall = now.0 - before.0;
    let steady = to_delta(now.1 - before.1);
    (wall - steady).abs() <= to_delta(CLOCK_SKEW_MAX)
}

fn to_delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Forgets, in steps, the requests that may not be sent again any more.
async fn prune_idempotency_keys(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    loop {
        let start = Instant::now();
        if store.prune_keys(now).await? == 0 {
            return Ok(());
        }
        sleep((PAUSE_FACTOR * start.elapsed()).max(Duration::from_millis(2))).await;
    }
}

/// One walk through the ended tasks, which goes on as more of them end.
struct Pruner<'a> {
    store: &'a Store,
    keep: Keep,
    cursor: PruneCursor,
    /// How many tasks had ever ended at the last round.
    ended: u64,
    /// How many pending deliveries went with their tasks.
    dropped: u64,
}

impl<'a> Pruner<'a> {
    fn new(store: &'a Store, keep: Keep) -> Self {
        Self { store, keep, cursor: PruneCursor::default(), ended: ended(store), dropped: 0 }
    }

    /// Prunes in rounds until nothing is left to prune for now.
    async fn run(&mut self) -> Result<(), StoreError> {
        let has_too_many = self.keep.tasks_max.is_some_and(|max| self.store.stored() > max);
        if !has_too_many && self.keep.ended_since.is_none() {
            self.ended = ended(self.store);
            return Ok(());
        }
        loop {
            let start = Instant::now();
            let ended = ended(self.store);
            let newly_ended = ended.saturating_sub(self.ended);
            self.ended = ended;
            // A quarter more than came since the last round: so it gets less, however fast they come.
            let max = (ROUND_MIN + newly_ended + newly_ended / 4).min(ROUND_MAX);
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            let excess = self.store.excess(self.keep, self.cursor, max).await?;
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

/// Prunes these steps, in one commit if there is room for them.
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

/// Returns how many tasks ever ended.
fn ended(store: &Store) -> u64 {
    let of_plugin = |Ended { completed, failed, cancelled }| completed + failed + cancelled;
    store.tallies().iter().map(|(_, tally)| of_plugin(tally.ended())).sum()
}
