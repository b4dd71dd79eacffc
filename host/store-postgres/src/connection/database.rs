//! One connection, with its prepared statements.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::connection::fault::{Error, Result};

/// Values of a statement.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// An open connection. Statements that are awaited together are sent together.
pub(crate) struct Connection {
    client: Client,
    /// Whose sender goes with the driver.
    ended: watch::Receiver<()>,
    prepared: Mutex<HashMap<&'static str, Statement>>,
}

impl Connection {
    /// Spawns the driver of a connection, which closes when the connection is dropped.
    pub(crate) fn new(
        client: Client,
        driver: impl Future<Output = std::result::Result<(), tokio_postgres::Error>> + Send + 'static,
    ) -> Arc<Self> {
        let (driving, ended) = watch::channel(());
        tokio::spawn(async move {
            let _driving = driving;
            if let Err(error) = driver.await {
                let error = Error::from(error);
                tracing::debug!(%error, "a connection to the database ended");
            }
        });
        Arc::new(Self { client, ended, prepared: Mutex::default() })
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

    /// Runs statements without values.
    pub(crate) async fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.client.batch_execute(sql).await?)
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

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
