//! The event bus: a ring of the newest events of all tasks, and a short topic for each task with subscribers.
//!
//! The writer publishes the events of each commit, the scheduler publishes progress. A subscriber holds a
//! position in the ring and no events, so a slow one costs no memory; once it falls out of the ring it is
//! notified that it lagged.

mod subscriber;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use wasmill_model::TaskId;

pub use self::subscriber::{EventSample, Received, Subscriber, TaskSubscriber};
use crate::{Event, EventKind, EventPayload};

/// Events kept for subscribers that reconnect. At about 120 bytes each, and at most 260 for a progress note,
/// they take 8 MB as a rule and 25 MB at most.
const RING_CAPACITY: usize = 1 << 16;

/// Events kept per task for subscribers that are slightly behind.
const TOPIC_CAPACITY: usize = 32;

/// Publishes events to subscribers.
#[derive(Debug)]
pub struct EventBus {
    log: Mutex<EventLog>,
    /// Wakes the subscribers of all tasks.
    all: Notify,
    /// Number of commits begun, and number of commits whose events are published.
    commits_begun: AtomicU64,
    commits_published: watch::Sender<u64>,
}

/// Held from COMMIT until its events are published; readers call [`EventBus::wait_published`] first.
#[must_use]
pub struct Publishing<'a>(&'a EventBus);

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.0.commits_published.send_replace(self.0.commits_begun.load(Ordering::SeqCst));
    }
}

#[derive(Debug)]
struct EventLog {
    ring: VecDeque<Event>,
    /// The oldest number from which on every event is in the ring. Some numbers have no event: each start reserves
    /// some, and several hosts share them.
    since: u64,
    /// The number of the next event.
    next: u64,
    /// Numbers from here on must be reserved first, as the next host would start with them.
    reserved: u64,
    topics: HashMap<TaskId, Topic>,
}

/// The newest events of a task with subscribers.
#[derive(Debug)]
struct Topic {
    events: VecDeque<Event>,
    /// Number of the newest event that was dropped.
    dropped: u64,
    wake: Arc<Notify>,
    subscribers: usize,
}

impl Default for EventBus {
    fn default() -> Self {
        let log =
            EventLog { ring: VecDeque::new(), since: 1, next: 1, reserved: u64::MAX, topics: HashMap::new() };
        Self {
            log: Mutex::new(log),
            all: Notify::new(),
            commits_begun: AtomicU64::new(0),
            commits_published: watch::Sender::new(0),
        }
    }
}

impl EventBus {
    /// Sets the first event number, before anything is published.
    pub fn begin(&self, next: u64, reserved: u64) {
        let mut log = self.log();
        (log.since, log.next, log.reserved) = (next, next, reserved);
    }

    /// Leaves out the numbers below this one.
    pub fn skip_to(&self, next: u64) {
        let mut log = self.log();
        log.next = log.next.max(next);
    }

    /// Forgets all events, since some below this number are lost: every subscriber has lagged.
    pub fn lose_until(&self, next: u64) {
        let mut log = self.log();
        log.ring.clear();
        (log.since, log.next) = (next, next);
        for topic in log.topics.values_mut() {
            topic.events.clear();
            topic.dropped = next.saturating_sub(1);
            topic.wake.notify_waiters();
        }
        drop(log);
        self.all.notify_waiters();
    }

    /// Publishes events of another host, with their numbers.
    pub fn publish_numbered(&self, events: Vec<Event>) {
        let mut log = self.log();
        for event in events {
            if event.seq >= log.next {
                log.next = event.seq;
                log.push(event.payload);
            }
        }
        drop(log);
        self.all.notify_waiters();
    }

    /// Allows numbers below this one.
    pub fn reserve(&self, reserved: u64) {
        self.log().reserved = reserved;
    }

    /// Returns the number of the next event.
    pub fn next(&self) -> u64 {
        self.log().next
    }

    /// Marks the start of a commit; there is one at a time. [`EventBus::wait_published`] waits until the
    /// guard is dropped.
    pub fn publishing(&self) -> Publishing<'_> {
        self.commits_begun.fetch_add(1, Ordering::SeqCst);
        Publishing(self)
    }

    /// Waits until the events of every visible commit are published. It neither delays the writer nor blocks
    /// a thread.
    pub async fn wait_published(&self) {
        // A commit that the caller has seen was counted before it became visible.
        let commits_begun = self.commits_begun.load(Ordering::SeqCst);
        // Fails only once the sender is gone, which is borrowed here.
        let _ = self
            .commits_published
            .subscribe()
            .wait_for(|commits_published| *commits_published >= commits_begun)
            .await;
    }

    /// Publishes events in this order.
    pub fn publish(&self, payload: Vec<EventPayload>) {
        if payload.is_empty() {
            return;
        }
        let mut log = self.log();
        for payload in payload {
            // Reserved numbers always suffice for the events of one commit; only progress, which may be
            // dropped, could exhaust them.
            if log.next >= log.reserved && !payload.kind.is_move() {
                continue;
            }
            log.push(payload);
        }
        drop(log);
        self.all.notify_waiters();
    }

    /// Subscribes to a task from now on. The task need not exist.
    pub fn subscribe(self: &Arc<Self>, task: TaskId) -> TaskSubscriber {
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

    /// Subscribes to all tasks from now on.
    pub fn subscribe_all(self: &Arc<Self>) -> Subscriber {
        Subscriber { event_bus: Arc::clone(self), position: self.next() - 1 }
    }

    fn log(&self) -> MutexGuard<'_, EventLog> {
        // A thread that panicked left the ring with or without its event; both are consistent.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventLog {
    /// Gives an event the next number.
    fn push(&mut self, payload: EventPayload) {
        let event = Event { seq: self.next, payload };
        self.next += 1;
        if let Some(topic) = self.topics.get_mut(&event.payload.task) {
            topic.publish(event.clone());
        }
        if self.ring.len() == RING_CAPACITY
            && let Some(oldest) = self.ring.pop_front()
        {
            self.since = oldest.seq + 1;
        }
        self.ring.push_back(event);
    }

    /// Returns true if every event after this one is still in the ring.
    fn reaches_back_to(&self, seq: u64) -> bool {
        (self.since..=self.next).contains(&seq.saturating_add(1))
    }

    /// Returns the events in the ring after this number.
    fn after(&self, seq: u64) -> impl Iterator<Item = &Event> {
        self.ring.range(self.ring.partition_point(|event| event.seq <= seq)..)
    }
}

impl Topic {
    fn publish(&mut self, event: Event) {
        // A subscriber that has not read the previous progress only needs the latest.
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
