//! Synchronizes the schedules in plugin manifests with the store: each has the name of its plugin, changes
//! with the manifest, and is removed with it.
//!
//! The binary calls it at startup, whenever plugins change, and when this host takes over the duties: of several hosts
//! only the one on duty removes schedules. A schedule that a client created under the
//! same name takes precedence until it is deleted. While a plugin is only out of service, its schedule stays.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use wasmill_model::{PluginName, ScheduleName};
use wasmill_runtime::{PluginConfig, ScheduleConfig};
use wasmill_scheduler::SCHEDULES_MAX;
use wasmill_store::{NewSchedule, PutOutcome, Schedule, StoreError};

use crate::state::Api;

/// Delay before another attempt after a failed write.
const RETRY: Duration = Duration::from_secs(2);

/// Synchronizes the schedules; retries until the store accepts them or is closed.
pub async fn sync_manifest_schedules(api: &Api) {
    while let Err(error) = sync(api).await {
        if error == StoreError::Closed {
            return;
        }
        tracing::debug!(%error, "failed to store the schedules of manifests");
        tokio::time::sleep(RETRY).await;
    }
    api.schedules.wake();
}

/// Synchronizes once; after a failure the next change of a plugin, or the next start, does it.
pub(super) async fn sync_once(api: &Api) {
    if let Err(error) = sync(api).await {
        tracing::debug!(%error, "failed to store the schedules of manifests");
    }
    api.schedules.wake();
}

async fn sync(api: &Api) -> Result<(), StoreError> {
    let names: Vec<String> = api.runtime.plugins_info().into_iter().map(|plugin| plugin.name).collect();
    let plugins = names.iter().filter_map(|name| name.parse::<PluginName>().ok());
    // The configuration of a plugin that is out of service is unknown.
    let in_service: BTreeMap<_, _> = plugins
        .filter_map(|plugin| {
            Some((ScheduleName::from(&plugin), (api.runtime.plugin_config(&plugin)?, plugin)))
        })
        .collect();
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    // Another host may have plugins that this one has not, and it removes none of their schedules.
    let stored = if api.store.is_on_duty() { api.store.schedules().await? } else { Vec::new() };
    for stored in stored.into_iter().filter(|stored| stored.from_manifest) {
        let is_orphaned = match in_service.get(&stored.name) {
            Some((config, _)) => config.schedule.is_none(),
            None => !names.contains(stored.name.as_str()),
        };
        if is_orphaned {
            api.store.remove_schedule(stored.name.clone(), true).await?;
            tracing::info!(schedule = %stored.name, "removed a schedule together with its manifest");
        }
    }
    for (name, (config, plugin)) in in_service {
        let PluginConfig { schedule: Some(schedule), .. } = &*config else { continue };
        put(api, new(&name, plugin, schedule)).await?;
    }
    Ok(())
}

fn new(name: &ScheduleName, plugin: PluginName, config: &ScheduleConfig) -> NewSchedule {
    let ScheduleConfig { timing, missed, overlap, input } = config;
    // Plugin names need no escapes, and the input is JSON already.
    let input = input.as_ref().map_or_else(String::new, |input| format!(", \"input\": {input}"));
    NewSchedule {
        name: name.clone(),
        from_manifest: true,
        timing: timing.clone(),
        missed: *missed,
        overlap: *overlap,
        task: format!("{{\"plugin\": \"{plugin}\"{input}}}"),
        plugin,
    }
}

async fn put(api: &Api, new: NewSchedule) -> Result<(), StoreError> {
    let name = new.name.clone();
    let stored = api.store.schedule(name.clone()).await?;
    if stored.is_some_and(|stored| is_same(&stored, &new)) {
        return Ok(());
    }
    match api.store.put_schedule(new, SCHEDULES_MAX as u64, api.clock.now()).await? {
        PutOutcome::Created(_) => tracing::info!(schedule = %name, "created a schedule from a manifest"),
        PutOutcome::Replaced(_) => tracing::info!(schedule = %name, "updated a schedule from its manifest"),
        PutOutcome::NameTaken => tracing::warn!(
            schedule = %name,
            "a client created a schedule of this name, so the manifest's schedule is ignored until that one \
             is deleted"
        ),
        PutOutcome::TooMany => tracing::warn!(
            schedule = %name,
            schedules_max = SCHEDULES_MAX,
            "the manifest's schedule exceeds the maximum number of schedules"
        ),
    }
    Ok(())
}

fn is_same(stored: &Schedule, new: &NewSchedule) -> bool {
    stored.from_manifest
        && (stored.cron.as_str(), stored.timezone.as_str()) == (new.timing.expression(), new.timing.zone())
        && (stored.missed, stored.overlap) == (new.missed, new.overlap)
        && stored.task.as_ref() == Some(&new.task)
}
