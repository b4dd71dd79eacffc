//! What one running guest may ask of the host: progress, log, checkpoints.
//!
//! Handed to the runner with each run. It never decides about the task.

use std::sync::{Arc, Mutex, PoisonError};

use wasmill_model::{BoxFuture, LogTail, Pinned, Progress, RunHost};
use wasmill_store::{Claim, Store};

/// The host's side of one run.
pub(crate) struct TaskHost {
    store: Store,
    claim: Claim,
    log: Mutex<LogTail>,
}

impl TaskHost {
    pub(crate) fn new(store: Store, claim: Claim, log_bytes: usize) -> Self {
        Self { store, claim, log: Mutex::new(LogTail::new(log_bytes)) }
    }

    /// Returns the newest lines of the log, if the guest wrote any.
    pub(crate) fn log_text(&self) -> Option<String> {
        let text = self.log.lock().unwrap_or_else(PoisonError::into_inner).text();
        (!text.is_empty()).then_some(text)
    }
}

impl RunHost for TaskHost {
    fn pin(&self, pinned: &Pinned) {
        self.store.pin(&self.claim, Arc::clone(&pinned.digest));
        let log_bytes = usize::try_from(pinned.log_bytes).unwrap_or(usize::MAX);
        // The guest is not made yet, so nothing can have been written.
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = LogTail::new(log_bytes);
    }

    fn progress(&self, progress: Progress) {
        self.store.progress(&self.claim, progress);
    }

    fn log(&self, written: &[u8]) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).write(written);
    }

    fn save(&self, state: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            match self.store.save(&self.claim, state).await {
                Ok(true) => Ok(()),
                Ok(false) => Err("this run no longer holds its task".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn restore(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async { self.store.restore(&self.claim).await.map_err(|error| error.to_string()) })
    }
}
