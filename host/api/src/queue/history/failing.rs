//! Plugins whose tasks fail more than they should.

use std::collections::BTreeMap;

use wasmill_model::PluginName;

use super::plugin_track::{PluginTrack, RECENT};

/// A plugin is failing if more tasks than this, and more than this part of those that ended, have failed in five minutes.
const FAILED_MIN: u64 = 10;
const FAILED_PART: f64 = 0.01;

/// A plugin whose tasks fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailingPlugin {
    pub(crate) plugin: PluginName,
    /// Tasks that failed in the last five minutes.
    pub(crate) failed: u64,
    /// Tasks that finished in the last five minutes.
    pub(crate) finished: u64,
    /// The most frequent cause of the attempts of this host, and how many it ended.
    pub(crate) cause: Option<(&'static str, u64)>,
}

impl FailingPlugin {
    /// Returns the plugin if it is failing.
    pub(super) fn of(plugin: &PluginName, track: &PluginTrack) -> Option<Self> {
        let (mut failed, mut finished) = (0, 0);
        for sample in track.samples.newest(RECENT) {
            failed += u64::from(sample.failed);
            finished += u64::from(sample.completed) + u64::from(sample.failed) + u64::from(sample.cancelled);
        }
        if failed <= FAILED_MIN || (failed as f64) <= finished as f64 * FAILED_PART {
            return None;
        }
        let mut causes: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (cause, attempts) in track.causes.newest(RECENT).flatten() {
            *causes.entry(cause).or_default() += u64::from(*attempts);
        }
        let cause = causes.into_iter().max_by_key(|(_, attempts)| *attempts);
        Some(Self { plugin: plugin.clone(), failed, finished, cause })
    }
}

#[cfg(test)]
mod tests {
    use wasmill_scheduler::AttemptStats;
    use wasmill_store::PluginCounts;

    use super::*;

    fn attempts(io: u64, trap: u64) -> AttemptStats {
        AttemptStats {
            ended: [("completed", 900), ("io", io), ("trap", trap)].into(),
            ..AttemptStats::default()
        }
    }

    #[test]
    fn a_plugin_is_failing_by_number_and_by_part() {
        let plugin: PluginName = "a".parse().expect("valid");
        for (completed, failed, is_failing) in
            [(0, 10, false), (0, 11, true), (2_000, 20, false), (1_000, 20, true)]
        {
            let mut track = PluginTrack::new(PluginCounts::default(), None, 0);
            let tasks = PluginCounts { completed, failed, ..PluginCounts::default() };
            track.observe(tasks, Some(&attempts(failed - 1, 1)), 10_000, 10.0);
            let failing = FailingPlugin::of(&plugin, &track);
            assert_eq!(failing.is_some(), is_failing, "{completed} completed, {failed} failed");
            if let Some(failing) = failing {
                assert_eq!((failing.failed, failing.finished), (failed, completed + failed));
                assert_eq!(failing.cause, Some(("io", failed - 1)));
            }
        }
    }

    #[test]
    fn failures_are_forgotten_after_five_minutes() {
        let plugin: PluginName = "a".parse().expect("valid");
        let mut track = PluginTrack::new(PluginCounts::default(), None, 0);
        let tasks = PluginCounts { failed: 99, ..PluginCounts::default() };
        for step in 0..30 {
            track.observe(tasks, Some(&attempts(99, 0)), step * 10_000, 10.0);
            assert!(FailingPlugin::of(&plugin, &track).is_some(), "{step}");
        }
        track.observe(tasks, Some(&attempts(99, 0)), 300_000, 10.0);
        assert_eq!(FailingPlugin::of(&plugin, &track), None);
    }
}
