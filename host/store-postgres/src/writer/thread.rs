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
    /// Looks what other hosts have written, and tells once that is published.
    CatchUp(Option<oneshot::Sender<()>>),
    /// Others took this registration for dead.
    Revoked(i64),
    Close,
}

/// The way to the writer of what runs beside it, which must not keep it open. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct WriterQueue(mpsc::WeakSender<Message>);

impl WriterQueue {
    /// Runs an operation in the next batch and returns its answer once it has committed.
    pub(crate) async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        write(&self.0.upgrade().ok_or(StoreError::Closed)?, operation).await
    }

    /// Tells that others took this registration for dead.
    pub(crate) async fn revoked(&self, host: i64) {
        if let Some(queue) = self.0.upgrade() {
            // Fails once the store is closed.
            let _ = queue.send(Message::Revoked(host)).await;
        }
    }

    /// Asks to look what other hosts have written.
    pub(crate) fn catch_up(&self) {
        if let Some(queue) = self.0.upgrade() {
            // A full queue makes the writer look as well.
            let _ = queue.try_send(Message::CatchUp(None));
        }
    }
}

async fn write<O: Operation>(queue: &mpsc::Sender<Message>, operation: O) -> Result<O::Answer, StoreError> {
    let (reply, answer) = oneshot::channel();
    let job = Box::new(Pending::new(operation, reply));
    queue.send(Message::Run(job)).await.map_err(|_| StoreError::Closed)?;
    answer.await.unwrap_or(Err(StoreError::Closed))
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
        write(&self.queue, operation).await
    }

    /// Returns the way to this writer for what runs beside it.
    pub(crate) fn queue(&self) -> WriterQueue {
        WriterQueue(self.queue.downgrade())
    }

    /// Publishes what other hosts have written up to now.
    pub(crate) async fn catch_up(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.send(Message::CatchUp(Some(reply))).await.is_ok() {
            // Fails once the store is closed.
            let _ = done.await;
        }
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
        let (mut jobs, mut followers) = (Vec::with_capacity(taken.len()), Vec::new());
        for message in taken.drain(..) {
            match message {
                Message::Run(job) if is_large(job.cost()) => large.push_back(job),
                Message::Run(job) => jobs.push(job),
                Message::CatchUp(follower) => followers.push(follower),
                Message::Revoked(host) => batcher.revoked(host).await,
                Message::Close => messages.close(),
            }
        }
        if !followers.is_empty() {
            batcher.poll().await;
            for follower in followers.into_iter().flatten() {
                // Fails if it has hung up.
                let _ = follower.send(());
            }
        }
        for batch in divide(jobs, &mut large, |job| job.cost()) {
            batcher.commit(batch).await;
        }
    }
    // Claims may have been abandoned since the last batch.
    batcher.commit(Vec::new()).await;
    batcher.leave().await;
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
        loop {
            tokio::select! {
                received = messages.recv_many(taken, BATCH_MAX) => return received > 0,
                () = batcher.lost() => batcher.reconnect().await,
                () = batcher.poll_due() => batcher.poll().await,
            }
        }
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
