//! Schedules that plugins bring in their manifests: each appears under the name of its plugin, changes with the
//! manifest and goes with it.
//!
//! The binary calls it at the start and whenever plugins have changed. One that a client has put under the name
//! stays until it is deleted. While a plugin is only out of service its schedule stays.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use wasmill_model::{PluginName, ScheduleName};
use wasmill_runtime::{PluginConfig, ScheduleConfig};
use wasmill_scheduler::SCHEDULES_MAX;
use wasmill_store::{NewSchedule, PutOutcome, Schedule, StoreError};

use crate::app::Api;

/// How long to wait before a store that cannot be written is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Brings the schedules of manifests up to date; tries until the store takes it, or is closed.
pub async fn sync_manifest_schedules(api: &Api) {
    while let Err(error) = follow(api).await {
        if error == StoreError::Closed {
            return;
        }
        tracing::debug!(%error, "the schedules of manifests could not be stored");
        tokio::time::sleep(RETRY).await;
    }
    api.schedules.wake();
}

/// Does it once; what cannot be stored now is stored when a plugin changes, or at the next start.
pub(super) async fn settle(api: &Api) {
    if let Err(error) = follow(api).await {
        tracing::debug!(%error, "the schedules of manifests could not be stored");
    }
    api.schedules.wake();
}

async fn follow(api: &Api) -> Result<(), StoreError> {
    let names: Vec<String> = api.runtime.plugins_info().into_iter().map(|plugin| plugin.name).collect();
    let plugins = names.iter().filter_map(|name| name.parse::<PluginName>().ok());
    // Of one that is out of service nothing is known.
    let in_service: BTreeMap<_, _> = plugins
        .filter_map(|plugin| {
            Some((ScheduleName::from(&plugin), (api.runtime.plugin_config(&plugin)?, plugin)))
        })
        .collect();
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    for stored in api.store.schedules().await?.into_iter().filter(|stored| stored.from_manifest) {
        let is_over = match in_service.get(&stored.name) {
            Some((config, _)) => config.schedule.is_none(),
            None => !names.contains(stored.name.as_str()),
        };
        if is_over {
            api.store.remove_schedule(stored.name.clone(), true).await?;
            tracing::info!(schedule = %stored.name, "a schedule went with the manifest that brought it");
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
    // A name needs no escapes, and the input is JSON already.
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
        PutOutcome::Created(_) => tracing::info!(schedule = %name, "a manifest brought a schedule"),
        PutOutcome::Replaced(_) => tracing::info!(schedule = %name, "a schedule changed with its manifest"),
        PutOutcome::NameTaken => tracing::warn!(
            schedule = %name,
            "a client has made a schedule of this name; that of the manifest waits until it is deleted"
        ),
        PutOutcome::TooMany => tracing::warn!(
            schedule = %name,
            most = SCHEDULES_MAX,
            "there are too many schedules for that of the manifest"
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
