//! Sends the hints of this host, and hears those of others, on the connection of what runs report.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::cluster::others::Others;
use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::writer::thread::WriterQueue;

/// How long to wait after a server that refuses to listen or to notify.
const RETRY_WAIT: Duration = Duration::from_secs(10);

/// A channel for each registration, in all schemas of the database.
const SEND: &str = "SELECT pg_notify('wasmill_' || id, '') FROM unnest($1::bigint[]) AS id";

/// Sends the hints of this host on a connection, and looks at those of others, until the connection ends.
pub(super) async fn carry(connection: Arc<Connection>, others: Arc<Others>, queue: WriterQueue) {
    while !connection.is_closed() {
        // Polls go on without it.
        let Err(error) = exchange(&connection, &others, &queue).await;
        tracing::debug!(%error, "failed to exchange hints with other hosts");
        tokio::select! {
            () = connection.closed() => {}
            () = sleep(RETRY_WAIT) => {}
        }
    }
}

async fn exchange(connection: &Connection, others: &Others, queue: &WriterQueue) -> Result<Infallible> {
    let mut registered = others.lease.subscribe();
    let mut heard = None;
    loop {
        let term = others.lease.term();
        if heard != Some(term) {
            connection.batch(&format!("UNLISTEN *; LISTEN wasmill_{term}")).await?;
            heard = Some(term);
            // What was sent before is lost.
            queue.catch_up();
        }
        tokio::select! {
            () = connection.notified() => queue.catch_up(),
            hosts = others.hints.next() => drop(connection.execute(SEND, &[&hosts]).await?),
            _ = registered.changed() => {}
            () = connection.closed() => return Err(Error::Silent),
        }
    }
}
