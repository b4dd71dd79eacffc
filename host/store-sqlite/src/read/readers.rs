//! A few read-only connections, so that a long read blocks neither the writer nor the async runtime.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use wasmill_store::StoreError;
use wasmill_store::commit::OutageLog;

use crate::file::connection;
use crate::file::fault::fault;
use crate::file::home::Home;

/// The idle connections; further ones are opened on demand.
#[derive(Debug)]
pub(crate) struct Readers {
    home: Arc<Home>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    outage_log: OutageLog,
    readers: u32,
}

impl Readers {
    pub(crate) fn new(home: Arc<Home>, readers: usize) -> Self {
        let readers = u32::try_from(readers).unwrap_or(u32::MAX).clamp(1, 1_024);
        let permits = Arc::new(Semaphore::new(readers as usize));
        Self {
            home,
            idle: Mutex::default(),
            permits,
            outage_log: OutageLog::new("reading from the database"),
            readers,
        }
    }

    /// Runs a query on a blocking thread with a connection of its own.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let readers = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let read = readers.outage_log.record(readers.run(query));
            drop(permit);
            read
        });
        read.await.map_err(|error| StoreError::Unavailable { message: format!("a read ended: {error}") })?
    }

    /// Waits until no read is running and closes every connection.
    pub(crate) async fn close(&self) {
        let all = self.permits.acquire_many(self.readers).await;
        self.permits.close();
        self.idle().clear();
        drop(all);
    }

    fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let faulty = |error| fault(self.home.path(), &error);
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                // The file may belong to another host by now.
                self.home.check()?;
                connection::reader(self.home.path()).map_err(faulty)?
            }
        };
        let read = query(&connection).map_err(faulty);
        // A failed connection may be unusable; the next read opens another.
        if read.is_ok() {
            self.idle().push(connection);
        }
        read
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
