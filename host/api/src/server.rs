//! Accepts connections and serves the router on them, behind the front door and within bounds, until told to
//! stop.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::access_policy::{self, AccessPolicy, Visit};
use crate::body_budget::BodyBudget;
use crate::connection::{Connection, Exchange, RequestBody, Timeouts};

/// How long to wait after the system refused to hand out a connection, as it does when file
/// descriptors run out, and how often to say so.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
const ACCEPT_WARNING: Duration = Duration::from_secs(60);

/// Connections that the system keeps ready to be accepted.
const BACKLOG: u32 = 1_024;

/// Bytes that the system takes for a client which does not read. By itself it takes megabytes, for each of ten
/// thousand clients, and then says nothing of a slow one until it has taken a third of them.
const SEND_BUFFER_BYTES: u32 = 256 << 10;

/// Bytes of the largest head of a request, and of what is written ahead for a client that is slow to read: a
/// few pieces of a stream.
const BUFFER_BYTES: usize = 64 << 10;

/// How long a client that has closed its side may wait for its answer.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// The bounds of the server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How many connections are served at the same time; further ones wait in the backlog.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request.
    pub head_timeout: Duration,
    /// How long a connection may stay idle between two requests.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// How long requests under way may take to end when the server stops.
    pub stop_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// Begins to listen. Connections wait until a server is run on it.
///
/// # Errors
///
/// Fails if the address is in use, or is none of this machine.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As long as the last server's connections are not forgotten.
    socket.set_reuseaddr(true)?;
    // Those that are accepted inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A server that accepts connections from when it is run until it is stopped.
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// What every connection of a server shares.
struct Shared {
    router: TowerToHyperService<Router>,
    access_policy: AccessPolicy,
    bodies: BodyBudget,
    timeouts: Timeouts,
}

impl Server {
    /// Makes a server for `router` on `listener`, and what runs it: a loop that ends when the server is stopped.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no address.
    pub fn new(
        listener: TcpListener,
        router: Router,
        access_policy: AccessPolicy,
        bodies: BodyBudget,
        config: ServerConfig,
    ) -> std::io::Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel::<()>();
        let timeouts = Timeouts {
            head: config.head_timeout,
            idle: config.idle_timeout,
            write: config.write_timeout,
            half_closed: HALF_CLOSED_TIMEOUT,
        };
        let router = TowerToHyperService::new(router);
        let shared = Arc::new(Shared { router, access_policy, bodies, timeouts });
        let run = async move {
            accept(listener, shared, config, stopped).await;
            drop(ending);
        };
        Ok((Self { address, stop, ended }, run))
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets requests under way end, and returns.
    pub async fn stop(self) {
        // It may have ended already, and nothing is ever sent: either way it is over.
        let _ = self.stop.send(());
        let _ = self.ended.await;
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    config: ServerConfig,
    mut stopped: oneshot::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(config.connections_max));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    // The connection has time limits of its own.
    http.header_read_timeout(None).half_close(true).max_header_size(BUFFER_BYTES).max_buf_size(BUFFER_BYTES);
    let mut warned_at = None;
    loop {
        let (stream, peer, place) = tokio::select! {
            accepted = next(&listener, &places, &mut warned_at) => accepted,
            _ = &mut stopped => break,
        };
        let exchange = Arc::<Exchange>::default();
        let socket = Connection::new(stream, shared.timeouts, Arc::clone(&exchange));
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request: Request<_>| {
            let (shared, exchange) = (Arc::clone(&shared), Arc::clone(&exchange));
            async move {
                let _turn = exchange.begin();
                let request = request.map(|body| RequestBody::new(body, Arc::clone(&exchange)));
                let mut response = shared.answer(request, peer).await;
                if exchange.has_rest() {
                    // The rest stands where the next request would begin, so the connection is closed. A client
                    // that is not told may send its next request just then, and lose it.
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(socket), service));
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

impl Shared {
    /// Answers one request, at the door or by its route.
    async fn answer(&self, request: Request<RequestBody>, peer: IpAddr) -> Response<Body> {
        let origin = match self.access_policy.check(&request, peer) {
            Ok(Visit::Enters(origin)) => origin,
            Ok(Visit::Asks(origin)) => return access_policy::preflight(origin),
            Err(problem) => {
                let mut response = problem.document(request.uri().path());
                access_policy::see_out(response.headers_mut(), None);
                return response;
            }
        };
        let (uri, may_refuse) = (request.uri().clone(), access_policy::is_safe(request.method()));
        let Ok(response) = self.router.call(request).await;
        let mut response = match self.bodies.count(response, may_refuse) {
            Ok(response) => response,
            Err(problem) => problem.document(uri.path()),
        };
        access_policy::see_out(response.headers_mut(), origin);
        response
    }
}

async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    warned_at: &mut Option<Instant>,
) -> (TcpStream, IpAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "failed to set TCP_NODELAY");
                }
                return (stream, peer.ip(), place);
            }
            Err(error) => {
                if warned_at.is_none_or(|warned_at| warned_at.elapsed() >= ACCEPT_WARNING) {
                    tracing::warn!(%error, "failed to accept a connection, trying on; this is said once a minute");
                    *warned_at = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
