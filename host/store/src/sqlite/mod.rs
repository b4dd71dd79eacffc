//! The store on an embedded SQLite database, in the file `wasmill.db` of the data folder.
//!
//! [`Store`](crate::Store) calls it. One thread writes, a few connections read; nothing else
//! touches the file.

mod batch;
mod cancel;
mod claim;
mod connection;
mod fault;
mod finish;
mod insert;
mod lock;
mod migrations;
mod queries;
mod readers;
mod recover;
mod remove;
mod returned;
mod rows;
mod save;
mod writer;

use std::path::Path;
use std::sync::Arc;

use wasmill_model::{NewTask, Next, PluginName, Task, TaskId, TaskState, Timestamp};

use self::batch::Batcher;
use self::cancel::Cancel;
use self::claim::ClaimReady;
use self::finish::Finish;
use self::insert::Insert;
use self::lock::Lock;
use self::readers::Readers;
use self::remove::Remove;
use self::returned::Returned;
use self::save::Save;
use self::writer::{Figures, Writer};
use crate::report::ReportBoard;
use crate::{
    Cancelled, Claim, Claims, Counts, ListQuery, Page, Recovery, Share, StoreConfig, StoreError, StoreStats,
};

/// An open database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    readers: Arc<Readers>,
    // Dropped after the readers: the last connection to close empties the write-ahead log, and only
    // this one may write.
    writer: Writer,
    figures: Arc<Figures>,
    reports: Arc<ReportBoard>,
    returned: Arc<Returned>,
    waiting_max: u64,
}

impl Sqlite {
    pub(crate) fn open(config: StoreConfig, now: Timestamp) -> Result<(Self, Recovery), StoreError> {
        let StoreConfig { dir, waiting_max, readers } = config;
        connection::create_dir(&dir)?;
        let lock = Lock::take(&dir)?;
        let path: Arc<Path> = dir.join("wasmill.db").into();
        let connection = connection::writer(&path)?;
        let faulty = |error| fault::fault(&path, &error);
        let (recovery, line) = recover::recover(&connection, now).map_err(faulty)?;
        let figures = Arc::new(Figures::new(line));
        let reports = Arc::new(ReportBoard::default());
        let returned = Arc::new(Returned::default());
        let batcher =
            Batcher::new(connection, path.clone(), line, figures.clone(), reports.clone(), returned.clone());
        let writer = Writer::start(batcher, lock)?;
        let readers = Arc::new(Readers::new(path, readers));
        Ok((Self { writer, readers, figures, reports, returned, waiting_max }, recovery))
    }

    pub(crate) async fn insert(&self, tasks: Vec<NewTask>) -> Result<(), StoreError> {
        self.writer.write(Insert { tasks, waiting_max: self.waiting_max }).await?
    }

    pub(crate) async fn claim(
        &self,
        shares: Vec<Share>,
        tasks_max: usize,
        now: Timestamp,
    ) -> Result<Claims, StoreError> {
        let returned = self.returned.clone();
        let claim = ClaimReady { shares, tasks_max, now, returned };
        Ok(self.writer.write(claim).await?.accept())
    }

    pub(crate) async fn finish(
        &self,
        claim: &Claim,
        next: Next,
        log: Option<String>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer.write(Finish { claim: claim.clone(), next, log, now }).await
    }

    pub(crate) async fn cancel(&self, id: TaskId, now: Timestamp) -> Result<Cancelled, StoreError> {
        self.writer.write(Cancel { id, now }).await
    }

    pub(crate) async fn remove(&self, id: TaskId) -> Result<Option<TaskState>, StoreError> {
        self.writer.write(Remove { id }).await
    }

    pub(crate) async fn save(&self, claim: &Claim, state: Vec<u8>) -> Result<bool, StoreError> {
        self.writer.write(Save { claim: claim.clone(), state }).await
    }

    pub(crate) async fn restore(&self, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError> {
        let claim = claim.clone();
        self.readers.read(move |connection| queries::checkpoint(connection, &claim)).await
    }

    pub(crate) async fn get(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let reports = self.reports.clone();
        self.readers.read(move |connection| queries::task(connection, id, &reports)).await
    }

    pub(crate) async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        let reports = self.reports.clone();
        self.readers.read(move |connection| queries::page(connection, query, &reports)).await
    }

    pub(crate) async fn log(&self, id: TaskId) -> Result<Option<String>, StoreError> {
        self.readers.read(move |connection| queries::log(connection, id)).await
    }

    pub(crate) async fn waiting(
        &self,
        plugins: Vec<PluginName>,
        most: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.readers.read(move |connection| queries::waiting(connection, &plugins, most)).await
    }

    pub(crate) fn counts(&self) -> Counts {
        self.figures.counts()
    }

    pub(crate) fn stats(&self) -> StoreStats {
        self.figures.stats()
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
