//! How to open the database. Plain data only.

use std::sync::Arc;
use std::time::Duration;

use wasmill_model::{Clock, SystemClock, Tracer};
use wasmill_store::SharedSettings;

use crate::address::Address;
use crate::cluster::place::Place;

/// The schema of a host.
pub(crate) const SCHEMA: &str = "wasmill";

/// How long a lease is valid, unless a test sets it.
const LEASE: Duration = Duration::from_secs(10);

/// The least time between two looks of an idle host, unless a test sets it.
const POLL_MIN: Duration = Duration::from_millis(50);

/// How many transactions a snapshot is held for until claims begin behind what ended tasks have left, unless a test sets it.
const FLOOR_MIN: u64 = 256;

/// How often a host looks for tasks that claims would miss, unless a test sets it.
const FLOOR_CHECK: Duration = Duration::from_secs(60);

/// How to open the database.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// Where the database is.
    pub address: Address,
    /// The schema that holds the tables.
    pub schema: String,
    /// Whether to create or migrate the schema.
    pub migrate: bool,
    /// Maximum waiting tasks; further ones are refused. Retries and requeues are never refused.
    pub waiting_max: u64,
    /// Number of concurrent reads, each on its own connection; at least 1.
    pub readers: usize,
    /// Maximum bytes that the logs of all running tasks hold in memory; beyond it each run keeps 2 KiB.
    pub log_bytes_max: usize,
    /// Receives the spans of traced tasks.
    pub tracer: Tracer,
    /// Where the host runs.
    pub place: Place,
    /// How long after its last renewal a host may run guests. Others take it for dead a fifth later.
    pub lease: Duration,
    /// The least time between two looks of an idle host at what others have written; with more than five hosts it is
    /// 10 ms for each, up to half a second.
    pub poll_min: Duration,
    /// For how many transactions a snapshot is held until claims note how far a queue has been claimed, and of how many
    /// claimed tasks one does.
    pub floor_min: u64,
    /// How often a host looks whether tasks became available where no claim looks.
    pub floor_check: Duration,
    /// The settings that other hosts should share.
    pub settings: SharedSettings,
    /// The clock for what the store does by itself: it puts back tasks of dead hosts, and registers anew.
    pub clock: Arc<dyn Clock>,
}

impl PostgresConfig {
    /// Builds the default configuration for a database and a host at this place.
    pub fn new(address: Address, place: Place) -> Self {
        Self {
            address,
            schema: SCHEMA.to_owned(),
            migrate: false,
            waiting_max: 1_000_000,
            readers: 3,
            log_bytes_max: 64 << 20,
            tracer: Tracer::default(),
            place,
            lease: LEASE,
            poll_min: POLL_MIN,
            floor_min: FLOOR_MIN,
            floor_check: FLOOR_CHECK,
            settings: SharedSettings::new(),
            clock: Arc::new(SystemClock),
        }
    }
}
