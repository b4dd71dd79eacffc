//! Measures what guests use, and finds those that have to give way.
//!
//! Called when somebody asks for memory, and on ticks of the clock while guests are polled: memory that
//! was handed out long ago is touched without asking anybody.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{BYTES_BITS, Budget, Hold, RECENT_MS};
use crate::place::InstanceState;

/// How often it is looked whether guests use too much. They touch at most some 2 GiB in a second on each
/// core, which is 10 MiB in this time.
const WATCH_MS: u64 = 5;
/// How long what the host itself uses is taken for true.
pub(super) const OWN_MS: u64 = 100;

/// What was measured, and when.
#[derive(Debug)]
pub(super) struct Watch {
    /// Bytes that were resident when nothing ran.
    own_bytes: u64,
    own_measured_at_ms: u64,
    recent_since_ms: u64,
    watched_at_ms: u64,
}

impl Watch {
    pub(super) fn new(own_bytes: u64) -> Self {
        Self { own_bytes, own_measured_at_ms: 0, recent_since_ms: 0, watched_at_ms: 0 }
    }
}

impl Budget {
    /// Measures what guests use now.
    pub(super) fn measure(&self) {
        if !self.is_measured {
            return;
        }
        let mut watch = self.watch();
        let now_ms = self.age_ms();
        if now_ms.saturating_sub(watch.recent_since_ms) >= RECENT_MS {
            watch.recent_since_ms = now_ms;
            let stretch = self.stretch.load(Relaxed) + 1;
            self.recent_of(stretch).store(0, Relaxed);
            self.stretch.store(stretch, Relaxed);
        }
        let own_bytes = watch.own_bytes;
        drop(watch);
        if let Some(bytes) = (self.gauge)() {
            self.resident.store(bytes.saturating_sub(own_bytes), Relaxed);
            self.measured_at_ms.store(now_ms, Relaxed);
        }
    }

    /// Takes what is resident now for the host's own: a first run begins.
    pub(super) fn nothing_ran(&self) {
        let mut watch = self.watch();
        let now_ms = self.age_ms();
        if now_ms.saturating_sub(watch.own_measured_at_ms) < OWN_MS {
            return;
        }
        watch.own_measured_at_ms = now_ms;
        if let Some(bytes) = (self.gauge)() {
            watch.own_bytes = bytes;
        }
    }

    /// Looks whether guests use more than there is, and has some of these runs give way if so. `at_last` if
    /// nobody may look again for long.
    pub(crate) fn look(&self, at_last: bool, runs: impl FnOnce() -> Vec<Arc<Hold>>) {
        let now_ms = self.age_ms();
        {
            let mut watch = self.watch();
            if !self.is_measured || (!at_last && now_ms.saturating_sub(watch.watched_at_ms) < WATCH_MS) {
                return;
            }
            watch.watched_at_ms = now_ms;
        }
        self.measure();
        let too_much = self.resident.load(Relaxed).saturating_sub(self.bytes_max);
        let is_over = too_much > 0 && self.taken.load(Relaxed) >> BYTES_BITS > 1;
        if is_over {
            self.evict(too_much, runs());
        }
        self.is_over.store(is_over, Relaxed);
    }

    /// Puts back runs that may have touched so many bytes in all: of those that are larger than most, first
    /// those that compute, as it is they who touch memory and they lose least, and the youngest first. Those
    /// that were asked before and are not gone yet count.
    fn evict(&self, mut bytes: u64, mut runs: Vec<Arc<Hold>>) {
        runs.sort_by_key(|run| Reverse(run.place.born()));
        let (leaving, staying): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|run| run.must_give_way().is_some());
        bytes = bytes.saturating_sub(leaving.iter().map(|run| run.used()).sum());
        let mut may_leave = (self.taken.load(Relaxed) >> BYTES_BITS).saturating_sub(1 + leaving.len() as u64);
        let average = staying.iter().map(|run| run.used()).sum::<u64>() / (staying.len() as u64).max(1);
        let waits = |run: &Arc<Hold>| matches!(run.place.look().state, InstanceState::Waiting { .. });
        let large = staying.into_iter().filter(|run| run.used() >= average);
        let (waiting, computing): (Vec<_>, Vec<_>) = large.partition(waits);
        for run in computing.into_iter().chain(waiting) {
            if bytes == 0 || may_leave == 0 {
                break;
            }
            run.evict();
            bytes = bytes.saturating_sub(run.used());
            may_leave -= 1;
        }
    }
}
