//! The one sampler.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use wasmill_model::BoxFuture;
use wasmill_store::PluginCounts;

use super::sample::Counters;
use crate::state::Api;

/// Samples once a second until it is dropped.
pub fn sample_history(api: Api) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut ticks = interval(Duration::from_secs(1));
        // After a pause of the process there is one long step rather than many of no time.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let plugin_counts = api.store.plugin_counts();
            let mut all = PluginCounts::default();
            plugin_counts.iter().for_each(|(_, counts)| all += *counts);
            let counters = read(&api, all);
            if api.history.samples().observe(&counters) {
                let attempts = api.scheduler.stats().plugins;
                let at_ms = counters.at.timestamp_millis();
                api.history.samples().observe_plugins(at_ms, plugin_counts, &attempts);
            }
        }
    })
}

/// Reads the counters; `tasks` are those of all plugins together.
fn read(api: &Api, tasks: PluginCounts) -> Counters {
    let (_, _, webhooks_given_up) = api.webhooks.stats().read();
    Counters {
        read_at: Instant::now(),
        at: api.clock.now(),
        tasks,
        slots_used: api.scheduler.slots().used,
        memory_bytes: api.runtime.memory_usage().used_bytes,
        webhooks_given_up,
        latency: api.scheduler.latency_stats(),
        commit_seconds: api.store.commit_stats().synced_seconds,
    }
}
