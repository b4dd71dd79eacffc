//! Tells followers what happens to tasks: a ring of the newest events of all, and a short line of news for
//! each task that is followed right now.
//!
//! The writer tells it of each commit, the scheduler's pulse of progress. Followers hold a place in the ring
//! and nothing else: a slow one that falls out of it is told so, and costs no memory.

mod subscriber;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use wasmill_model::TaskId;

pub use self::subscriber::{Received, Subscriber, TaskSubscriber};
use crate::{Event, EventKind, EventPayload};

/// How many events are kept for those who come back. At about 120 bytes each, and no more than 260 of the
/// note of a progress, that is 8 MB as a rule and 25 MB at most.
const RING_CAPACITY: usize = 1 << 16;

/// How many events are kept for the followers of one task who are a little slow.
const TOPIC_CAPACITY: usize = 32;

/// The events there are, and who waits for them.
#[derive(Debug)]
pub(crate) struct EventBus {
    log: Mutex<EventLog>,
    /// Wakes those who follow all tasks.
    all: Notify,
    /// How many commits were begun whose events are to be published, and how many of them are over.
    commits_begun: AtomicU64,
    commits_published: watch::Sender<u64>,
}

/// A commit whose events are not published yet. It is over when this is dropped, however it went.
#[must_use]
pub(crate) struct Publishing<'a>(&'a EventBus);

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.0.commits_published.send_replace(self.0.commits_begun.load(Ordering::SeqCst));
    }
}

#[derive(Debug)]
struct EventLog {
    ring: VecDeque<Event>,
    /// The number of the next event.
    next: u64,
    /// From here on, numbers may be given out again by the next host: they must be reserved first.
    reserved: u64,
    topics: HashMap<TaskId, Topic>,
}

/// The newest events of a task that someone follows.
#[derive(Debug)]
struct Topic {
    events: VecDeque<Event>,
    /// The number of the newest event that was dropped.
    dropped: u64,
    wake: Arc<Notify>,
    subscribers: usize,
}

impl Default for EventBus {
    fn default() -> Self {
        let log = EventLog { ring: VecDeque::new(), next: 1, reserved: u64::MAX, topics: HashMap::new() };
        Self {
            log: Mutex::new(log),
            all: Notify::new(),
            commits_begun: AtomicU64::new(0),
            commits_published: watch::Sender::new(0),
        }
    }
}

impl EventBus {
    /// Numbers events from here on, while nothing was told yet.
    pub(crate) fn begin(&self, next: u64, reserved: u64) {
        let mut log = self.log();
        (log.next, log.reserved) = (next, reserved);
    }

    /// Lets numbers below this be given out.
    pub(crate) fn reserve(&self, reserved: u64) {
        self.log().reserved = reserved;
    }

    /// Returns the number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.log().next
    }

    /// Begins a commit; there is one at a time. Who has seen it and calls [`EventBus::wait_published`] waits until this is dropped.
    pub(crate) fn publishing(&self) -> Publishing<'_> {
        self.commits_begun.fetch_add(1, Ordering::SeqCst);
        Publishing(self)
    }

    /// Waits until the events of every commit that was seen are published. The writer waits for nobody who does
    /// this, and no thread is blocked by it.
    pub(crate) async fn wait_published(&self) {
        // What was seen was begun before.
        let commits_begun = self.commits_begun.load(Ordering::SeqCst);
        // An error would say that the hub is gone, which is borrowed here.
        let _ = self
            .commits_published
            .subscribe()
            .wait_for(|commits_published| *commits_published >= commits_begun)
            .await;
    }

    /// Tells what happened, in this order.
    pub(crate) fn publish(&self, payload: Vec<EventPayload>) {
        if payload.is_empty() {
            return;
        }
        let mut log = self.log();
        for payload in payload {
            // Of reserved numbers there are always more than one commit can need; only progress, which may
            // be left out, could come so far without one.
            if log.next >= log.reserved && !payload.kind.is_move() {
                continue;
            }
            let event = Event { seq: log.next, payload };
            log.next += 1;
            if let Some(topic) = log.topics.get_mut(&event.payload.task) {
                topic.publish(event.clone());
            }
            if log.ring.len() == RING_CAPACITY {
                log.ring.pop_front();
            }
            log.ring.push_back(event);
        }
        drop(log);
        self.all.notify_waiters();
    }

    /// Begins to follow a task, which need not be there, from now on.
    pub(crate) fn subscribe(self: &Arc<Self>, task: TaskId) -> TaskSubscriber {
        let mut log = self.log();
        let newest = log.next - 1;
        let topic = log.topics.entry(task).or_insert_with(|| Topic {
            events: VecDeque::new(),
            dropped: newest,
            wake: Arc::default(),
            subscribers: 0,
        });
        topic.subscribers += 1;
        let wake = Arc::clone(&topic.wake);
        drop(log);
        TaskSubscriber { event_bus: Arc::clone(self), task, wake, started_at_seq: newest, position: newest }
    }

    /// Begins to follow all tasks from now on.
    pub(crate) fn subscribe_all(self: &Arc<Self>) -> Subscriber {
        Subscriber { event_bus: Arc::clone(self), position: self.next() - 1 }
    }

    fn log(&self) -> MutexGuard<'_, EventLog> {
        // What a thread that panics leaves behind is a ring with or without its event, both whole.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventLog {
    /// Returns the number of the oldest event in the ring; that of the next if it is empty.
    fn first(&self) -> u64 {
        self.next - self.ring.len() as u64
    }

    /// Says whether all that came after this event is still there.
    fn reaches_back_to(&self, seq: u64) -> bool {
        (self.first()..=self.next).contains(&seq.saturating_add(1))
    }

    /// Returns the events after this one, which must be in reach.
    fn after(&self, seq: u64) -> impl Iterator<Item = &Event> {
        let position = seq + 1 - self.first();
        self.ring.range(usize::try_from(position).unwrap_or(usize::MAX).min(self.ring.len())..)
    }
}

impl Topic {
    fn publish(&mut self, event: Event) {
        // Of progress only the latest is of interest to one who has not read the one before.
        let is_progress = |event: &Event| matches!(event.payload.kind, EventKind::Progress(_));
        if is_progress(&event) && self.events.back().is_some_and(is_progress) {
            self.events.pop_back();
        } else if self.events.len() == TOPIC_CAPACITY
            && let Some(oldest) = self.events.pop_front()
        {
            self.dropped = oldest.seq;
        }
        self.events.push_back(event);
        self.wake.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
