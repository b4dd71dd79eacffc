//! The open database: its operations by the names of the traits.

mod delivery;
mod queue;
mod read;
mod schedule;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use wasmill_model::Timestamp;
use wasmill_store::commit::{AbandonedClaims, WriterStats};
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::plugin_counts::AllPluginCounts;
use wasmill_store::{Backend, Recovery, Store, StoreError};

use crate::config::PostgresConfig;
use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::connection::schema;
use crate::connection::server::{LOCKED, Purpose, Server};
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
    server: Server,
    runtime: Runtime,
    connection: Arc<Connection>,
}

impl Database {
    /// Connects to the database, and migrates the schema if the configuration says so. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if the server cannot be reached or does not let the user in, if another host uses the
    /// schema, or if the schema, the rights of the user or the server are not as needed.
    pub fn open(config: PostgresConfig) -> std::result::Result<Self, StoreError> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("store").enable_all().build().map_err(
                |error| StoreError::Unavailable {
                    message: format!("failed to start the threads of the store: {error}"),
                },
            )?;
        let server = Server::new(config.address.clone(), &config.schema);
        let connection = runtime
            .block_on(open(&server, config.migrate))
            .map_err(|error| error.of_open(&config.address))?;
        Ok(Self { config, server, runtime, connection })
    }

    /// Recovers tasks that ran when the last host died, and starts to write. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`]; then nothing was changed.
    pub fn start(self, now: Timestamp) -> std::result::Result<(Store, Recovery), StoreError> {
        let Self { config, server, runtime, connection } = self;
        let PostgresConfig { address, waiting_max, readers, log_bytes_max, tracer, .. } = config;
        let recovered = runtime.block_on(async {
            connection.batch("BEGIN").await?;
            let incarnation: i64 = connection.one(BEGIN_HOST, &[]).await?.get(0);
            let (recovery, writer_state) = recover::recover(&connection, now, &tracer).await?;
            let plugin_counts = plugin_counts::load(&connection).await?;
            Ok::<_, Error>((incarnation, recovery, writer_state, plugin_counts))
        });
        let (incarnation, recovery, writer_state, plugin_counts) =
            recovered.map_err(|error| error.of_store(&address.to_string()))?;
        let stats = Arc::new(WriterStats::new(writer_state, AllPluginCounts::new(plugin_counts)));
        let live_runs = Arc::new(LiveRuns::new(log_bytes_max, tracer));
        live_runs
            .event_bus
            .begin(events::first(writer_state.events_reserved), writer_state.events_reserved.unsigned_abs());
        let abandoned = Arc::new(AbandonedClaims::default());
        let readers = Readers::new(server.clone(), runtime.handle().clone(), readers);
        let batcher = Batcher::new(Start {
            server,
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

/// Connects, and checks everything that a host depends on.
async fn open(server: &Server, migrate: bool) -> Result<Arc<Connection>> {
    let connection = server.connect(Purpose::Write).await?;
    server.check(&connection).await?;
    if migrate && schema::found(&connection, &server.schema).await? < schema::VERSION {
        let before = schema::migrate(&connection, &server.schema).await?;
        tracing::info!(before, now = schema::VERSION, "migrated the tables of the database");
    }
    schema::check(&connection, &server.schema).await?;
    let began = Instant::now();
    while !connection.one(LOCKED, &[&server.schema]).await?.get::<_, bool>(0) {
        if began.elapsed() > LOCK_TIMEOUT {
            return Err(Error::Refused(
                "it is in use by another wasmill; stop that one, or use another database".to_owned(),
            ));
        }
        tokio::time::sleep(LOCK_WAIT).await;
    }
    Ok(connection)
}
