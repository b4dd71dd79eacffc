//! A schema for each test, in one server of this process, and the hosts that open it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, Config, NoTls};
use wasmill_model::{Timestamp, Tracer};
use wasmill_store::{Recovery, Store};
use wasmill_store_postgres::{Address, Database, Place, PostgresConfig};
use wasmill_store_suite::Fixture;

use crate::postgres::PostgresServer;

/// A schema of its own.
pub(crate) struct Schema {
    name: String,
    server: &'static PostgresServer,
}

impl Schema {
    /// Returns the folder of the server's socket.
    pub(crate) fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// Returns how a host at a place opens the store through this URL.
    pub(crate) fn config(&self, url: &str, place: &str) -> PostgresConfig {
        let address = Address::new(url, None, None).expect("a URL");
        let schema = self.name.clone();
        // Each claim notes how far it came, as if somebody held a snapshot.
        let floor_min = 0;
        PostgresConfig {
            schema,
            migrate: true,
            floor_min,
            ..PostgresConfig::new(address, Place::named(place))
        }
    }

    /// Returns the URL of the database, without a proxy.
    pub(crate) fn url(&self) -> String {
        self.server.url("postgres")
    }

    /// Connects beside the store.
    pub(crate) async fn connect(&self) -> Client {
        let mut config: Config = self.url().parse().expect("a URL");
        let (client, driver) =
            config.options(format!("-c search_path={}", self.name)).connect(NoTls).await.expect("connected");
        tokio::spawn(driver);
        client
    }
}

impl Fixture for Schema {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Without PostgreSQL nothing here can be tested; `shared` has said why.
        let server = PostgresServer::shared().unwrap_or_else(|| std::process::exit(0));
        Self { name: format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed)), server }
    }

    fn open_with(&self, waiting_max: u64, tracer: &Tracer, now: Timestamp) -> (Store, Recovery) {
        // One that was at the same place is dead.
        let config = self.config(&self.url(), "one");
        start(PostgresConfig { waiting_max, tracer: tracer.clone(), ..config }, now)
    }
}

/// Opens a store.
pub(crate) fn start(config: PostgresConfig, now: Timestamp) -> (Store, Recovery) {
    // On a thread without a runtime, since the test has one.
    let open = move || Database::open(config).and_then(|database| database.start(now));
    std::thread::spawn(open).join().expect("no panic").expect("the store opens")
}
