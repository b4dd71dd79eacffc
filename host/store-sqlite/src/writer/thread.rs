//! The writer thread and its queue.
//!
//! The queue holds at most one full batch; further callers wait in their own futures. So callers bound the
//! memory, also when they hang up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use wasmill_store::StoreError;

use crate::file::lock::Lock;
use crate::writer::batch::{Job, Operation, Pending};
use crate::writer::batcher::Batcher;

/// Maximum commands per transaction: enough to amortise the fsync, few enough that the first caller of a
/// batch does not wait long.
const BATCH_MAX: usize = 2_000;

/// Maximum cost of a transaction in rows, or 4 KiB of large values, unless one command costs more: about 20
/// ms.
const COST_MAX: u64 = 4_000;

/// Maximum cost of a small command, which no large one may delay twice.
const SMALL_MAX: u64 = 250;

/// Handle of the writer thread. Dropping it finishes queued commands and waits for the thread.
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
    /// Starts the thread; it holds the lock until everything is written.
    pub(crate) fn start(batcher: Batcher, lock: Lock) -> Result<Self, StoreError> {
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

fn write_all(mut batcher: Batcher, mut messages: mpsc::Receiver<Message>) {
    let mut taken = Vec::with_capacity(BATCH_MAX);
    let mut large = VecDeque::new();
    while take(&batcher, &mut messages, &mut taken, large.len()) {
        let mut jobs = Vec::with_capacity(taken.len());
        for message in taken.drain(..) {
            match message {
                Message::Run(job) if job.cost() > SMALL_MAX => large.push_back(job),
                Message::Run(job) => jobs.push(job),
                Message::Close => messages.close(),
            }
        }
        for batch in batches(jobs, &mut large) {
            batcher.commit(batch);
        }
    }
    // Claims may have been abandoned since the last batch.
    batcher.commit(Vec::new());
}

/// Divides commands into transactions of bounded cost: first the small commands, filled up with large ones;
/// if none fits, the first large one runs in a transaction of its own.
///
/// So a small command waits for at most one large one, however many are queued, and none waits forever.
fn batches(jobs: Vec<Box<dyn Job>>, large: &mut VecDeque<Box<dyn Job>>) -> Vec<Vec<Box<dyn Job>>> {
    let (mut batches, mut batch, mut cost) = (Vec::new(), Vec::new(), 0);
    for job in jobs {
        if cost + job.cost() > COST_MAX {
            batches.push(std::mem::take(&mut batch));
            cost = 0;
        }
        cost += job.cost();
        batch.push(job);
    }
    let mut took = false;
    while let Some(job) = large.pop_front_if(|job| cost + job.cost() <= COST_MAX) {
        cost += job.cost();
        batch.push(job);
        took = true;
    }
    // Even an empty one: there may be deferred work.
    batches.push(batch);
    if !took {
        batches.extend(large.pop_front().map(|job| vec![job]));
    }
    batches
}

/// Takes queued commands; waits for one unless there is deferred work. Returns false once the queue is
/// closed; the next host does the deferred work then.
fn take(
    batcher: &Batcher,
    messages: &mut mpsc::Receiver<Message>,
    taken: &mut Vec<Message>,
    large: usize,
) -> bool {
    if large == 0 && !batcher.has_backlog() {
        return messages.blocking_recv_many(taken, BATCH_MAX) > 0;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::batch::Batch;

    #[derive(Debug)]
    struct Costs(u64);

    impl Operation for Costs {
        type Answer = ();
        const DURABLE: bool = false;

        fn cost(&self) -> u64 {
            self.0
        }

        fn run(&self, _: &mut Batch<'_>) -> rusqlite::Result<()> {
            Ok(())
        }
    }

    fn jobs(costs: &[u64]) -> Vec<Box<dyn Job>> {
        let job = |cost: &u64| Box::new(Pending::new(Costs(*cost), oneshot::channel().0)) as Box<dyn Job>;
        costs.iter().map(job).collect()
    }

    /// Returns the costs of each transaction.
    fn divided(small: &[u64], large: &mut VecDeque<Box<dyn Job>>) -> Vec<Vec<u64>> {
        let batches = batches(jobs(small), large);
        batches.iter().map(|batch| batch.iter().map(|job| job.cost()).collect()).collect()
    }

    #[test]
    fn a_transaction_has_a_bounded_cost() {
        let mut large = VecDeque::new();
        assert_eq!(divided(&[1; BATCH_MAX], &mut large), [vec![1; BATCH_MAX]]);
        let full = divided(&[SMALL_MAX; 100], &mut large);
        assert!(full.iter().all(|batch| batch.iter().sum::<u64>() <= COST_MAX), "{full:?}");
        assert_eq!(full.iter().flatten().sum::<u64>(), 100 * SMALL_MAX);
        large.extend(jobs(&[1_000; 6]));
        assert_eq!(divided(&[1], &mut large), [vec![1, 1_000, 1_000, 1_000]]);
        assert_eq!(divided(&[], &mut large), [vec![1_000, 1_000, 1_000]]);
        assert!(large.is_empty());
    }

    #[test]
    fn a_small_command_waits_for_at_most_one_large_one() {
        let mut large: VecDeque<_> = jobs(&[10_000; 64]).into();
        for left in (0..64).rev() {
            assert_eq!(divided(&[1, 1], &mut large), [vec![1, 1], vec![10_000]]);
            assert_eq!(large.len(), left);
        }
        large.extend(jobs(&[300]));
        assert_eq!(divided(&[SMALL_MAX; 16], &mut large), [vec![SMALL_MAX; 16], vec![300]]);
    }
}
