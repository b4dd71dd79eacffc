//! The operations of the inbox.

use std::time::Duration;

use async_trait::async_trait;
use wasmill_model::Timestamp;
use wasmill_store::{Inbox, InboxBacklog, InboxOutcome, InboxRequest, InboxTask, StoreError};

use crate::postgres::Postgres;
use crate::queue::inbox::{self, TakeInbox};

/// How often each host looks for rows, times the hosts; and the longest time between two looks.
const LOOK_PER_HOST: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_secs(1);

#[async_trait]
impl Inbox for Postgres {
    async fn wait_for_inbox(&self) {
        loop {
            let hosts = u32::try_from(self.others.hosts()).unwrap_or(u32::MAX);
            tokio::time::sleep(LOOK_PER_HOST.saturating_mul(hosts).min(LOOK_MAX)).await;
            // If the database is away, others log it.
            if let Ok(true) =
                self.readers.look(async move |connection| inbox::has_rows(&connection).await).await
            {
                return;
            }
        }
    }

    async fn inbox(&self, without: Vec<String>) -> Result<Vec<InboxRequest>, StoreError> {
        self.readers.read(async move |connection| inbox::read(&connection, &without).await).await
    }

    async fn take_inbox(
        &self,
        tasks: Vec<InboxTask>,
        now: Timestamp,
    ) -> Result<Vec<InboxOutcome>, StoreError> {
        self.writer.write(TakeInbox { tasks, waiting_max: self.waiting_max, now }).await
    }

    async fn inbox_backlog(&self) -> Result<InboxBacklog, StoreError> {
        self.readers.read(async move |connection| inbox::backlog(&connection).await).await
    }
}
