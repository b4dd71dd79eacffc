//! The host functions of one run: progress, log, checkpoints.
//!
//! Passed to the runner with each run. It makes no decision about the task.

pub(crate) mod children;
mod dependency_results;
mod handed_files;
pub(crate) mod task_files;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmill_model::{
    BoxFuture, Child, ChildrenError, Clock, ContentId, DependencyResult, Failure, LogStream, Meter, NewChild,
    OutputFile, Pinned, PostedEvent, Progress, RunHost, RunTrace, TaskFile, TaskId,
};
use wasmill_store::{Checkpoint, Claim, Store};

use self::children::ChildPolicy;
use self::task_files::TaskFiles;

/// Minimum interval between two checkpoints of one run.
const CHECKPOINT_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Bytes of checkpoints that one run may write per second.
///
/// With both limits a guest that saves in a loop costs the writer no more than a busy client.
const CHECKPOINT_BYTES_PER_SECOND: f64 = (16 << 20) as f64;

/// The host's side of one run.
pub(crate) struct TaskHost {
    store: Store,
    clock: Arc<dyn Clock>,
    claim: Claim,
    files: TaskFiles,
    children: Arc<ChildPolicy>,
    /// The earliest time of the next checkpoint.
    next_checkpoint_at: Mutex<Option<Instant>>,
    /// The last checkpoint, until the guest reads it or saves another.
    checkpoint: Mutex<Checkpoint>,
    evicted: AtomicBool,
    stop: CancellationToken,
}

impl TaskHost {
    pub(crate) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        claim: Claim,
        checkpoint: Checkpoint,
        files: TaskFiles,
        children: Arc<ChildPolicy>,
    ) -> Self {
        Self {
            store,
            clock,
            claim,
            files,
            children,
            checkpoint: Mutex::new(checkpoint),
            next_checkpoint_at: Mutex::default(),
            evicted: AtomicBool::new(false),
            stop: CancellationToken::new(),
        }
    }

    /// Asks the guest to stop; it may ignore that.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Returns true if the run was stopped for lack of memory.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }

    /// Returns the checkpoint of the claim; later calls return [`Checkpoint::NotLoaded`] and the store has to be read.
    fn take_checkpoint(&self) -> Checkpoint {
        let mut checkpoint = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut checkpoint, Checkpoint::NotLoaded)
    }

    /// Reserves the time for a checkpoint of this size; returns when to write it, or `None` for now.
    ///
    /// A guest that saves too often is delayed, never refused: it could not tell why.
    fn reserve_checkpoint(&self, bytes: usize) -> Option<Instant> {
        let mut next_checkpoint_at = self.next_checkpoint_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let reserved = next_checkpoint_at.map_or(now, |at| at.max(now));
        let writing = Duration::from_secs_f64(bytes as f64 / CHECKPOINT_BYTES_PER_SECOND);
        *next_checkpoint_at = Some(reserved + writing.max(CHECKPOINT_INTERVAL_MIN));
        (reserved > now).then_some(reserved)
    }
}

impl RunHost for TaskHost {
    fn is_asked_to_stop(&self) -> bool {
        self.stop.is_cancelled()
    }

    fn asked_to_stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.stop.cancelled())
    }

    fn evicted(&self) {
        self.evicted.store(true, Ordering::Release);
    }

    fn meter(&self) -> Option<&Meter> {
        Some(self.claim.meter())
    }

    fn trace(&self) -> Option<&RunTrace> {
        self.claim.trace()
    }

    fn pin(&self, pinned: &Pinned) {
        self.claim.set_digest(Arc::clone(&pinned.digest));
        let log_bytes = usize::try_from(pinned.log_bytes).unwrap_or(usize::MAX);
        // The guest does not exist yet, so it has written nothing.
        self.claim.log().keep(log_bytes);
    }

    fn dependency_results(&self) -> BoxFuture<'_, Result<Vec<DependencyResult>, Failure>> {
        Box::pin(dependency_results::dependency_results(&self.store, &self.claim))
    }

    fn next_event(&self) -> BoxFuture<'_, Result<Option<PostedEvent>, String>> {
        Box::pin(async {
            let event = self.store.next_event(&self.claim).await.map_err(|error| error.to_string())?;
            if let Some(event) = &event {
                self.claim.take_events(event.number);
            }
            Ok(event)
        })
    }

    fn has_files(&self) -> bool {
        self.files.may_have_any()
    }

    fn input_files(&self) -> BoxFuture<'_, Result<Vec<TaskFile>, Failure>> {
        Box::pin(self.files.inputs(&self.store, &self.claim))
    }

    fn read_file(&self, content: ContentId, part: u64) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        Box::pin(task_files::read(&self.store, content, part))
    }

    fn keep_file(&self, file: OutputFile) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.files.keep(&self.store, &self.claim, file, self.clock.now()))
    }

    fn submit_children(&self, children: Vec<NewChild>) -> BoxFuture<'_, Result<Vec<TaskId>, ChildrenError>> {
        Box::pin(async {
            // A guest that submits in a loop is delayed as one that saves.
            let bytes = children.iter().map(|child| child.input.as_ref().map_or(0, String::len)).sum();
            if let Some(reserved) = self.reserve_checkpoint(bytes) {
                tokio::time::sleep_until(reserved).await;
            }
            self.children.submit(&self.store, &self.claim, &*self.clock, children).await
        })
    }

    fn children(&self, start: u32) -> BoxFuture<'_, Result<Vec<Child>, String>> {
        Box::pin(async move {
            self.store.children(&self.claim, start.into()).await.map_err(|error| error.to_string())
        })
    }

    fn progress(&self, progress: Progress) {
        self.claim.set_progress(progress);
    }

    fn log(&self, stream: LogStream, written: &[u8]) {
        self.claim.meter().add_log_bytes(written.len() as u64);
        self.claim.log().write(stream, written, self.clock.now());
    }

    fn save(&self, state: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            if let Some(reserved) = self.reserve_checkpoint(state.len()) {
                tokio::time::sleep_until(reserved).await;
            }
            self.take_checkpoint();
            match self.store.save(&self.claim, state).await {
                Ok(true) => {
                    self.claim.meter().add_checkpoint();
                    Ok(())
                }
                Ok(false) => Err("the run has lost its claim on the task".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn restore(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async {
            match self.take_checkpoint() {
                Checkpoint::None => Ok(None),
                Checkpoint::State(state) => Ok(Some(state)),
                Checkpoint::NotLoaded => {
                    self.store.restore(&self.claim).await.map_err(|error| error.to_string())
                }
            }
        })
    }
}
