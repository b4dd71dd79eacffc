//! A few connections that only read, each for one query at a time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use wasmill_store::StoreError;
use wasmill_store::commit::OutageLog;

use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::connection::server::{PATIENCE, Purpose, RECONNECT_WAIT, Server};

/// Maximum time of a query; the server ends it before, unless it is stopped itself.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// Maximum idle connections for writes that need no turn.
const IDLE_WRITERS_MAX: usize = 2;

/// Looks once, and leaves what it found with the caller.
type Look = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A query that can look again.
type Query = Box<dyn FnMut(Arc<Connection>) -> Look + Send>;

/// The idle connections; further ones are opened on demand.
#[derive(Debug)]
pub(crate) struct Readers {
    server: Server,
    runtime: Handle,
    idle: Mutex<Vec<Arc<Connection>>>,
    /// Idle connections for [`Readers::write_again`].
    idle_writers: Mutex<Vec<Arc<Connection>>>,
    permits: Arc<Semaphore>,
    /// Since when no connection can be opened.
    lost_since: Mutex<Option<Instant>>,
    outage_log: OutageLog,
    readers: u32,
}

impl Readers {
    pub(crate) fn new(server: Server, runtime: Handle, readers: usize) -> Self {
        let readers = u32::try_from(readers).unwrap_or(u32::MAX).clamp(1, 1_024);
        let permits = Arc::new(Semaphore::new(readers as usize));
        let outage_log = OutageLog::new("reading from the database");
        Self {
            server,
            runtime,
            idle: Mutex::default(),
            idle_writers: Mutex::default(),
            permits,
            lost_since: Mutex::default(),
            outage_log,
            readers,
        }
    }

    /// Runs a query on a connection of its own; runs it again if that is lost, as in a restart of the server.
    pub(crate) async fn read<T, F>(
        self: &Arc<Self>,
        query: impl FnOnce(Arc<Connection>) -> F + Clone + Send + 'static,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.outage_log.record(self.look(query).await)
    }

    /// Runs a query in the background, whose failure is no news: the next one comes soon, and requests tell.
    pub(crate) async fn look<T, F>(
        self: &Arc<Self>,
        query: impl FnOnce(Arc<Connection>) -> F + Clone + Send + 'static,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let answer = Arc::new(Mutex::new(None));
        let answered = Arc::clone(&answer);
        let query = move |connection| -> Look {
            let (look, answered) = (query.clone()(connection), Arc::clone(&answered));
            Box::pin(async move {
                let found = look.await?;
                *answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
                Ok(())
            })
        };
        self.spawn(Box::new(query)).await?;
        let found = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        found.ok_or(StoreError::Closed)
    }

    /// Of one type for all queries, since each type of a spawned future is compiled anew.
    async fn spawn(self: &Arc<Self>, query: Query) -> std::result::Result<(), StoreError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let readers = self.clone();
        let looked = self.runtime.spawn(async move {
            let looked = readers.run(query).await;
            drop(permit);
            looked.map_err(|error| error.of_store(&readers.server.address.to_string()))
        });
        looked.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs short writes that need no turn, on a connection that is closed afterwards.
    pub(crate) async fn write<T, F>(
        self: &Arc<Self>,
        write: impl FnOnce(Arc<Connection>) -> F + Send + 'static,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let readers = self.clone();
        let written = self.runtime.spawn(async move {
            let written = async { write(readers.server.connect(Purpose::Live).await?).await }.await;
            written.map_err(|error| error.of_store(&readers.server.address.to_string()))
        });
        written.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs short writes that need no turn and may be made twice, on a connection that further ones use. Runs them again if
    /// it is lost, as in a restart of the server.
    pub(crate) async fn write_again<T, F>(
        self: &Arc<Self>,
        write: impl FnOnce(Arc<Connection>) -> F + Clone + Send + 'static,
    ) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let readers = self.clone();
        let written = self.runtime.spawn(async move {
            let written = readers.write_until_found(write).await;
            written.map_err(|error| error.of_store(&readers.server.address.to_string()))
        });
        written.await.map_err(|_| StoreError::Closed)?
    }

    async fn write_until_found<T, F>(&self, write: impl FnOnce(Arc<Connection>) -> F + Clone) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let began = Instant::now();
        let mut idle = self.idle_writers().pop().filter(|connection| !connection.is_closed());
        loop {
            let write = write.clone();
            let connection = match idle.take() {
                Some(connection) => Ok(connection),
                None => self.server.connect(Purpose::Live).await,
            };
            let written = match connection {
                Ok(connection) => write(connection.clone()).await.map(|written| (written, connection)),
                Err(error) => Err(error),
            };
            match written {
                Ok((written, connection)) => {
                    let mut idle = self.idle_writers();
                    if idle.len() < IDLE_WRITERS_MAX && !self.permits.is_closed() {
                        idle.push(connection);
                    }
                    return Ok(written);
                }
                Err(error) if error.is_lost() && began.elapsed() < PATIENCE => sleep(RECONNECT_WAIT).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until no read is running and closes every connection.
    pub(crate) async fn close(&self) {
        let all = self.permits.acquire_many(self.readers).await;
        self.permits.close();
        self.idle().clear();
        self.idle_writers().clear();
        drop(all);
    }

    async fn run(&self, mut query: Query) -> Result<()> {
        let began = Instant::now();
        let mut idle = self.idle().pop().filter(|connection| !connection.is_closed());
        loop {
            let connection = match idle.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            match timeout(SILENCE_MAX, query(connection.clone())).await.unwrap_or(Err(Error::Silent)) {
                Ok(()) => {
                    self.idle().push(connection);
                    return Ok(());
                }
                Err(error) if error.is_lost() && began.elapsed() < PATIENCE => sleep(RECONNECT_WAIT).await,
                // The connection may be unusable; the next read opens another.
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects; waits for a while if the server is gone, as for a restart.
    async fn connect(&self) -> Result<Arc<Connection>> {
        loop {
            let error = match self.server.connect(Purpose::Read).await {
                Ok(connection) => {
                    *self.lost_since() = None;
                    return Ok(connection);
                }
                Err(error) => error,
            };
            let lost_since = *self.lost_since().get_or_insert_with(Instant::now);
            if !error.is_lost() || lost_since.elapsed() > PATIENCE {
                return Err(error);
            }
            sleep(RECONNECT_WAIT).await;
        }
    }

    fn lost_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_writers(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.idle_writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
