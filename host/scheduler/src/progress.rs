//! The pulse at which followers are told of progress, however often guests tell it.
//!
//! One task of the scheduler. It sleeps while no guest tells anything, and ends with the drain.

use std::time::Duration;

use crate::scheduler::Shared;

/// The least time between two events of progress of one task: five a second look live to a person.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Tells followers of progress until a drain is done.
pub(crate) async fn publish_progress(shared: &Shared) {
    let progress = async {
        loop {
            shared.store.progressed().await;
            shared.store.tell_progress(shared.clock.now());
            tokio::time::sleep(PROGRESS_INTERVAL).await;
        }
    };
    tokio::select! {
        () = progress => {}
        () = shared.drained() => {}
    }
}
