//! The hosts of a database. Plain data only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wasmill_model::{TaskId, Timestamp};

/// What a host tells the others about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostReport {
    /// All slots.
    pub slots: u64,
    /// Slots that a run holds.
    pub used: u64,
    /// Bytes of memory for further runs.
    pub memory_free_bytes: u64,
    /// True once a drain has started.
    pub is_draining: bool,
}

/// A host that uses the database, or one that was taken for dead and whose tasks are not all put back yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Identifies its registration.
    pub id: i64,
    /// The name of its machine.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// When it registered.
    pub started_at: Timestamp,
    /// How long ago it renewed its lease; zero for the only host of a database.
    pub renewed: Duration,
    /// False if others took it for dead.
    pub is_live: bool,
    /// Whether this is the host that was asked.
    pub is_self: bool,
    /// Whether it does what one host does for all: retention and webhooks.
    pub is_on_duty: bool,
    /// What it last reported of itself.
    pub report: HostReport,
    /// The settings that hosts should share, by name.
    pub settings: SharedSettings,
    /// Up to which version it runs the plugins that hosts share.
    pub plugins_version: i64,
}

/// Settings that the hosts of a database should share: names and values in words, without secrets.
pub type SharedSettings = BTreeMap<String, String>;

/// Returns the names of the settings that differ; one that a host of another version does not know is none.
pub fn differing<'a>(of_one: &'a SharedSettings, of_other: &SharedSettings) -> Vec<&'a str> {
    let differs =
        |(name, value): &(&String, &String)| of_other.get(*name).is_some_and(|other| other != *value);
    of_one.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
}

/// A request to stop a run of this host that another one has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopRequest {
    /// The task.
    pub task: TaskId,
    /// The [token](crate::Claim::token) of the running claim.
    pub token: i64,
    /// When the guest is killed if it has not ended by then.
    pub kill_at: Timestamp,
}

/// What a host is called, and what it reports.
#[derive(Debug)]
pub struct OwnHost {
    /// The name of its machine.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// The settings that others should share.
    pub settings: SharedSettings,
    report: Mutex<HostReport>,
    plugins_version: AtomicI64,
}

impl OwnHost {
    /// Describes this process.
    pub fn new(settings: SharedSettings) -> Self {
        // Linux and the other systems with such a file; elsewhere hosts tell themselves apart by their ids.
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        Self {
            name: if name.is_empty() { "localhost" } else { name }.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings,
            report: Mutex::default(),
            plugins_version: AtomicI64::new(0),
        }
    }

    /// Replaces what it reports.
    pub fn set_report(&self, report: HostReport) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// Sets up to which version it runs the plugins that hosts share.
    pub fn set_plugins_version(&self, version: i64) {
        self.plugins_version.store(version, Ordering::SeqCst);
    }

    /// Returns up to which version it runs the plugins that hosts share.
    pub fn plugins_version(&self) -> i64 {
        self.plugins_version.load(Ordering::SeqCst)
    }

    /// Returns what it reports.
    pub fn report(&self) -> HostReport {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for OwnHost {
    fn default() -> Self {
        Self::new(SharedSettings::new())
    }
}
