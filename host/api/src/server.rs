//! Accepts connections and serves the router on them, within bounds, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

/// How long to wait after the system refused to hand out a connection, as it does when file
/// descriptors run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Bytes of the largest head of a request, and of what is written ahead for a client that is slow to read: a
/// few pieces of a stream.
const BUFFER_BYTES: usize = 64 << 10;

/// The bounds of the server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How many connections are served at the same time; further ones wait in the backlog.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, and to stay idle between two.
    pub head_timeout: Duration,
    /// How long requests under way may take to end when the server stops.
    pub stop_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// A server that accepts connections until it is stopped or dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    acceptor: JoinHandle<()>,
}

impl Server {
    /// Starts to serve `router` on `listener`.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no address.
    pub fn start(listener: TcpListener, router: Router, config: ServerConfig) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let acceptor = tokio::spawn(accept(listener, router, config, stopped));
        Ok(Self { address, stop: Some(stop), acceptor })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets requests under way end, and returns.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if let Err(error) = (&mut self.acceptor).await {
            tracing::error!(%error, "the server ended badly");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    config: ServerConfig,
    mut stopped: oneshot::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(config.connections_max));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .pipeline_flush(true)
        .max_buf_size(BUFFER_BYTES);
    loop {
        let (stream, place) = tokio::select! {
            accepted = next(&listener, &places) => accepted,
            _ = &mut stopped => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(config.stop_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut off");
    }
}

async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "failed to set TCP_NODELAY");
                }
                return (stream, place);
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
