//! One connection, with its prepared statements.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, Statement};

use crate::connection::fault::{Error, Result};

/// Values of a statement.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement that writes, with its values.
pub(crate) struct Write<'a> {
    pub(crate) sql: &'static str,
    pub(crate) values: Vec<Box<dyn ToSql + Sync + Send + 'a>>,
}

/// An open connection. Statements that are awaited together are sent together.
pub(crate) struct Connection {
    client: Client,
    /// Whose sender goes with the driver.
    ended: watch::Receiver<()>,
    prepared: Mutex<HashMap<&'static str, Statement>>,
    /// How many warnings the server has sent.
    warnings: Arc<AtomicU64>,
    /// Notified when the server passes on a notification.
    notified: Arc<Notify>,
}

impl Connection {
    /// Spawns the driver of a connection, which closes when the connection is dropped.
    pub(crate) fn new<S, T>(client: Client, driver: tokio_postgres::Connection<S, T>) -> Arc<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (driving, ended) = watch::channel(());
        let warnings = Arc::<AtomicU64>::default();
        let notified = Arc::<Notify>::default();
        let (counted, notifying) = (Arc::clone(&warnings), Arc::clone(&notified));
        tokio::spawn(async move {
            let _driving = driving;
            if let Err(error) = drive(driver, &counted, &notifying).await {
                tracing::debug!(%error, "a connection to the database ended");
            }
        });
        Arc::new(Self { client, ended, prepared: Mutex::default(), warnings, notified })
    }

    #[cfg(test)]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns true if the connection can no longer be used.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Resolves when the connection can no longer be used.
    pub(crate) async fn closed(&self) {
        // Nothing is ever sent.
        let _ = self.ended.clone().changed().await;
    }

    /// Resolves when a notification has come on a channel that this connection listens on, since the last call.
    pub(crate) async fn notified(&self) {
        self.notified.notified().await;
    }

    /// Runs statements without values.
    pub(crate) async fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Does something that commits. A commit that was cancelled while it waited for a standby succeeds with a warning:
    /// it is on this server, and a failover may lose it.
    ///
    /// # Errors
    ///
    /// [`Error::NotReplicated`] then; a later commit without it proves that this one has reached the standby.
    pub(crate) async fn durably<T>(&self, committing: impl Future<Output = Result<T>>) -> Result<T> {
        let before = self.warnings.load(Ordering::SeqCst);
        let committed = committing.await?;
        if self.warnings.load(Ordering::SeqCst) == before { Ok(committed) } else { Err(Error::NotReplicated) }
    }

    pub(crate) async fn query(&self, sql: &'static str, values: Params<'_>) -> Result<Vec<Row>> {
        Ok(self.client.query(&self.prepared(sql).await?, values).await?)
    }

    /// Returns the only row, if there is one.
    pub(crate) async fn optional(&self, sql: &'static str, values: Params<'_>) -> Result<Option<Row>> {
        Ok(self.client.query_opt(&self.prepared(sql).await?, values).await?)
    }

    pub(crate) async fn one(&self, sql: &'static str, values: Params<'_>) -> Result<Row> {
        let row = self.optional(sql, values).await?;
        row.ok_or_else(|| Error::Value(format!("no row of {}", sql.trim())))
    }

    /// Returns the number of rows that were written.
    pub(crate) async fn execute(&self, sql: &'static str, values: Params<'_>) -> Result<u64> {
        Ok(self.client.execute(&self.prepared(sql).await?, values).await?)
    }

    /// Writes these and commits the transaction, in one round trip. If one of them fails, the transaction is rolled back.
    pub(crate) async fn commit(&self, last: &[Write<'_>]) -> Result<()> {
        // Before any is sent: what is not prepared would come after the commit.
        for Write { sql, .. } in last {
            if let Err(error) = self.prepare(sql).await {
                self.batch("ROLLBACK").await?;
                return Err(error);
            }
        }
        let writes = try_join_all(last.iter().map(async |Write { sql, values }| {
            let values: Vec<_> = values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
            self.execute(sql, &values).await
        }));
        tokio::try_join!(biased; writes, self.batch("COMMIT"))?;
        Ok(())
    }

    /// Prepares a statement, so that its first use can be sent together with others.
    pub(crate) async fn prepare(&self, sql: &'static str) -> Result<()> {
        self.prepared(sql).await.map(drop)
    }

    async fn prepared(&self, sql: &'static str) -> Result<Statement> {
        let known = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, statement.clone());
        Ok(statement)
    }
}

/// Drives a connection until it ends. A warning is counted before the answer that it belongs to arrives.
async fn drive<S, T>(
    mut driver: tokio_postgres::Connection<S, T>,
    warnings: &AtomicU64,
    notified: &Notify,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| driver.poll_message(context)).await {
        let notice = match message? {
            AsyncMessage::Notice(notice) => notice,
            AsyncMessage::Notification(_) => {
                notified.notify_one();
                continue;
            }
            _ => continue,
        };
        if notice.parsed_severity() == Some(Severity::Warning) {
            warnings.fetch_add(1, Ordering::SeqCst);
            tracing::warn!(code = notice.code().code(), "the database warns: {}", notice.message());
        } else {
            tracing::debug!("the database says: {}", notice.message());
        }
    }
    Ok(())
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
