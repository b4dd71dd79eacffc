//! The rate of a plugin holds across restarts and crashes of the host.
#![allow(missing_docs, reason = "a test binary")]

mod testbed;

use std::sync::atomic::Ordering;
use std::time::Duration;

use testbed::Testbed;
use wasmill_model::TaskState;

#[tokio::test(start_paused = true)]
async fn starts_of_an_earlier_host_count_against_the_rate() {
    let mut testbed = Testbed::new(50);
    testbed.runner.rate.store(2, Ordering::SeqCst);
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(testbed.submit("ok").await);
    }
    let mut starts = Vec::new();
    for id in ids {
        starts.push(testbed.wait_for(id, TaskState::Completed).await.started_at.expect("it ran"));
        // A crash or a clean stop after each of them.
        testbed = if starts.len() % 2 == 0 { testbed.crash().await } else { testbed.restart().await };
        testbed.runner.rate.store(2, Ordering::SeqCst);
        testbed.scheduler.wake();
    }
    for window in starts.windows(3) {
        let span = window[2] - window[0];
        assert!(span.to_std().expect("in order") >= Duration::from_millis(999), "three within {span}");
    }
}
