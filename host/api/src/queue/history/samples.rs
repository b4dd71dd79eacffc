//! What is kept of the last day.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use wasmill_model::{PluginName, Timestamp};
use wasmill_scheduler::AttemptStats;
use wasmill_store::PluginCounts;

use super::failing::FailingPlugin;
use super::plugin_track::{PLUGINS_MAX, PluginTrack};
use super::rings::{Step, Track};
use super::sample::Counters;

/// The samples of the last day. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History(Arc<Mutex<Samples>>);

/// All samples.
#[derive(Debug)]
pub(super) struct Samples {
    tracks: [Track; 3],
    plugins: BTreeMap<PluginName, PluginTrack>,
    plugins_sampled_at: Instant,
    pub(super) since: Timestamp,
}

impl History {
    /// Starts without samples.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Samples {
            tracks: Step::ALL.map(Track::new),
            plugins: BTreeMap::new(),
            plugins_sampled_at: Instant::now(),
            since: now,
        })))
    }

    pub(super) fn samples(&self) -> MutexGuard<'_, Samples> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the start of the server.
    pub(crate) fn since(&self) -> Timestamp {
        self.samples().since
    }

    /// Returns the plugins whose tasks fail more than they should.
    pub(crate) fn failing(&self) -> Vec<FailingPlugin> {
        let samples = self.samples();
        samples.plugins.iter().filter_map(|(plugin, track)| FailingPlugin::of(plugin, track)).collect()
    }

    /// Returns how many webhook deliveries this host gave up in the last hour.
    pub(crate) fn webhooks_given_up(&self) -> u64 {
        const HOUR: usize = 360;
        let samples = self.samples();
        let hour = samples.track(Step::TenSeconds).samples.newest(HOUR);
        hour.map(|sample| u64::from(sample.webhooks_given_up)).sum()
    }
}

impl Samples {
    pub(super) fn track(&self, step: Step) -> &Track {
        &self.tracks[step as usize]
    }

    pub(super) fn plugin(&self, plugin: &PluginName) -> Option<&PluginTrack> {
        self.plugins.get(plugin)
    }

    /// Adds the samples of the steps that are over; returns true if those of the plugins are due.
    pub(super) fn observe(&mut self, counters: &Counters) -> bool {
        let mut is_due = false;
        for (track, step) in self.tracks.iter_mut().zip(Step::ALL) {
            is_due |= track.observe(counters) && step == Step::TenSeconds;
        }
        is_due
    }

    /// Adds a sample of each plugin that had tasks of late.
    pub(super) fn observe_plugins(
        &mut self,
        at_ms: i64,
        counts: Vec<(PluginName, PluginCounts)>,
        attempts: &BTreeMap<PluginName, AttemptStats>,
    ) {
        let seconds = self.plugins_sampled_at.elapsed().as_secs_f32();
        self.plugins_sampled_at = Instant::now();
        for (plugin, tasks) in counts {
            let attempts = attempts.get(&plugin);
            if let Some(track) = self.plugins.get_mut(&plugin) {
                track.observe(tasks, attempts, at_ms, seconds);
            } else if tasks.waiting() + tasks.running > 0 || self.plugins.len() < PLUGINS_MAX {
                self.add_plugin(plugin, PluginTrack::new(tasks, attempts, at_ms), at_ms);
            }
        }
    }

    /// Adds a plugin, in place of the one that has been idle longest if there are too many.
    fn add_plugin(&mut self, plugin: PluginName, track: PluginTrack, at_ms: i64) {
        if self.plugins.len() >= PLUGINS_MAX {
            let idle = self.plugins.iter().min_by_key(|(_, track)| track.active_at_ms);
            let Some((idle, active_at_ms)) = idle.map(|(name, track)| (name.clone(), track.active_at_ms))
            else {
                return;
            };
            if active_at_ms >= at_ms {
                return;
            }
            self.plugins.remove(&idle);
        }
        self.plugins.insert(plugin, track);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(number: usize) -> PluginName {
        format!("p{number}").parse().expect("valid")
    }

    #[test]
    fn an_idle_plugin_makes_room_for_a_busy_one_and_no_other_does() {
        let history = History::new(Timestamp::UNIX_EPOCH);
        let waits = PluginCounts { available: 1, ..PluginCounts::default() };
        let runs = |running| PluginCounts { running, ..PluginCounts::default() };
        let attempts = BTreeMap::new();
        let mut samples = history.samples();
        let all: Vec<_> = (0..PLUGINS_MAX).map(|number| (plugin(number), waits)).collect();
        samples.observe_plugins(10, all, &attempts);
        let busy: Vec<_> = (1..=PLUGINS_MAX).map(|number| (plugin(number), runs(1))).collect();
        samples.observe_plugins(20, busy, &attempts);
        assert!(samples.plugin(&plugin(0)).is_none() && samples.plugin(&plugin(PLUGINS_MAX)).is_some());
        // All are active now.
        samples.observe_plugins(20, vec![(plugin(99), runs(1))], &attempts);
        assert_eq!((samples.plugins.len(), samples.plugin(&plugin(99)).is_some()), (PLUGINS_MAX, false));
    }
}
