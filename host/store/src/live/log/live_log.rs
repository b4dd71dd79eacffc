//! The log of a task for readers: its lines so far, and those that its run still writes.

use std::sync::atomic::Ordering;

use wasmill_model::{LogLine, TaskState};

use crate::live::live_runs::LiveRun;

/// Log lines and the state of the task when they were read.
#[derive(Debug)]
pub struct LogLines {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// The state of the task; if it is final, no further lines follow.
    pub state: TaskState,
    /// The live log, if the task is running.
    pub live: Option<LiveLog>,
}

/// The log of a running task, for a follower.
#[derive(Debug)]
pub struct LiveLog(LiveRun);

impl LiveLog {
    /// Follows the log of a run.
    pub fn new(run: LiveRun) -> Self {
        run.log().followers.fetch_add(1, Ordering::SeqCst);
        Self(run)
    }

    /// Returns lines after line `after`, oldest first, up to `lines_max` lines or `bytes_max` bytes of text.
    /// Dropped lines are skipped.
    pub fn read(&self, after: u64, lines_max: usize, bytes_max: usize) -> Vec<LogLine> {
        self.0.log().read(after, lines_max, bytes_max)
    }

    /// Waits for a line after line `after`. It does not resolve when the run ends.
    pub async fn changed(&self, after: u64) {
        loop {
            let mut changed = std::pin::pin!(self.0.log().changed.notified());
            changed.as_mut().enable();
            if !self.read(after, 1, 1).is_empty() {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for LiveLog {
    fn drop(&mut self) {
        self.0.log().followers.fetch_sub(1, Ordering::SeqCst);
    }
}
