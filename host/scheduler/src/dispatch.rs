//! The dispatcher: takes free slots, claims up to that many tasks and starts their runs.
//!
//! Runs as one tokio task of the scheduler. It returns when a drain starts and claims nothing after that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use wasmill_model::{PluginName, Timestamp, fault_point};
use wasmill_store::{ClaimQuota, Claimed, StoreError};

use crate::run::Run;
use crate::shared::Shared;

/// How often to check for free memory: no event reports that a guest used less than estimated.
const MEMORY_POLL: Duration = Duration::from_millis(50);

/// Claims and starts tasks until the scheduler drains.
pub(crate) async fn dispatch(shared: &Arc<Shared>) {
    let mut is_failing = false;
    while let Some(slots) = free_slots(shared).await {
        tokio::select! {
            () = shared.store.lease().wait_valid() => {}
            () = shared.draining() => return,
        }
        let wait = match claim(shared, slots).await {
            Ok(wait) => {
                is_failing = false;
                wait
            }
            Err(error) => {
                if !is_failing {
                    tracing::error!(%error, "failed to claim tasks; retrying");
                    is_failing = true;
                }
                Some(shared.config.poll)
            }
        };
        if let Some(wait) = wait {
            tokio::select! {
                () = shared.wakeup.notified() => {}
                () = shared.store.wait_for_ready() => {}
                () = tokio::time::sleep(wait) => {}
                () = shared.draining() => return,
            }
        }
    }
}

/// Waits for a free slot and takes all that are free; `None` once a drain starts.
async fn free_slots(shared: &Shared) -> Option<OwnedSemaphorePermit> {
    let mut slots = tokio::select! {
        biased;
        () = shared.draining() => return None,
        slot = shared.slots.clone().acquire_owned() => slot.ok()?,
    };
    let more = shared.slots.available_permits().min(shared.config.claim_max - 1);
    if let Ok(more) = shared.slots.clone().try_acquire_many_owned(u32::try_from(more).unwrap_or(u32::MAX)) {
        slots.merge(more);
    }
    Some(slots)
}

/// Claims a task for each slot and starts the runs. Returns how long to wait before the next claim, or `None` if more
/// tasks may be available now.
async fn claim(
    shared: &Arc<Shared>,
    mut slots: OwnedSemaphorePermit,
) -> Result<Option<Duration>, StoreError> {
    // A cancel that finds a running task without a registered run waits for this lock, then looks again.
    let claiming = shared.claiming.lock().await;
    // What is claimed may run under this term only, also if another one begins meanwhile.
    let term = shared.store.lease().term();
    load_rates(shared).await?;
    let now = shared.clock.now();
    let claim_quotas = claim_quotas(shared);
    let available_memory = shared.runner.available_memory();
    let claims = shared.store.claim(claim_quotas, slots.num_permits(), available_memory, now).await?;
    if !claims.claimed.is_empty() {
        fault_point!("claim stored, nothing runs");
    }
    record_starts(shared, &claims.claimed);
    shared.is_memory_bound.store(claims.lacked_memory, Ordering::SeqCst);
    let all_filled = claims.claimed.len() == slots.num_permits();
    let runs: Vec<_> = claims
        .claimed
        .into_iter()
        .filter_map(|claimed| register(shared, claimed, term, slots.split(1)?))
        .collect();
    drop(claiming);
    for run in runs {
        shared.guests.spawn(run.execute(Arc::clone(shared)));
    }
    let poll = shared.config.poll.min(if claims.lacked_memory { MEMORY_POLL } else { Duration::MAX });
    Ok((!all_filled).then(|| {
        let wait = time_until(claims.next_ready_at, now, poll);
        shared.rates().next_start_in(Instant::now()).map_or(wait, |next| next.min(wait))
    }))
}

/// Loads the starts that earlier hosts recorded, once for each plugin with a rate.
async fn load_rates(shared: &Shared) -> Result<(), StoreError> {
    for plugin in shared.runner.plugins() {
        let Some(rate) = shared.runner.rate(&plugin) else { continue };
        if shared.rates().is_loaded(&plugin) {
            continue;
        }
        let started = shared.store.recent_starts(plugin.clone()).await?;
        let now = shared.clock.now();
        // A start in the future was recorded while the clock was ahead; its true time is unknown, so it counts as now.
        let ago = |at: Timestamp| (now - at).to_std().unwrap_or_default();
        let started = started.into_iter().map(|(at, tasks)| (ago(at), tasks));
        shared.rates().load(plugin, rate, started, Instant::now());
    }
    Ok(())
}

/// Counts started tasks against the rates of their plugins.
fn record_starts(shared: &Shared, claimed: &[Claimed]) {
    let now = Instant::now();
    let mut rates = shared.rates();
    if rates.is_empty() {
        return;
    }
    // Round robin mixes plugins, so the tasks of one plugin need not be adjacent.
    let mut starts: BTreeMap<&PluginName, usize> = BTreeMap::new();
    for task in claimed {
        *starts.entry(&task.plugin).or_default() += 1;
    }
    for (plugin, tasks) in starts {
        rates.record(plugin, tasks, now);
    }
}

/// Returns the plugins that may start tasks, with how many more tasks each may start.
///
/// Only claims add running tasks, and only one claim runs at a time, so a quota computed here still holds when the
/// tasks start. The same is true of free memory, except that running guests grow; a guest that grows too far is
/// evicted (see [`wasmill_model::RunHost::evicted`]).
fn claim_quotas(shared: &Shared) -> Vec<ClaimQuota> {
    let running = shared.running();
    let paused = shared.paused();
    let (mut rates, now) = (shared.rates(), Instant::now());
    rates.prune(now, |plugin| shared.runner.rate(plugin).is_some());
    let share = |plugin| {
        let concurrency = shared.runner.concurrency(&plugin);
        let free = match concurrency {
            Some(concurrency) => concurrency.saturating_sub(running.count_by_plugin(&plugin)),
            None => usize::MAX,
        };
        let rate = shared.runner.rate(&plugin);
        let left = rate.map(|rate| rates.remaining(&plugin, rate, now));
        let tasks_max = free.min(left.unwrap_or(usize::MAX));
        ClaimQuota {
            memory_bytes: shared.runner.expected_memory(&plugin),
            plugin,
            tasks_max,
            concurrency,
            rate,
        }
    };
    let plugins = shared.runner.plugins().into_iter().filter(|plugin| !paused.contains(plugin));
    plugins.map(share).filter(|share| share.tasks_max > 0).collect()
}

fn register(shared: &Shared, claimed: Claimed, term: i64, slot: OwnedSemaphorePermit) -> Option<Arc<Run>> {
    shared.stats.started(claimed.queue);
    let run = Arc::new(Run::new(shared, claimed, term, slot));
    shared.running().insert(Arc::clone(&run));
    Some(run)
}

fn time_until(ready_at: Option<Timestamp>, now: Timestamp, poll: Duration) -> Duration {
    ready_at.map_or(poll, |ready_at| (ready_at - now).to_std().unwrap_or_default().min(poll))
}
