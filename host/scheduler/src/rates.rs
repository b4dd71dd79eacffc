//! How many more tasks each plugin may start right now, where its manifest names a rate.
//!
//! The dispatcher asks before each claim and notes what it claimed. In memory only: a restart begins anew.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use wasmill_model::{PluginName, Rate};

/// The starts of each plugin within the span of its rate.
#[derive(Debug, Default)]
pub(crate) struct Rates(HashMap<PluginName, Starts>);

#[derive(Debug)]
struct Starts {
    rate: Rate,
    /// When tasks were started, and how many, the oldest first.
    claims: VecDeque<(Instant, usize)>,
    started: usize,
}

impl Rates {
    /// Says whether no plugin has a rate.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many more tasks this plugin may start at this rate.
    pub(crate) fn left(&mut self, plugin: &PluginName, rate: Rate, now: Instant) -> usize {
        let new = || Starts { rate, claims: VecDeque::new(), started: 0 };
        let starts = self.0.entry(plugin.clone()).or_insert_with(new);
        starts.rate = rate;
        starts.forget_old(now);
        (rate.starts as usize).saturating_sub(starts.started)
    }

    /// Notes that tasks of this plugin start, if it has a rate.
    pub(crate) fn start(&mut self, plugin: &PluginName, tasks: usize, now: Instant) {
        if let Some(starts) = self.0.get_mut(plugin) {
            starts.claims.push_back((now, tasks));
            starts.started += tasks;
        }
    }

    /// Returns how long it takes until a plugin that has used up its rate may start one more.
    pub(crate) fn next(&self, now: Instant) -> Option<Duration> {
        let used_up = self.0.values().filter(|starts| starts.started >= starts.rate.starts as usize);
        used_up.filter_map(|starts| Some(starts.claims.front()?.0 + starts.rate.per - now)).min()
    }

    /// Forgets the plugins that have no rate any more, and what is too long ago, also of those that are
    /// not asked for now, such as paused ones: else they would seem used up for ever.
    pub(crate) fn keep(&mut self, now: Instant, has_rate: impl Fn(&PluginName) -> bool) {
        self.0.retain(|plugin, _| has_rate(plugin));
        for starts in self.0.values_mut() {
            starts.forget_old(now);
        }
    }
}

impl Starts {
    fn forget_old(&mut self, now: Instant) {
        while let Some((at, started)) = self.claims.front()
            && now >= *at + self.rate.per
        {
            self.started -= started;
            self.claims.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_no_span_start_more_than_the_rate_says() {
        let plugin: PluginName = "a".parse().expect("valid");
        let rate: Rate = "10/s".parse().expect("valid");
        let (mut rates, start) = (Rates::default(), Instant::now());
        let ms = |ms| start + Duration::from_millis(ms);
        assert_eq!(rates.left(&plugin, rate, ms(0)), 10);
        rates.start(&plugin, 4, ms(0));
        assert_eq!((rates.left(&plugin, rate, ms(500)), rates.next(ms(500))), (6, None));
        rates.start(&plugin, 6, ms(500));
        assert_eq!(
            (rates.left(&plugin, rate, ms(999)), rates.next(ms(999))),
            (0, Some(Duration::from_millis(1)))
        );
        assert_eq!(rates.left(&plugin, rate, ms(1_000)), 4);
        assert_eq!(rates.left(&plugin, rate, ms(1_500)), 10);
        rates.start(&plugin, 10, ms(1_500));
        rates.keep(ms(2_499), |_| true);
        assert_eq!(rates.next(ms(2_499)), Some(Duration::from_millis(1)));
        rates.keep(ms(2_500), |_| true);
        assert_eq!(rates.next(ms(2_500)), None, "though nobody asked what is left");
        rates.keep(ms(2_500), |_| false);
        assert!(rates.0.is_empty());
    }
}
