//! One who follows a task, or all: a place in the ring, and how to be told what comes after it.
//!
//! The store hands them out, the API holds them. They keep no events.

use std::sync::Arc;

use tokio::sync::Notify;
use wasmill_model::TaskId;

use super::{Hub, Inner};
use crate::Event;

/// How many events a follower takes at once.
pub(super) const TAKE: usize = 128;

/// How many events of the ring a follower that comes back looks at under one lock.
pub(super) const LOOK: usize = 4_096;

/// What a follower is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The next events, at least one.
    Events(Vec<Event>),
    /// The follower was too slow, or away for too long: events between the one with the number `after` and
    /// those that come now are gone. It goes on behind the number `until`.
    Missed {
        /// The last event it was told.
        after: u64,
        /// The last event that it will not be told.
        until: u64,
    },
}

/// One who follows one task.
#[derive(Debug)]
pub struct Follower {
    pub(super) hub: Arc<Hub>,
    pub(super) task: TaskId,
    pub(super) wake: Arc<Notify>,
    /// The newest event when it began: what came before is in the ring alone.
    pub(super) began: u64,
    /// The last event that it was told, or that is none of its task.
    pub(super) place: u64,
}

impl Follower {
    /// Goes back to the event with this number, to be told what came after it; false, and nothing changes, if
    /// that is not known any more or never was.
    pub fn go_back(&mut self, seq: u64) -> bool {
        let known = self.hub.inner().reaches_back_to(seq);
        if known {
            self.place = seq;
        }
        known
    }

    /// Returns the number of the last event that it was told or that concerned others.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// Returns what came since, if there is anything.
    pub fn now(&mut self) -> Option<Told> {
        let hub = Arc::clone(&self.hub);
        let mut events = Vec::new();
        while self.place < self.began && events.len() < TAKE {
            // Locked anew for each look: whoever publishes must not wait for a walk through the whole ring.
            let inner = hub.inner();
            if !inner.reaches_back_to(self.place) {
                return self.missed(&inner, events);
            }
            let look = LOOK.min(usize::try_from(self.began - self.place).unwrap_or(LOOK));
            for event in inner.after(self.place).take(look) {
                self.place = event.seq;
                if event.news.task == self.task {
                    events.push(event.clone());
                }
            }
        }
        let inner = hub.inner();
        // As long as it follows, there is a topic.
        if let Some(topic) = inner.topics.get(&self.task)
            && self.place >= self.began
        {
            if topic.dropped > self.place.max(self.began) {
                return self.missed(&inner, events);
            }
            let place = self.place;
            events.extend(topic.events.iter().filter(|event| event.seq > place).cloned());
            self.place = events.last().map_or(place, |event| event.seq.max(place));
        }
        (!events.is_empty()).then_some(Told::Events(events))
    }

    /// Waits until there is something to tell. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Told {
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
    pub async fn moved(&mut self) {
        while let Told::Events(events) = self.next().await {
            if events.iter().any(|event| event.news.change.is_move()) {
                return;
            }
        }
    }

    /// Returns the events that were found before those that are gone, else what is gone.
    fn missed(&mut self, inner: &Inner, found: Vec<Event>) -> Option<Told> {
        if !found.is_empty() {
            return Some(Told::Events(found));
        }
        let (after, until) = (self.place, inner.next - 1);
        self.place = until;
        Some(Told::Missed { after, until })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut inner = self.hub.inner();
        if let Some(topic) = inner.topics.get_mut(&self.task) {
            topic.followers -= 1;
            if topic.followers == 0 {
                inner.topics.remove(&self.task);
            }
        }
    }
}

/// One who follows all tasks.
#[derive(Debug)]
pub struct AllFollower {
    pub(super) hub: Arc<Hub>,
    /// The last event that it was told.
    pub(super) place: u64,
}

impl AllFollower {
    /// Goes back to the event with this number, to be told what came after it. If that is not known, it is
    /// told that it has missed something.
    pub fn go_back(&mut self, seq: u64) {
        self.place = seq;
    }

    /// Waits until there is something to tell. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Told {
        let hub = Arc::clone(&self.hub);
        loop {
            let mut woken = std::pin::pin!(hub.all.notified());
            woken.as_mut().enable();
            if let Some(told) = self.now() {
                return told;
            }
            woken.await;
        }
    }

    pub(crate) fn now(&mut self) -> Option<Told> {
        let inner = self.hub.inner();
        if !inner.reaches_back_to(self.place) {
            let (after, until) = (self.place, inner.next - 1);
            self.place = until;
            return Some(Told::Missed { after, until });
        }
        let events: Vec<_> = inner.after(self.place).take(TAKE).cloned().collect();
        self.place = events.last()?.seq;
        Some(Told::Events(events))
    }
}
