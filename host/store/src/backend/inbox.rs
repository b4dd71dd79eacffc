//! The inbox: tasks that clients of the database submit within their own transactions.

use std::future::pending;

use wasmill_model::Timestamp;

use crate::{InboxBacklog, InboxOutcome, InboxRequest, InboxTask, StoreError};

/// Tasks that clients of the database submit within their own transactions. A database that nobody else can open has
/// none and implements nothing. See [`Backend`](crate::Backend) for what holds for every method.
#[async_trait::async_trait]
pub trait Inbox {
    /// Resolves when there are rows.
    async fn wait_for_inbox(&self) {
        pending::<()>().await;
    }

    /// Returns the oldest rows, up to 500 and 4 MiB of input, without those for these plugins.
    async fn inbox(&self, _without: Vec<String>) -> Result<Vec<InboxRequest>, StoreError> {
        Ok(Vec::new())
    }

    /// Replaces rows by tasks, in this order; durable on return. Returns the outcome of each. A row becomes a task once,
    /// also if several hosts take it at the same time.
    async fn take_inbox(
        &self,
        _tasks: Vec<InboxTask>,
        _now: Timestamp,
    ) -> Result<Vec<InboxOutcome>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns how much waits.
    async fn inbox_backlog(&self) -> Result<InboxBacklog, StoreError> {
        Ok(InboxBacklog::default())
    }
}
