//! A timer that is started and stopped often.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A reusable timer that allocates once.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Timer {
    /// Starts the timer if it is stopped, and polls it.
    pub(super) fn poll(&mut self, wait: Duration, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        if !self.is_running {
            sleep.as_mut().reset(Instant::now() + wait);
            self.is_running = true;
        }
        sleep.as_mut().poll(context)
    }

    pub(super) fn stop(&mut self) {
        self.is_running = false;
    }
}
