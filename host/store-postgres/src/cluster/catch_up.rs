//! What a writer has to know before its next transaction, after another host has written.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_model::PluginName;
use wasmill_store::rules::key_usage::KeyUsage;
use wasmill_store::{Event, PluginCounts, StopRequest};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{get, task_id, time};
use crate::writer::{events, key_usage, plugin_counts};

const FLAGS: &str = "
    SELECT EXISTS (SELECT FROM dependency WHERE on_seq IS NOT NULL), EXISTS (SELECT FROM dependency_end)";
const STOPPING: &str = "
    SELECT id, claim_token, kill_at FROM task
    WHERE host = $1 AND state = 'running' AND stop_requested_at IS NOT NULL LIMIT 10000";

/// The state of the database as far as writers keep it in memory.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) plugin_counts: BTreeMap<PluginName, PluginCounts>,
    pub(crate) key_usage: BTreeMap<Arc<str>, KeyUsage>,
    pub(crate) has_dependents: bool,
    pub(crate) has_unresolved_ends: bool,
    /// The events from the asked number on.
    pub(crate) events: Vec<Event>,
    /// Runs of this host that are to stop.
    pub(crate) stops: Vec<StopRequest>,
}

impl Current {
    /// Reads it, with the events from this number on, in one round trip.
    pub(crate) async fn read(connection: &Connection, host: i64, events_since: i64) -> Result<Self> {
        let (plugin_counts, key_usage, flags, events, stops) = tokio::try_join!(
            plugin_counts::load(connection),
            key_usage::load(connection),
            connection.one(FLAGS, &[]),
            events::since(connection, events_since),
            stops(connection, host),
        )?;
        let (has_dependents, has_unresolved_ends) = (get(&flags, 0)?, get(&flags, 1)?);
        Ok(Self { plugin_counts, key_usage, has_dependents, has_unresolved_ends, events, stops })
    }

    /// Returns the number of waiting and of running tasks.
    pub(crate) fn unfinished(&self) -> (u64, u64) {
        let counts = self.plugin_counts.values();
        counts.fold((0, 0), |(waiting, running), of| (waiting + of.waiting(), running + of.running))
    }

    /// Returns true if tasks wait for a slot.
    pub(crate) fn has_available(&self) -> bool {
        self.plugin_counts.values().any(|counts| counts.available > 0)
    }
}

async fn stops(connection: &Connection, host: i64) -> Result<Vec<StopRequest>> {
    let rows = connection.query(STOPPING, &[&host]).await?;
    let stop = |row| Ok(StopRequest { task: task_id(row, 0)?, token: get(row, 1)?, kill_at: time(row, 2)? });
    rows.iter().map(stop).collect()
}
