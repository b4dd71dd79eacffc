//! The write connection when it is lost, and the transaction of which nobody knows whether it was committed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Batcher, Unknown};
use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};

/// Waits for a transaction of the last connection that has not ended yet, and fails what that one still sends.
const RESUME: &str = "
    UPDATE writer SET epoch = epoch + 1 WHERE host = $1 AND is_live RETURNING epoch, batch";
/// The last transaction of a host that was taken for dead.
const LAST_BATCH: &str = "SELECT batch FROM writer WHERE host = $1";

/// How long the server may take to resume. It waits for the last transaction, which is ended, and for the standby.
const RESUME_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of no transaction: a host that has it reads what others have changed.
const NONE_KNOWN: i64 = -1;

/// How often an idle writer tries to connect.
const IDLE_RECONNECT_WAIT: Duration = Duration::from_secs(1);

impl Batcher {
    /// Returns the write connection. Connects anew if it is gone, and then finds out about the last transaction;
    /// registers anew if others took this host for dead.
    pub(super) async fn connected(&mut self) -> Result<Arc<Connection>> {
        let open = self.connection.take().filter(|connection| !connection.is_closed());
        let connection = match open {
            Some(connection) if !self.is_revoked => {
                self.connection = Some(Arc::clone(&connection));
                return Ok(connection);
            }
            Some(connection) => connection,
            None => self.server.connect_anew().await?,
        };
        let resumed = timeout(RESUME_TIMEOUT, self.resume(&connection)).await;
        let batch = resumed.unwrap_or(Err(Error::Silent))?;
        let is_unknown = self.unknown.is_some() && batch.is_none();
        if let Some(Unknown { number, ran, jobs, abandoned }) = self.unknown.take() {
            match batch {
                Some(batch) if batch == number => self.publish(number, ran),
                Some(_) => self.abandoned.requeue(abandoned),
                // It was forgotten with the host, and what it claimed was put back.
                None => {}
            }
            // Their callers know nothing of it: what they claimed is put back.
            drop(jobs);
        }
        // A failover may have lost transactions, and others have written since: their number says nothing.
        self.writes = NONE_KNOWN;
        if !self.is_revoked && batch.is_some_and(|batch| batch < self.durable) {
            tracing::error!(
                "the database has lost transactions that it had acknowledged, as a failover to a standby does that did \
                 not have them; answers about them may be wrong, and tasks may run again"
            );
            self.is_revoked = true;
        }
        if self.is_revoked {
            tracing::warn!(
                "this host is no longer registered, and others may run its tasks; it registers anew"
            );
            self.register(&connection, self.clock.now()).await?;
        }
        tracing::info!("connected to the database again");
        self.connection = Some(Arc::clone(&connection));
        if is_unknown { Err(Error::Unknown) } else { Ok(connection) }
    }

    /// Takes the place of the last connection, and returns the number of the last transaction that was committed.
    async fn resume(&mut self, connection: &Connection) -> Result<Option<i64>> {
        if !self.is_revoked {
            // A commit like any other: it also proves that the last transaction is where the server promises.
            let resumed = connection.durably(connection.optional(RESUME, &[&self.host])).await?;
            if let Some(row) = resumed {
                self.epoch = row.get(0);
                return Ok(Some(row.get(1)));
            }
            self.is_revoked = true;
        }
        Ok(connection.optional(LAST_BATCH, &[&self.host]).await?.map(|row| row.get(0)))
    }

    /// Resolves when there is no connection and it is time to try.
    pub(crate) async fn lost(&self) {
        match &self.connection {
            Some(connection) => connection.closed().await,
            None => sleep(IDLE_RECONNECT_WAIT).await,
        }
    }

    /// Connects again while nothing is to be written, so that a host that was taken over learns of it.
    pub(crate) async fn reconnect(&mut self) {
        if let Err(error) = self.connected().await {
            tracing::debug!(%error, "failed to connect to the database");
        }
    }
}
