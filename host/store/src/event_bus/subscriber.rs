//! One who follows a task, or all: a place in the ring, and how to be told what comes after it.
//!
//! The store hands them out, the API holds them. They keep no events.

use std::sync::Arc;

use tokio::sync::Notify;
use wasmill_model::TaskId;

use super::{EventBus, EventLog};
use crate::Event;

/// How many events a follower takes at once.
pub(super) const BATCH_MAX: usize = 128;

/// How many events of the ring a follower that comes back looks at under one lock.
pub(super) const SCAN_MAX: usize = 4_096;

/// What a follower is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// The next events, at least one.
    Events(Vec<Event>),
    /// The follower was too slow, or away for too long: events between the one with the number `after` and
    /// those that come now are gone. It goes on behind the number `until`.
    Lagged {
        /// The last event it was told.
        after: u64,
        /// The last event that it will not be told.
        until: u64,
    },
}

/// One who follows one task.
#[derive(Debug)]
pub struct TaskSubscriber {
    pub(super) event_bus: Arc<EventBus>,
    pub(super) task: TaskId,
    pub(super) wake: Arc<Notify>,
    /// The newest event when it began: what came before is in the ring alone.
    pub(super) started_at_seq: u64,
    /// The last event that it was told, or that is none of its task.
    pub(super) position: u64,
}

impl TaskSubscriber {
    /// Goes back to the event with this number, to be told what came after it; false, and nothing changes, if
    /// that is not known any more or never was.
    pub fn resume_from(&mut self, seq: u64) -> bool {
        let known = self.event_bus.log().reaches_back_to(seq);
        if known {
            self.position = seq;
        }
        known
    }

    /// Returns the number of the last event that it was told or that concerned others.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns what came since, if there is anything.
    pub fn now(&mut self) -> Option<Received> {
        let event_bus = Arc::clone(&self.event_bus);
        let mut events = Vec::new();
        while self.position < self.started_at_seq && events.len() < BATCH_MAX {
            // Locked anew for each look: whoever publishes must not wait for a walk through the whole ring.
            let log = event_bus.log();
            if !log.reaches_back_to(self.position) {
                return self.lagged(&log, events);
            }
            let scanned =
                SCAN_MAX.min(usize::try_from(self.started_at_seq - self.position).unwrap_or(SCAN_MAX));
            for event in log.after(self.position).take(scanned) {
                self.position = event.seq;
                if event.payload.task == self.task {
                    events.push(event.clone());
                }
            }
        }
        let log = event_bus.log();
        // As long as it follows, there is a topic.
        if let Some(topic) = log.topics.get(&self.task)
            && self.position >= self.started_at_seq
        {
            if topic.dropped > self.position.max(self.started_at_seq) {
                return self.lagged(&log, events);
            }
            let position = self.position;
            events.extend(topic.events.iter().filter(|event| event.seq > position).cloned());
            self.position = events.last().map_or(position, |event| event.seq.max(position));
        }
        (!events.is_empty()).then_some(Received::Events(events))
    }

    /// Waits until there is something to tell. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Received {
        let wake = Arc::clone(&self.wake);
        loop {
            let mut woken = std::pin::pin!(wake.notified());
            woken.as_mut().enable();
            if let Some(told) = self.now() {
                return told;
            }
            woken.await;
        }
    }

    /// Waits until the task has moved, or may have.
    pub async fn wait_for_move(&mut self) {
        while let Received::Events(events) = self.next().await {
            if events.iter().any(|event| event.payload.kind.is_move()) {
                return;
            }
        }
    }

    /// Returns the events that were found before those that are gone, else what is gone.
    fn lagged(&mut self, log: &EventLog, found: Vec<Event>) -> Option<Received> {
        if !found.is_empty() {
            return Some(Received::Events(found));
        }
        let (after, until) = (self.position, log.next - 1);
        self.position = until;
        Some(Received::Lagged { after, until })
    }
}

impl Drop for TaskSubscriber {
    fn drop(&mut self) {
        let mut log = self.event_bus.log();
        if let Some(topic) = log.topics.get_mut(&self.task) {
            topic.subscribers -= 1;
            if topic.subscribers == 0 {
                log.topics.remove(&self.task);
            }
        }
    }
}

/// One who follows all tasks.
#[derive(Debug)]
pub struct Subscriber {
    pub(super) event_bus: Arc<EventBus>,
    /// The last event that it was told.
    pub(super) position: u64,
}

impl Subscriber {
    /// Goes back to the event with this number, to be told what came after it. If that is not known, it is
    /// told that it has missed something.
    pub fn resume_from(&mut self, seq: u64) {
        self.position = seq;
    }

    /// Waits until there is something to tell. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Received {
        let event_bus = Arc::clone(&self.event_bus);
        loop {
            let mut woken = std::pin::pin!(event_bus.all.notified());
            woken.as_mut().enable();
            if let Some(told) = self.now() {
                return told;
            }
            woken.await;
        }
    }

    pub(crate) fn now(&mut self) -> Option<Received> {
        let log = self.event_bus.log();
        if !log.reaches_back_to(self.position) {
            let (after, until) = (self.position, log.next - 1);
            self.position = until;
            return Some(Received::Lagged { after, until });
        }
        let events: Vec<_> = log.after(self.position).take(BATCH_MAX).cloned().collect();
        self.position = events.last()?.seq;
        Some(Received::Events(events))
    }
}
