//! How many connections leave this process at once: descriptors are shared with those who connect to it.
//!
//! `connector` takes a permit before it connects, and the connection keeps it until it is closed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The part of all descriptors that may be outgoing connections of guests. The host itself gets a quarter of that
/// again, so that guests that hold their connections stop no webhook.
const GUESTS_DIVISOR: u64 = 8;
const HOST_DIVISOR: u64 = 4 * GUESTS_DIVISOR;
/// At least so many connections each, and at most.
const CONNECTIONS_MIN: u64 = 8;
const CONNECTIONS_MAX: u64 = 2_048;

/// Whom connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionQuota {
    /// Guests, all of them together.
    Guests,
    /// The host, which delivers webhooks.
    Host,
}

/// The connections that may be open at once. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimit {
    permits: Arc<Semaphore>,
    pub(crate) max: usize,
}

impl ConnectionLimit {
    pub(crate) fn new(max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max)), max }
    }

    /// Returns those of the process, whose descriptors they use.
    pub(crate) fn for_process(quota: ConnectionQuota) -> Self {
        static GUESTS: LazyLock<ConnectionLimit> =
            LazyLock::new(|| ConnectionLimit::new(limit_for(GUESTS_DIVISOR)));
        static HOST: LazyLock<ConnectionLimit> =
            LazyLock::new(|| ConnectionLimit::new(limit_for(HOST_DIVISOR)));
        match quota {
            ConnectionQuota::Guests => GUESTS.clone(),
            ConnectionQuota::Host => HOST.clone(),
        }
    }

    /// Waits until there is room for one more.
    pub(crate) async fn acquire(&self) -> OwnedSemaphorePermit {
        let permits = Arc::clone(&self.permits);
        permits.acquire_owned().await.expect("the semaphore is never closed")
    }
}

fn limit_for(part: u64) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let max = (descriptors / part).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
    usize::try_from(max).unwrap_or(usize::MAX)
}

/// An open connection, which counts as one of those that there may be.
#[derive(Debug)]
pub struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
