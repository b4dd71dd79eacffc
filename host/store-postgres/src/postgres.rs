//! The open database: its operations by the names of the traits.

mod children;
mod cluster;
mod delivery;
mod files;
mod inbox;
mod plugins;
mod posted;
mod queue;
mod read;
mod schedule;
mod upkeep;

use std::sync::{Arc, Mutex};

use tokio::runtime::{Builder, Runtime};
use wasmill_model::Timestamp;
use wasmill_store::commit::{AbandonedClaims, WriterState, WriterStats};
use wasmill_store::live::LiveRuns;
use wasmill_store::rules::group_limits::GroupLimits;
use wasmill_store::rules::plugin_counts::AllPluginCounts;
use wasmill_store::{Backend, Recovery, Store, StoreError};

use crate::cluster::keeper::Keeper;
use crate::cluster::others::Others;
use crate::config::PostgresConfig;
use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::connection::schema;
use crate::connection::server::{Purpose, Server};
use crate::live::relay::Relay;
use crate::live::watched_logs::WatchedLogs;
use crate::read::readers::Readers;
use crate::writer::batcher::{Batcher, Start};
use crate::writer::thread::Writer;

/// An open database.
#[derive(Debug)]
pub(crate) struct Postgres {
    readers: Arc<Readers>,
    writer: Writer,
    stats: Arc<WriterStats>,
    live_runs: Arc<LiveRuns>,
    abandoned: Arc<AbandonedClaims>,
    others: Arc<Others>,
    watched: Arc<WatchedLogs>,
    waiting_max: u64,
    group_limits: Mutex<Arc<GroupLimits>>,
}

impl Backend for Postgres {
    fn live_runs(&self) -> &LiveRuns {
        &self.live_runs
    }
}

/// A database that is migrated, and of which this process is no host yet.
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
    /// [`StoreError::Refused`] if the server cannot be reached or does not let the user in, or if the schema, the rights
    /// of the user or the server are not as needed.
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

    /// Registers as a host, recovers tasks of dead hosts, and starts to write. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`]; then nothing was changed.
    pub fn start(self, now: Timestamp) -> std::result::Result<(Store, Recovery), StoreError> {
        let Self { config, server, runtime, connection } = self;
        let PostgresConfig {
            address,
            waiting_max,
            readers,
            log_bytes_max,
            tracer,
            place,
            lease,
            poll_min,
            floor_min,
            floor_check,
            settings,
            clock,
            ..
        } = config;
        let stats = Arc::new(WriterStats::new(WriterState::default(), AllPluginCounts::default()));
        let live_runs = Arc::new(LiveRuns::new(log_bytes_max, tracer));
        let (abandoned, others) =
            (Arc::new(AbandonedClaims::default()), Arc::new(Others::new(settings, poll_min, floor_min)));
        let readers = Arc::new(Readers::new(server.clone(), runtime.handle().clone(), readers));
        let mut batcher = Batcher::new(Start {
            server: server.clone(),
            connection: Arc::clone(&connection),
            place,
            others: others.clone(),
            lease_period: lease,
            clock: clock.clone(),
            stats: stats.clone(),
            live_runs: live_runs.clone(),
            abandoned: abandoned.clone(),
        });
        let recovered = runtime.block_on(batcher.register(&connection, now));
        let recovery = recovered.map_err(|error| error.of_store(&address.to_string()))?;
        drop(connection);
        let handle = runtime.handle().clone();
        let writer = Writer::start(runtime, batcher)?;
        let watched = Arc::new(WatchedLogs::default());
        let keeper = Keeper::new(server.clone(), others.clone(), writer.queue(), lease, clock, floor_check);
        handle.spawn(keeper.run());
        let relay = Relay::new(server, others.clone(), live_runs.clone(), watched.clone(), writer.queue());
        handle.spawn(relay.run());
        let postgres = Postgres {
            readers,
            writer,
            stats,
            live_runs,
            abandoned,
            others,
            watched,
            waiting_max,
            group_limits: Mutex::default(),
        };
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
    Ok(connection)
}
