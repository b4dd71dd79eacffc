//! A data folder that goes with the test.

use std::path::{Path, PathBuf};

use wasmill_model::{Timestamp, Tracer};
use wasmill_store::{Recovery, Store};
use wasmill_store_sqlite::{Database, SqliteConfig};
use wasmill_store_suite::Fixture;

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("wasmill.db")
    }

    pub(crate) fn config(&self) -> SqliteConfig {
        SqliteConfig::new(self.path())
    }
}

impl Fixture for Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test"))
    }

    fn open_with(&self, waiting_max: u64, tracer: &Tracer, now: Timestamp) -> (Store, Recovery) {
        let config = SqliteConfig { waiting_max, tracer: tracer.clone(), ..self.config() };
        Database::open(config).and_then(|database| database.start(now)).expect("the store opens")
    }
}
