//! The open database: its operations by the names of the traits.

mod children;
mod cluster;
mod delivery;
mod files;
mod posted;
mod queue;
mod read;
mod schedule;
mod upkeep;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use rusqlite::Connection;
use wasmill_model::Timestamp;
use wasmill_store::commit::{AbandonedClaims, WriterStats};
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::group_limits::GroupLimits;
use wasmill_store::rules::plugin_counts::AllPluginCounts;
use wasmill_store::{Backend, Lease, OwnHost, Recovery, Store, StoreError};

use crate::config::SqliteConfig;
use crate::content::folder::ContentFolder;
use crate::content::leftover::remove_leftovers;
use crate::file::folder::check_folder;
use crate::file::home::Home;
use crate::file::lock::Lock;
use crate::file::{check, connection, fault};
use crate::queue::recover;
use crate::read::readers::Readers;
use crate::writer::batcher::Batcher;
use crate::writer::thread::Writer;
use crate::writer::{events, key_usage, plugin_counts};

/// An open database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    readers: Arc<Readers>,
    contents: Arc<ContentFolder>,
    // Dropped after the readers: closing the last connection empties the write-ahead log, and only this one
    // may write.
    writer: Writer,
    /// What the background check of a large database found.
    damage: Arc<OnceLock<StoreError>>,
    stats: Arc<WriterStats>,
    live_runs: Arc<LiveRuns>,
    abandoned: Arc<AbandonedClaims>,
    waiting_max: u64,
    group_limits: Mutex<Arc<GroupLimits>>,
    lease: Lease,
    host: OwnHost,
    started_at: Timestamp,
}

impl Backend for Sqlite {
    fn live_runs(&self) -> &LiveRuns {
        &self.live_runs
    }
}

/// A database that is locked, checked and migrated, and whose tasks are as the last host left them.
#[derive(Debug)]
pub struct Database {
    config: SqliteConfig,
    path: Arc<Path>,
    lock: Lock,
    connection: Connection,
    is_checked: bool,
}

impl Database {
    /// Opens the database of a data folder, creates both if they are missing. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] while another process has it open; [`StoreError::Foreign`], [`StoreError::Outdated`],
    /// [`StoreError::Newer`] or [`StoreError::Corrupt`] if the database cannot be used.
    pub fn open(config: SqliteConfig) -> Result<Self, StoreError> {
        check_folder(&config.dir)?;
        connection::create_dir(&config.dir)?;
        let lock = Lock::take(&config.dir)?;
        let path: Arc<Path> = config.dir.join("wasmill.db").into();
        let connection = connection::writer(&path)?;
        let is_checked = check::at_opening(&connection, &path)?;
        Ok(Self { config, path, lock, connection, is_checked })
    }

    /// Recovers tasks that ran when the last host died, and starts to write. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`]; then nothing was changed.
    pub fn start(self, now: Timestamp) -> Result<(Store, Recovery), StoreError> {
        let Self { config, path, lock, connection, is_checked } = self;
        let SqliteConfig { dir, waiting_max, readers, log_bytes_max, tracer } = config;
        let home = Arc::new(Home::of(path.clone()));
        let faulty = |error| fault::fault(&path, &error);
        let (recovery, writer_state) = recover::recover(&connection, now, &tracer).map_err(faulty)?;
        let plugin_counts = AllPluginCounts::new(plugin_counts::load(&connection).map_err(faulty)?);
        let stats = Arc::new(WriterStats::new(writer_state, plugin_counts));
        stats.key_usage().replace(key_usage::load(&connection).map_err(faulty)?);
        let live_runs = Arc::new(LiveRuns::new(log_bytes_max, tracer));
        live_runs
            .event_bus
            .begin(events::first(writer_state.events_reserved), writer_state.events_reserved.unsigned_abs());
        let abandoned = Arc::new(AbandonedClaims::default());
        let batcher = Batcher::new(
            connection,
            home.clone(),
            writer_state,
            stats.clone(),
            live_runs.clone(),
            abandoned.clone(),
        );
        let writer = Writer::start(batcher, lock)?;
        let damage = Arc::new(OnceLock::new());
        let contents = Arc::new(ContentFolder::new(&dir));
        remove_leftovers(Arc::clone(&path), Arc::clone(&contents));
        if !is_checked {
            check_on(path, &damage);
        }
        let readers = Arc::new(Readers::new(home, readers));
        let sqlite = Sqlite {
            readers,
            contents,
            writer,
            damage,
            stats,
            live_runs,
            abandoned,
            waiting_max,
            group_limits: Mutex::default(),
            lease: Lease::forever(),
            host: OwnHost::default(),
            started_at: now,
        };
        Ok((Store::new(sqlite), recovery))
    }
}

/// Added to the thread's nice value so the check yields to requests.
#[cfg(target_os = "linux")]
const CHECK_NICENESS: i32 = 10;

/// Checks a large database in use, on a detached thread.
fn check_on(path: Arc<Path>, damage: &Arc<OnceLock<StoreError>>) {
    let damage = Arc::clone(damage);
    let check = move || {
        // On Linux this applies to the thread only. Tasks and requests come first.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(CHECK_NICENESS) {
            tracing::debug!(%error, "failed to lower the priority of the check");
        }
        let checked = connection::reader(&path)
            .map_err(|error| fault::fault(&path, &error))
            .and_then(|connection| check::whole(&connection, &path));
        if let Err(error) = checked {
            tracing::error!(%error, "the database is damaged; tasks continue, but stop the host and restore a backup soon");
            // Set here only.
            let _ = damage.set(error);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("store-check".to_owned()).spawn(check) {
        tracing::warn!(%error, "the database could not be checked");
    }
}
