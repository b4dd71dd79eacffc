//! The writer and its queue, on a thread of its own with the runtime that drives all connections.
//!
//! The queue holds at most one full batch; further callers wait in their own futures. So callers bound the
//! memory, also when they hang up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use wasmill_store::StoreError;
use wasmill_store::commit::{BATCH_MAX, divide, is_large};

use crate::writer::batch::{Job, Operation, Pending};
use crate::writer::batcher::Batcher;

/// Handle of the writer. Dropping it finishes queued commands and waits for the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

#[derive(Debug)]
enum Message {
    Run(Box<dyn Job>),
    Close,
}

impl Writer {
    /// Starts the thread; the runtime ends with it.
    pub(crate) fn start(runtime: Runtime, batcher: Batcher) -> Result<Self, StoreError> {
        let (queue, messages) = mpsc::channel(BATCH_MAX);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || runtime.block_on(write_all(batcher, messages)))
            .map_err(|error| StoreError::Unavailable {
                message: format!("failed to start the writer thread: {error}"),
            })?;
        Ok(Self { queue, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Runs an operation in the next batch and returns its answer once it has committed.
    pub(crate) async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Pending::new(operation, reply));
        self.queue.send(Message::Run(job)).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Resolves when the thread accepts nothing more: it was closed, or it panicked.
    pub(crate) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Stops accepting commands, finishes those queued, and waits for the thread.
    pub(crate) async fn close(&self) {
        // Fails if the thread is closing already; it must still be joined.
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

/// Joins the thread; the mutex makes a second caller wait as well.
fn join(thread: &Mutex<Option<JoinHandle<()>>>) {
    let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
    if thread.take().is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("the writer thread of the store panicked");
    }
}

async fn write_all(mut batcher: Batcher, mut messages: mpsc::Receiver<Message>) {
    let mut taken = Vec::with_capacity(BATCH_MAX);
    let mut large = VecDeque::new();
    while take(&mut batcher, &mut messages, &mut taken, large.len()).await {
        let mut jobs = Vec::with_capacity(taken.len());
        for message in taken.drain(..) {
            match message {
                Message::Run(job) if is_large(job.cost()) => large.push_back(job),
                Message::Run(job) => jobs.push(job),
                Message::Close => messages.close(),
            }
        }
        for batch in divide(jobs, &mut large, |job| job.cost()) {
            batcher.commit(batch).await;
        }
        if batcher.is_taken_over() {
            break;
        }
    }
    if batcher.is_taken_over() {
        tracing::error!("another wasmill has taken over the database; this one ends");
        // What is queued is answered that the store is closed.
        return;
    }
    // Claims may have been abandoned since the last batch.
    batcher.commit(Vec::new()).await;
}

/// Takes queued commands; waits for one unless there is deferred work. Returns false once the queue is
/// closed; the next host does the deferred work then.
async fn take(
    batcher: &mut Batcher,
    messages: &mut mpsc::Receiver<Message>,
    taken: &mut Vec<Message>,
    large: usize,
) -> bool {
    if large == 0 && !batcher.has_backlog() {
        while !batcher.is_taken_over() {
            tokio::select! {
                received = messages.recv_many(taken, BATCH_MAX) => return received > 0,
                () = batcher.lost() => {}
            }
            batcher.reconnect().await;
        }
        return false;
    }
    // Commands taken and not yet written are bounded, too.
    while taken.len() + large < BATCH_MAX {
        match messages.try_recv() {
            Ok(message) => taken.push(message),
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Disconnected) => return large > 0 || !taken.is_empty(),
        }
    }
    true
}
