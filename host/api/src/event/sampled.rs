//! `GET /events?sample=N`: the newest events of all tasks, at most N a second, for people.
//!
//! A busy server has more events than anybody reads, and every follower of all pays for each. A sample costs the same
//! however many there are.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use wasmill_model::PluginName;
use wasmill_store::{EventSample, Subscriber};

use crate::event::message::write;
use crate::http::sse::{self, ChunkSource};

/// Maximum events a second that a client may ask for.
pub(crate) const SAMPLE_MAX: usize = 1_000;

/// Chunks a second.
const CHUNKS: usize = 5;

/// A stream of some events.
pub(crate) struct SampledStream {
    pub(crate) follower: Subscriber,
    /// Only events of this plugin, if set.
    pub(crate) plugin: Option<PluginName>,
    /// Whether the client may read the notes of guests.
    pub(crate) has_notes: bool,
    pub(crate) pace: Pace,
}

/// Spreads the events of a second over chunks.
pub(crate) struct Pace {
    per_second: usize,
    /// Chunks sent.
    sent: usize,
    next_at: Instant,
}

impl Pace {
    /// Begins now.
    pub(crate) fn new(per_second: usize) -> Self {
        Self { per_second, sent: 0, next_at: Instant::now() }
    }

    fn chunks(&self) -> usize {
        self.per_second.clamp(1, CHUNKS)
    }

    /// Returns how many events the next chunk may have, and begins the wait for the one after it.
    fn next(&mut self, now: Instant) -> usize {
        let (chunks, place) = (self.chunks(), self.sent % self.chunks());
        self.sent += 1;
        self.next_at = now + Duration::from_secs(1) / u32::try_from(chunks).unwrap_or(1);
        self.per_second * (place + 1) / chunks - self.per_second * place / chunks
    }
}

/// Tells how many events were left out.
#[derive(Serialize)]
struct LeftOutEvent {
    /// Number of events left out since the last one of these.
    left_out: u64,
    /// The last event that was sent or left out.
    seq: u64,
}

impl ChunkSource for SampledStream {
    async fn next(&mut self) -> Option<String> {
        loop {
            tokio::time::sleep_until(self.pace.next_at).await;
            self.follower.wait().await;
            let limit = self.pace.next(Instant::now());
            let plugin = self.plugin.as_ref();
            let EventSample { events, left_out } = self
                .follower
                .sample(limit, |event| plugin.is_none_or(|plugin| event.payload.plugin == *plugin));
            let mut chunk: String =
                events.iter().map(|event| write(event, None, false, self.has_notes)).collect();
            if left_out > 0 {
                let seq = self.follower.position();
                chunk.push_str(&sse::event("left-out", Some(seq), &LeftOutEvent { left_out, seq }));
            }
            if !chunk.is_empty() {
                return Some(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_as_many_events_as_were_asked_for() {
        let start = Instant::now();
        for per_second in [1, 2, 4, 5, 7, 50, 999, SAMPLE_MAX] {
            let mut pace = Pace::new(per_second);
            let (mut at, mut events) = (start, 0);
            while at < start + Duration::from_millis(999) {
                events += pace.next(at);
                at = pace.next_at;
            }
            assert_eq!(events, per_second);
        }
    }
}
