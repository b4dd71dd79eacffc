//! Subscribers of one task or of all: a position in the ring and how to wait for what follows.
//!
//! The store creates them, the API holds them. They keep no events.

use std::sync::Arc;

use tokio::sync::Notify;
use wasmill_model::TaskId;

use super::{EventBus, EventLog};
use crate::Event;

/// Maximum events per batch.
pub(super) const BATCH_MAX: usize = 128;

/// Events of the ring that a reconnecting subscriber scans under one lock.
pub(super) const SCAN_MAX: usize = 4_096;

/// Events of the ring that a sample looks at.
pub(super) const SAMPLED_MAX: usize = 2_000;

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// The next events, at least one.
    Events(Vec<Event>),
    /// The subscriber was too slow or away for too long: the events between `after` and the next ones are
    /// gone. It continues after `until`.
    Lagged {
        /// Number of the last event it received.
        after: u64,
        /// Number of the last event it will not receive.
        until: u64,
    },
}

/// The newest events, and how many were left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventSample {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// Number of events that were left out.
    pub left_out: u64,
}

/// A subscriber of one task.
#[derive(Debug)]
pub struct TaskSubscriber {
    pub(super) event_bus: Arc<EventBus>,
    pub(super) task: TaskId,
    pub(super) wake: Arc<Notify>,
    /// Number of the newest event when it subscribed; earlier ones are in the ring alone.
    pub(super) started_at_seq: u64,
    /// Number of the last event it received or skipped.
    pub(super) position: u64,
}

impl TaskSubscriber {
    /// Moves back to the event with this number to receive what followed. Returns false, and changes nothing,
    /// if that event is unknown.
    pub fn resume_from(&mut self, seq: u64) -> bool {
        let known = self.event_bus.log().reaches_back_to(seq);
        if known {
            self.position = seq;
        }
        known
    }

    /// Returns the number of the last event received or skipped.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the events since then, if there are any.
    pub fn now(&mut self) -> Option<Received> {
        let event_bus = Arc::clone(&self.event_bus);
        let mut events = Vec::new();
        while self.position < self.started_at_seq && events.len() < BATCH_MAX {
            // Locked anew for each part: a publisher must not wait for a scan of the whole ring.
            let log = event_bus.log();
            if !log.reaches_back_to(self.position) {
                return self.lagged(&log, events);
            }
            let scanned =
                SCAN_MAX.min(usize::try_from(self.started_at_seq - self.position).unwrap_or(SCAN_MAX));
            let mut is_over = true;
            for event in log.after(self.position).take(scanned) {
                is_over = false;
                self.position = event.seq;
                if event.payload.task == self.task {
                    events.push(event.clone());
                }
            }
            // The last numbers have no event.
            if is_over {
                self.position = self.started_at_seq;
            }
        }
        let log = event_bus.log();
        // A topic exists as long as it has subscribers.
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

    /// Waits for the next events. Cancel safe.
    pub async fn next(&mut self) -> Received {
        let wake = Arc::clone(&self.wake);
        loop {
            let mut woken = std::pin::pin!(wake.notified());
            woken.as_mut().enable();
            if let Some(received) = self.now() {
                return received;
            }
            woken.await;
        }
    }

    /// Waits until the state of the task has changed, or may have.
    pub async fn wait_for_move(&mut self) {
        while let Received::Events(events) = self.next().await {
            if events.iter().any(|event| event.payload.kind.is_move()) {
                return;
            }
        }
    }

    /// Returns the events found before the gap if there are any, else the gap.
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

/// A subscriber of all tasks.
#[derive(Debug)]
pub struct Subscriber {
    pub(super) event_bus: Arc<EventBus>,
    /// Number of the last event it received.
    pub(super) position: u64,
}

impl Subscriber {
    /// Moves back to the event with this number to receive what followed. If it is unknown, the subscriber
    /// has lagged.
    pub fn resume_from(&mut self, seq: u64) {
        self.position = seq;
    }

    /// Waits for the next events. Cancel safe.
    pub async fn next(&mut self) -> Received {
        let event_bus = Arc::clone(&self.event_bus);
        loop {
            let mut woken = std::pin::pin!(event_bus.all.notified());
            woken.as_mut().enable();
            if let Some(received) = self.now() {
                return received;
            }
            woken.await;
        }
    }

    /// Waits until there are further events. Cancel safe.
    pub async fn wait(&self) {
        let event_bus = Arc::clone(&self.event_bus);
        loop {
            let mut woken = std::pin::pin!(event_bus.all.notified());
            woken.as_mut().enable();
            if event_bus.next() - 1 != self.position {
                return;
            }
            woken.await;
        }
    }

    /// Returns the newest events since the last one received, up to `limit` that match, oldest first, and how many
    /// others there were. It looks at no more than `SAMPLED_MAX` events, so that it is cheap however many there are;
    /// others count as left out, whether they match or not.
    pub fn sample(&mut self, limit: usize, matches: impl Fn(&Event) -> bool) -> EventSample {
        let log = self.event_bus.log();
        let mut sample = EventSample::default();
        // Numbers without an event count as left out: a start reserves some.
        let oldest_known = log.since.saturating_sub(1);
        sample.left_out = oldest_known.saturating_sub(self.position);
        let from = log.ring.partition_point(|event| event.seq <= self.position);
        let mut unseen = log.ring.len() - from;
        for event in log.ring.range(from..).rev().take(SAMPLED_MAX) {
            unseen -= 1;
            if !matches(event) {
                continue;
            }
            if sample.events.len() < limit {
                sample.events.push(event.clone());
            } else {
                sample.left_out += 1;
            }
        }
        sample.left_out += unseen as u64;
        sample.events.reverse();
        self.position = log.next - 1;
        sample
    }

    /// Returns the number of the last event received or left out.
    pub fn position(&self) -> u64 {
        self.position
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
