//! What this host does for the others on its database, and because of them: stops runs that another host was asked to
//! stop, follows their pauses, freezes with its lease, and tells what it does.
//!
//! Runs as one tokio task of the scheduler until a drain is done. With the embedded database it only waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use wasmill_model::TaskId;
use wasmill_store::{HostReport, StopRequest};

use crate::paused::Paused;
use crate::shared::Shared;

/// How often slots and memory are reported to the others.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two looks at the pauses of others.
const PAUSED_INTERVAL: Duration = Duration::from_millis(100);

/// Follows the other hosts until a drain is done.
pub(crate) async fn follow_cluster(shared: &Arc<Shared>) {
    tokio::select! {
        () = follow_lease(shared) => {}
        () = follow_stops(shared) => {}
        () = follow_pauses(shared) => {}
        () = report(shared) => {}
        () = shared.drained() => {}
    }
}

/// Thaws the runs once the lease is valid again, and kills those that others may have put back.
async fn follow_lease(shared: &Arc<Shared>) {
    let lease = shared.store.lease();
    let mut changed = lease.subscribe();
    let mut lost = JoinSet::new();
    while changed.changed().await.is_ok() {
        for run in shared.running().all() {
            if run.term == lease.term() {
                run.guest.wake();
            } else {
                let shared = Arc::clone(shared);
                lost.spawn(async move {
                    // The store refuses its end, which leaves nothing to do.
                    let _ = run.stop(&shared).await;
                });
            }
        }
        shared.wakeup.notify_one();
        while lost.try_join_next().is_some() {}
    }
}

/// Stops the runs that another host was asked to stop.
async fn follow_stops(shared: &Arc<Shared>) {
    let mut stopping: HashSet<(TaskId, i64)> = HashSet::new();
    let mut stops = JoinSet::new();
    loop {
        tokio::select! {
            requests = shared.store.wait_for_stops() => {
                for StopRequest { task, token, kill_at } in requests {
                    if stopping.insert((task, token)) {
                        let grace = (kill_at - shared.clock.now()).to_std().unwrap_or_default();
                        let shared = Arc::clone(shared);
                        stops.spawn(async move {
                            // A failure was logged, and its run still stores its end.
                            let _ = shared.stop_here(task, Some(token), grace).await;
                            (task, token)
                        });
                    }
                }
            }
            Some(Ok(stopped)) = stops.join_next() => {
                stopping.remove(&stopped);
            }
        }
    }
}

/// Reads the pauses anew when another host has changed something.
async fn follow_pauses(shared: &Shared) {
    loop {
        shared.store.wait_for_others().await;
        let claiming = shared.claiming.lock().await;
        // The next change of anything is another chance, and a claim looks by itself.
        if let Ok(paused) = Paused::load(&shared.store).await {
            *shared.paused() = paused;
        }
        drop(claiming);
        shared.wakeup.notify_one();
        tokio::time::sleep(PAUSED_INTERVAL).await;
    }
}

async fn report(shared: &Shared) {
    loop {
        shared.store.report(HostReport {
            slots: shared.config.slots as u64,
            used: shared.running().len() as u64,
            memory_free_bytes: shared.runner.available_memory(),
            is_draining: shared.is_draining(),
        });
        tokio::time::sleep(REPORT_INTERVAL).await;
    }
}
