//! Retention: forgets tasks that ended long ago, or that are too many, and requests that may not be sent
//! again any more, in small steps.
//!
//! The binary starts it beside the scheduler. It looks now and then; each step is one short write, and
//! between two steps others get twice as much time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wasmill_model::{Clock, TimeDelta, Timestamp};
use wasmill_store::{Mark, Store, StoreError};

/// How often to look; more often if tasks are kept for less.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_MIN: Duration = Duration::from_millis(100);

/// How far the wall clock may stray from the steady one between two looks before it is not believed.
const STRAY: Duration = Duration::from_secs(60);

/// How many times as long as a step took the pause after it is.
const PAUSES: u32 = 2;

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
    pub async fn keep(self, store: Store, clock: Arc<dyn Clock>) {
        let look = self.keep_for.map_or(LOOK, |keep_for| (keep_for / 10).clamp(LOOK_MIN, LOOK));
        let mut before = (clock.now(), Instant::now());
        let mut commits = None;
        loop {
            let now = (clock.now(), Instant::now());
            let believed = goes_evenly(before, now);
            if !believed {
                tracing::warn!("the clock of this machine jumped; nothing is pruned by age right now");
            }
            before = now;
            // Without a commit since the last look there cannot be more tasks than there were.
            let written = Some(store.stats().commits);
            let age = self.keep_for.filter(|_| believed);
            let count = self.keep_max.filter(|_| written != commits);
            if believed {
                match prune_keys(&store, now.0).await {
                    Ok(()) => {}
                    Err(StoreError::Closed) => return,
                    Err(error) => tracing::debug!(%error, "failed to forget requests"),
                }
            }
            match prune(&store, age, count, now.0).await {
                Ok(pruned) => {
                    commits = written;
                    tracing::debug!(pruned, "forgot tasks that had ended");
                }
                Err(StoreError::Closed) => return,
                // The store has told of it; the next look tries again.
                Err(error) => tracing::debug!(%error, "failed to prune"),
            }
            sleep(look).await;
        }
    }
}

/// Says whether both clocks went on alike: a clock that leaps ahead must not cost the history.
fn goes_evenly(before: (Timestamp, Instant), now: (Timestamp, Instant)) -> bool {
    let wall = now.0 - before.0;
    let steady = chrono_of(now.1 - before.1);
    (wall - steady).abs() <= chrono_of(STRAY)
}

fn chrono_of(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Forgets, in steps, the requests that may not be sent again any more.
async fn prune_keys(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    loop {
        let start = Instant::now();
        if store.prune_keys(now).await? == 0 {
            return Ok(());
        }
        sleep((PAUSES * start.elapsed()).max(Duration::from_millis(2))).await;
    }
}

/// Prunes in steps until nothing is left to prune; returns how many tasks went.
async fn prune(
    store: &Store,
    keep_for: Option<Duration>,
    keep_max: Option<u64>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let age =
        keep_for.and_then(|keep_for| now.checked_sub_signed(chrono_of(keep_for))).map(Store::ended_before);
    let count: Option<Mark> = match keep_max {
        Some(keep_max) => store.surplus(keep_max).await?,
        None => None,
    };
    let Some(until) = age.max(count) else { return Ok(0) };
    let mut all = 0;
    loop {
        let start = Instant::now();
        let pruned = store.prune(until).await?;
        if pruned == 0 {
            return Ok(all);
        }
        all += pruned;
        sleep((PAUSES * start.elapsed()).max(Duration::from_millis(2))).await;
    }
}
