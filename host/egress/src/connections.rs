//! Limits the outgoing connections of this process: descriptors are shared with its clients.
//!
//! `connector` acquires a permit before it connects, and the connection holds it until it is closed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::either::Either;

/// Guests may use this fraction of all descriptors for outgoing connections. The host has its own quota, a quarter
/// of that, so that guests that hold their connections block no webhook.
const GUESTS_DIVISOR: u64 = 8;
const HOST_DIVISOR: u64 = 4 * GUESTS_DIVISOR;
/// Bounds of each quota.
const CONNECTIONS_MIN: u64 = 8;
const CONNECTIONS_MAX: u64 = 2_048;
/// Connections of a connector with a quota of its own.
const OWN_MAX: usize = 64;

/// Which quota a connection counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionQuota {
    /// The quota of all guests together.
    Guests,
    /// The quota of the host, for webhooks.
    Host,
    /// A quota of this connector alone, for few connections.
    Own,
}

/// The right to hold one open connection, until it is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
}

impl From<OwnedSemaphorePermit> for ConnectionPermit {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}

/// A limit on open connections. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimit {
    permits: Arc<Semaphore>,
    pub(crate) max: usize,
}

impl ConnectionLimit {
    pub(crate) fn new(max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max)), max }
    }

    /// Returns the limit of this process for a quota.
    pub(crate) fn for_process(quota: ConnectionQuota) -> Self {
        static GUESTS: LazyLock<ConnectionLimit> =
            LazyLock::new(|| ConnectionLimit::new(limit_for(GUESTS_DIVISOR)));
        static HOST: LazyLock<ConnectionLimit> =
            LazyLock::new(|| ConnectionLimit::new(limit_for(HOST_DIVISOR)));
        match quota {
            ConnectionQuota::Guests => GUESTS.clone(),
            ConnectionQuota::Host => HOST.clone(),
            ConnectionQuota::Own => Self::new(OWN_MAX),
        }
    }

    /// Waits for a permit.
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

/// Bytes that went over a connection, those of TLS and headers included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Bytes that this process sent.
    Sent(usize),
    /// Bytes that it received.
    Received(usize),
}

/// Counts bytes.
pub type TrafficMeter = Arc<dyn Fn(Traffic) + Send + Sync>;

/// An open connection, which holds its permit and counts its bytes.
pub(crate) struct Connection {
    pub(crate) stream: Either<TcpStream, UnixStream>,
    pub(crate) meter: Option<TrafficMeter>,
    pub(crate) _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn count(&self, traffic: Traffic) {
        if let Some(meter) = &self.meter {
            meter(traffic);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.count(Traffic::Received(buffer.filled().len() - before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.count(Traffic::Sent(written));
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, pieces))?;
        self.count(Traffic::Sent(written));
        Poll::Ready(Ok(written))
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
