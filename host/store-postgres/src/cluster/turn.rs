//! The turn to write: one row that a transaction locks first.

use tokio_postgres::Row;

use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::read::rows::get;

const TAKE: &str = "
    UPDATE cluster SET writes = writes + 1 WHERE id = 0
    RETURNING writes, hosts, events_reserved, events_pruned";
const LOOK: &str = "SELECT writes, hosts, events_reserved, events_pruned FROM cluster WHERE id = 0";
const FENCE: &str = "UPDATE writer SET batch = $3 WHERE host = $1 AND epoch = $2 AND is_live";

/// What the row tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// The number of the latest transaction of any host.
    pub(crate) writes: i64,
    /// How many hosts are live.
    pub(crate) hosts: i64,
    /// Event numbers from here on are free.
    pub(crate) events_reserved: i64,
    /// Events before this number are no longer stored.
    pub(crate) events_pruned: i64,
}

/// By which a transaction is fenced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransactionNumber {
    pub(crate) host: i64,
    pub(crate) epoch: i64,
    pub(crate) batch: i64,
}

impl Turn {
    /// Prepares what a transaction begins with. What is not prepared would be sent after that which is sent together with it.
    pub(crate) async fn prepare(connection: &Connection) -> Result<()> {
        tokio::try_join!(connection.prepare(TAKE), connection.prepare(FENCE))?;
        Ok(())
    }

    /// Begins a transaction, waits for the turn, and gives the transaction its number, in one round trip. After
    /// [`Turn::prepare`], so that what is sent after it comes after it.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] if the registration of the host is revoked, or another connection has taken its place.
    pub(crate) async fn begin(
        connection: &Connection,
        is_durable: bool,
        has_others: bool,
        number: Option<TransactionNumber>,
    ) -> Result<Self> {
        let begin = match (is_durable, has_others) {
            (true, false) => "BEGIN",
            (false, false) => "BEGIN; SET LOCAL synchronous_commit = off",
            (true, true) => "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '1s'",
            (false, true) => {
                "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL idle_in_transaction_session_timeout = '1s'"
            }
        };
        let ((), row, ()) = tokio::try_join!(
            biased;
            connection.batch(begin),
            connection.one(TAKE, &[]),
            fence(connection, number),
        )?;
        Self::read(&row)
    }

    /// Returns how it was after the last commit.
    pub(crate) async fn look(connection: &Connection) -> Result<Self> {
        Self::read(&connection.one(LOOK, &[]).await?)
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            writes: get(row, 0)?,
            hosts: get(row, 1)?,
            events_reserved: get(row, 2)?,
            events_pruned: get(row, 3)?,
        })
    }
}

async fn fence(connection: &Connection, number: Option<TransactionNumber>) -> Result<()> {
    let Some(TransactionNumber { host, epoch, batch }) = number else { return Ok(()) };
    if connection.execute(FENCE, &[&host, &epoch, &batch]).await? == 1 { Ok(()) } else { Err(Error::Fenced) }
}
