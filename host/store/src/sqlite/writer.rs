//! The writer thread and the queue in front of it.
//!
//! The queue holds at most one full batch; whoever comes then waits, with what it wants written, in
//! its own future. So memory is bounded by the callers, also when they hang up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc, oneshot};
use wasmill_model::{COUNTS, Histogram, LATENCY_SECONDS};

use super::batch::{Batcher, Job, Line, Operation, Pending};
use super::lock::Lock;
use crate::tally::{Moves, Tallies};
use crate::{CommitFigures, Counts, StoreError, StoreStats};

/// The most commands in one transaction: enough that the fsync no longer shows, few enough that
/// the first caller of a batch need not wait for long.
const BATCH_MAX: usize = 2_000;

/// Talks to the writer thread. Dropping it finishes what is queued and waits for that.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

#[derive(Debug)]
enum Message {
    Run(Box<dyn Job>),
    Close,
}

impl Writer {
    /// Starts the thread; it holds the lock until nothing is left to write.
    pub(super) fn start(batcher: Batcher, lock: Lock) -> Result<Self, StoreError> {
        let (queue, messages) = mpsc::channel(BATCH_MAX);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                write_all(batcher, messages);
                drop(lock);
            })
            .map_err(|error| StoreError::Unavailable {
                message: format!("failed to start the writer thread: {error}"),
            })?;
        Ok(Self { queue, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Runs an operation in the next batch and returns its answer once that is committed.
    pub(super) async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Pending::new(operation, reply));
        self.queue.send(Message::Run(job)).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits until the thread takes nothing more: it was told so, or it panicked.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Takes nothing more, finishes what is queued, and waits for that.
    pub(super) async fn close(&self) {
        // An error says that the thread closes already; it is still to be waited for.
        let _ = self.queue.send(Message::Close).await;
        let thread = self.thread.clone();
        let _ = tokio::task::spawn_blocking(move || join(&thread)).await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Hangs up: the thread ends after the last message.
        self.queue = mpsc::channel(1).0;
        join(&self.thread);
    }
}

/// Waits for the thread; the lock is held so that a second caller waits as well.
fn join(thread: &Mutex<Option<JoinHandle<()>>>) {
    let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
    if thread.take().is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("the writer thread of the store panicked");
    }
}

fn write_all(mut batcher: Batcher, mut messages: mpsc::Receiver<Message>) {
    let mut taken = Vec::with_capacity(BATCH_MAX);
    while take(&batcher, &mut messages, &mut taken) {
        let mut jobs = Vec::with_capacity(taken.len());
        for message in taken.drain(..) {
            match message {
                Message::Run(job) => jobs.push(job),
                Message::Close => messages.close(),
            }
        }
        batcher.commit(jobs);
    }
    // Claims may have come back since the last batch.
    batcher.commit(Vec::new());
}

/// Takes what is queued, and waits for it unless there is something to go on with; false when nothing will
/// come any more. What is left to go on with then is the next host's.
fn take(batcher: &Batcher, messages: &mut mpsc::Receiver<Message>, taken: &mut Vec<Message>) -> bool {
    if !batcher.goes_on() {
        return messages.blocking_recv_many(taken, BATCH_MAX) > 0;
    }
    while taken.len() < BATCH_MAX {
        match messages.try_recv() {
            Ok(message) => taken.push(message),
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Disconnected) => return !taken.is_empty(),
        }
    }
    true
}

/// What the writer publishes after each commit, for readers that need no database for it.
#[derive(Debug)]
pub(super) struct Figures {
    waiting: AtomicU64,
    running: AtomicU64,
    commits: AtomicU64,
    commands: AtomicU64,
    tallies: Tallies,
    spread: Mutex<CommitFigures>,
    /// Hints that a delivery is due.
    pub(super) delivery_due: Notify,
}

/// One commit that went well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committed {
    pub(super) commands: usize,
    /// Whether it waited for the disk.
    pub(super) synced: bool,
    pub(super) took: Duration,
}

impl Figures {
    pub(super) fn new(line: Line, tallies: Tallies) -> Self {
        Self {
            waiting: AtomicU64::new(line.waiting),
            running: AtomicU64::new(line.running),
            commits: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            tallies,
            spread: Mutex::new(CommitFigures {
                synced_seconds: Histogram::new(LATENCY_SECONDS),
                unsynced_seconds: Histogram::new(LATENCY_SECONDS),
                commands: Histogram::new(COUNTS),
                failed: 0,
            }),
            delivery_due: Notify::new(),
        }
    }

    pub(super) fn publish(&self, line: Line, moves: Moves, committed: Committed) {
        self.waiting.store(line.waiting, Ordering::Relaxed);
        self.running.store(line.running, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(committed.commands as u64, Ordering::Relaxed);
        self.tallies.take(moves);
        let mut spread = self.spread();
        let seconds =
            if committed.synced { &mut spread.synced_seconds } else { &mut spread.unsynced_seconds };
        seconds.observe_time(committed.took);
        spread.commands.observe(committed.commands as f64);
    }

    pub(super) fn failed(&self) {
        self.spread().failed += 1;
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            waiting: self.waiting.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
        }
    }

    pub(super) fn stats(&self) -> StoreStats {
        StoreStats {
            commits: self.commits.load(Ordering::Relaxed),
            commands: self.commands.load(Ordering::Relaxed),
        }
    }

    pub(super) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    pub(super) fn commit_figures(&self) -> CommitFigures {
        self.spread().clone()
    }

    fn spread(&self) -> MutexGuard<'_, CommitFigures> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
