//! Secrets that all hosts share.

use async_trait::async_trait;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::get;
use crate::writer::batch::{Batch, Operation};

const FIND: &str = "SELECT body FROM secret WHERE name = $1";
const SHARE: &str = "
    INSERT INTO secret (name, body) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET body = excluded.body WHERE secret.body = $3";

/// Returns the secret of this name.
pub(crate) async fn find(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>> {
    connection.optional(FIND, &[&name]).await?.map(|row| get(&row, 0)).transpose()
}

/// Stores a secret if there is none of its name, or another one that it replaces.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) name: &'static str,
    pub(crate) own: Vec<u8>,
    pub(crate) replaced: Option<Vec<u8>>,
}

#[async_trait]
impl Operation for Share {
    /// What is stored.
    type Answer = Option<Vec<u8>>;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Option<Vec<u8>>> {
        let Self { name, own, replaced } = self;
        batch.connection.execute(SHARE, &[name, own, replaced]).await?;
        find(batch.connection, name).await
    }
}
