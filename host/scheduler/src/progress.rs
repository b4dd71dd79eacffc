//! Publishes progress of guests to subscribers at a bounded rate, however often guests report it.
//!
//! Runs as one tokio task of the scheduler. It sleeps while no guest reports progress and ends with the drain.

use std::time::Duration;

use crate::shared::Shared;

/// Minimum interval between two progress events of a task: five per second look live to a person.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Publishes progress until a drain is done.
pub(crate) async fn publish_progress(shared: &Shared) {
    let progress = async {
        loop {
            shared.store.wait_for_progress().await;
            shared.store.publish_progress(shared.clock.now()).await;
            tokio::time::sleep(PROGRESS_INTERVAL).await;
        }
    };
    tokio::select! {
        () = progress => {}
        () = shared.drained() => {}
    }
}
