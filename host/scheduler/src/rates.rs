//! How many more tasks each plugin may start now under the rate in its manifest.
//!
//! The dispatcher asks before each claim and records what it claimed. Starts by earlier hosts are loaded from the
//! store, which keeps them for the period of the rate.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use wasmill_model::{PluginName, Rate};

/// The starts of each plugin within the period of its rate.
#[derive(Debug)]
pub(crate) struct Rates {
    /// The origin of stored times; starts by earlier hosts lie before it.
    epoch: Instant,
    plugins: HashMap<PluginName, PluginStarts>,
}

#[derive(Debug)]
struct PluginStarts {
    rate: Rate,
    /// Start times in nanoseconds with the number of tasks, oldest first.
    claims: VecDeque<(i64, usize)>,
    started: usize,
}

impl Rates {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { epoch, plugins: HashMap::new() }
    }

    /// Returns true if no plugin has a rate.
    pub(crate) fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Returns true if the earlier starts of this plugin have been loaded.
    pub(crate) fn is_loaded(&self, plugin: &PluginName) -> bool {
        self.plugins.contains_key(plugin)
    }

    /// Sets the earlier starts of a plugin: how long ago, and how many tasks, oldest first.
    pub(crate) fn load(
        &mut self,
        plugin: PluginName,
        rate: Rate,
        started: impl IntoIterator<Item = (Duration, usize)>,
        now: Instant,
    ) {
        let now = self.nanos(now);
        let claims: VecDeque<_> =
            started.into_iter().map(|(ago, tasks)| (now.saturating_sub(nanos(ago)), tasks)).collect();
        let started = claims.iter().map(|(_, tasks)| tasks).sum();
        self.plugins.insert(plugin, PluginStarts { rate, claims, started });
    }

    /// Returns how many more tasks of this plugin may start at this rate.
    pub(crate) fn remaining(&mut self, plugin: &PluginName, rate: Rate, now: Instant) -> usize {
        let now = self.nanos(now);
        let new = || PluginStarts { rate, claims: VecDeque::new(), started: 0 };
        let starts = self.plugins.entry(plugin.clone()).or_insert_with(new);
        starts.rate = rate;
        starts.drop_expired(now);
        (rate.starts as usize).saturating_sub(starts.started)
    }

    /// Records started tasks of this plugin, if it has a rate.
    pub(crate) fn record(&mut self, plugin: &PluginName, tasks: usize, now: Instant) {
        let now = self.nanos(now);
        if let Some(starts) = self.plugins.get_mut(plugin) {
            starts.claims.push_back((now, tasks));
            starts.started += tasks;
        }
    }

    /// Returns the time until the first exhausted plugin may start another task.
    pub(crate) fn next_start_in(&self, now: Instant) -> Option<Duration> {
        let now = self.nanos(now);
        let used_up = self.plugins.values().filter(|starts| starts.started >= starts.rate.starts as usize);
        let over = used_up.filter_map(|starts| Some(starts.claims.front()?.0 + nanos(starts.rate.per)));
        over.min().map(|over| Duration::from_nanos(u64::try_from(over - now).unwrap_or(0)))
    }

    /// Drops expired starts of every plugin. Plugins that are not queried now, such as paused ones, would otherwise
    /// seem exhausted for ever. A plugin without a rate is dropped only once no start of it counts, because its file
    /// may come back.
    pub(crate) fn prune(&mut self, now: Instant, has_rate: impl Fn(&PluginName) -> bool) {
        let now = self.nanos(now);
        self.plugins.retain(|plugin, starts| {
            starts.drop_expired(now);
            !starts.claims.is_empty() || has_rate(plugin)
        });
    }

    /// Converts an instant to nanoseconds since `epoch`.
    fn nanos(&self, at: Instant) -> i64 {
        nanos(at.saturating_duration_since(self.epoch))
    }
}

impl PluginStarts {
    fn drop_expired(&mut self, now: i64) {
        while let Some((at, started)) = self.claims.front()
            && now >= *at + nanos(self.rate.per)
        {
            self.started -= started;
            self.claims.pop_front();
        }
    }
}

/// Converts a duration to nanoseconds; a rate's period is at most a day.
fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_period_has_more_starts_than_the_rate() {
        let plugin: PluginName = "a".parse().expect("valid");
        let rate: Rate = "10/s".parse().expect("valid");
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let ms = |ms| start + Duration::from_millis(ms);
        assert_eq!(rates.remaining(&plugin, rate, ms(0)), 10);
        rates.record(&plugin, 4, ms(0));
        assert_eq!((rates.remaining(&plugin, rate, ms(500)), rates.next_start_in(ms(500))), (6, None));
        rates.record(&plugin, 6, ms(500));
        assert_eq!(
            (rates.remaining(&plugin, rate, ms(999)), rates.next_start_in(ms(999))),
            (0, Some(Duration::from_millis(1)))
        );
        assert_eq!(rates.remaining(&plugin, rate, ms(1_000)), 4);
        assert_eq!(rates.remaining(&plugin, rate, ms(1_500)), 10);
        rates.record(&plugin, 10, ms(1_500));
        rates.prune(ms(2_499), |_| true);
        assert_eq!(rates.next_start_in(ms(2_499)), Some(Duration::from_millis(1)));
        rates.prune(ms(2_500), |_| true);
        assert_eq!(rates.next_start_in(ms(2_500)), None, "pruned without a call of remaining");
        rates.prune(ms(2_500), |_| false);
        assert!(rates.is_empty());
    }

    #[test]
    fn starts_of_an_earlier_host_and_of_an_unloaded_plugin_count() {
        let plugin: PluginName = "a".parse().expect("valid");
        let rate: Rate = "3/h".parse().expect("valid");
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert!(!rates.is_loaded(&plugin));
        rates.load(plugin.clone(), rate, [(minutes(90), 9), (minutes(50), 2), (minutes(10), 1)], start);
        assert!(rates.is_loaded(&plugin));
        assert_eq!(rates.remaining(&plugin, rate, start), 0);
        assert_eq!(rates.next_start_in(start), Some(minutes(10)));
        rates.prune(start, |_| false);
        assert_eq!(rates.remaining(&plugin, rate, start), 0, "starts survive the plugin's absence");
        assert_eq!(rates.remaining(&plugin, rate, start + minutes(10)), 2);
        rates.prune(start + minutes(50), |_| false);
        assert!(!rates.is_loaded(&plugin));
    }
}
