//! The open database: its operations by the names of the traits.

mod delivery;
mod queue;
mod read;
mod schedule;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Config;
use wasmill_model::Timestamp;
use wasmill_store::commit::{AbandonedClaims, WriterStats};
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::plugin_counts::AllPluginCounts;
use wasmill_store::{Backend, Recovery, Store, StoreError};

use crate::config::PostgresConfig;
use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::connection::schema;
use crate::queue::recover;
use crate::read::readers::Readers;
use crate::writer::batcher::{Batcher, Start};
use crate::writer::thread::Writer;
use crate::writer::{events, plugin_counts};

/// How long a start waits for the lock of a host that is ending.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_WAIT: Duration = Duration::from_millis(50);

const BEGIN_HOST: &str = "
    UPDATE host SET incarnation = incarnation + 1, batch = 0 WHERE id = 0 RETURNING incarnation";
const LOCKED: &str = "SELECT pg_try_advisory_lock(hashtextextended('wasmill ' || current_schema(), 0))";

/// An open database.
#[derive(Debug)]
pub(crate) struct Postgres {
    readers: Arc<Readers>,
    writer: Writer,
    stats: Arc<WriterStats>,
    live_runs: Arc<LiveRuns>,
    abandoned: Arc<AbandonedClaims>,
    waiting_max: u64,
}

impl Backend for Postgres {
    fn live_runs(&self) -> &LiveRuns {
        &self.live_runs
    }
}

/// A database that is locked and migrated, and whose tasks are as the last host left them.
#[derive(Debug)]
pub struct Database {
    config: PostgresConfig,
    server: Config,
    name: String,
    runtime: Runtime,
    connection: Arc<Connection>,
}

impl Database {
    /// Connects to the database, and creates the schema if it is missing. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the address is wrong, the server cannot be reached, or another host uses the
    /// schema; [`StoreError::Newer`] if a newer version has migrated it.
    pub fn open(config: PostgresConfig) -> std::result::Result<Self, StoreError> {
        let unavailable = |message: String| StoreError::Unavailable { message };
        let mut server: Config = config
            .url
            .parse()
            .map_err(|error| unavailable(format!("the address of the database: {error}")))?;
        server.options(format!("-c search_path={}", config.schema));
        server.application_name("wasmill").connect_timeout(Duration::from_secs(2));
        let name = server.get_dbname().unwrap_or("of the user").to_owned();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| unavailable(format!("failed to start the threads of the store: {error}")))?;
        let opened = runtime.block_on(async {
            let connection = Connection::open(&server).await?;
            let migrated = schema::migrate(&connection, &config.schema, &name).await?;
            let is_locked = lock(&connection).await?;
            Ok::<_, crate::connection::fault::Error>((connection, migrated, is_locked))
        });
        let (connection, migrated, is_locked) = opened.map_err(|error| error.of_store(&name))?;
        migrated?;
        if !is_locked {
            let schema = &config.schema;
            return Err(unavailable(format!(
                "schema {schema} of database {name} is in use by another wasmill"
            )));
        }
        Ok(Self { config, server, name, runtime, connection })
    }

    /// Recovers tasks that ran when the last host died, and starts to write. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`]; then nothing was changed.
    pub fn start(self, now: Timestamp) -> std::result::Result<(Store, Recovery), StoreError> {
        let Self { config, server, name, runtime, connection } = self;
        let PostgresConfig { waiting_max, readers, log_bytes_max, tracer, .. } = config;
        let recovered = runtime.block_on(async {
            connection.batch("BEGIN").await?;
            let incarnation: i64 = connection.one(BEGIN_HOST, &[]).await?.get(0);
            let (recovery, writer_state) = recover::recover(&connection, now, &tracer).await?;
            let plugin_counts = plugin_counts::load(&connection).await?;
            Ok::<_, crate::connection::fault::Error>((incarnation, recovery, writer_state, plugin_counts))
        });
        let (incarnation, recovery, writer_state, plugin_counts) =
            recovered.map_err(|error| error.of_store(&name))?;
        let stats = Arc::new(WriterStats::new(writer_state, AllPluginCounts::new(plugin_counts)));
        let live_runs = Arc::new(LiveRuns::new(log_bytes_max, tracer));
        live_runs
            .event_bus
            .begin(events::first(writer_state.events_reserved), writer_state.events_reserved.unsigned_abs());
        let abandoned = Arc::new(AbandonedClaims::default());
        let readers = Readers::new(server.clone(), name.clone(), runtime.handle().clone(), readers);
        let batcher = Batcher::new(Start {
            config: server,
            database: name,
            lock: LOCKED.to_owned(),
            connection,
            incarnation,
            writer_state,
            stats: stats.clone(),
            live_runs: live_runs.clone(),
            abandoned: abandoned.clone(),
        });
        let writer = Writer::start(runtime, batcher)?;
        let readers = Arc::new(readers);
        let postgres = Postgres { readers, writer, stats, live_runs, abandoned, waiting_max };
        Ok((Store::new(postgres), recovery))
    }
}

/// Takes the lock that keeps a second host away; returns false if another one holds it.
async fn lock(connection: &Connection) -> Result<bool> {
    let began = Instant::now();
    loop {
        if connection.one(LOCKED, &[]).await?.get(0) {
            return Ok(true);
        }
        if began.elapsed() > LOCK_TIMEOUT {
            return Ok(false);
        }
        tokio::time::sleep(LOCK_WAIT).await;
    }
}
