//! Accepts connections and serves the router on them until it is stopped.
//!
//! Every request passes the access policy first. Connections, bodies and idle times are bounded.

mod access_policy;
mod connection;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Request, Response};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;
use wasmill_access::Access;
use wasmill_runtime::CLIENT_DESCRIPTORS;

use self::access_policy::Decision;
pub use self::access_policy::{
    AccessPolicy, HostName, InvalidHostName, InvalidNetwork, InvalidOrigin, Network, Origin,
};
use self::connection::{Connection, Exchange, RequestBody, Timeouts};
use crate::http::authorize::Peer;
use crate::http::body_budget::BodyBudget;
use crate::http::sse::EVENT_STREAM;

/// Delay before `accept` is retried after an error such as EMFILE, and the interval between log messages.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
const ACCEPT_WARNING: Duration = Duration::from_secs(60);

/// Length of the kernel's accept queue.
const BACKLOG: u32 = 1_024;

/// Kernel send buffer of a connection. The default grows to megabytes per connection, times ten thousand
/// connections, and delays the detection of a client that does not read.
const SEND_BUFFER_BYTES: u32 = 256 << 10;

/// Maximum size of a request head, and of the response bytes buffered for a slow client.
const BUFFER_BYTES: usize = 64 << 10;

/// How long a response is still written after the client has closed its side.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a stream of events may take to end when the server stops; by then its source has ended.
const STREAM_STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Limits of the server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Maximum number of open connections; more wait in the accept queue.
    pub connections_max: usize,
    /// How long a client may take to send a request head.
    pub head_timeout: Duration,
    /// How long a connection may stay idle between two requests.
    pub idle_timeout: Duration,
    /// How long a client may go without reading any of its response.
    pub write_timeout: Duration,
    /// How long open requests may take to finish when the server stops.
    pub stop_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections_max: CLIENT_DESCRIPTORS as usize,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// Binds a listening socket. Connections queue until a server accepts them.
///
/// # Errors
///
/// Fails if the address is in use, or does not belong to this machine.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Allows a restart while old connections are still in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Handle to a server; stops it.
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    finished: oneshot::Receiver<()>,
}

/// State that all connections share.
struct Shared {
    router: TowerToHyperService<Router>,
    access_policy: AccessPolicy,
    access: Access,
    body_budget: BodyBudget,
    timeouts: Timeouts,
}

impl Server {
    /// Creates a server for `router` on `listener`, and the accept loop to spawn, which ends when the server
    /// is stopped.
    ///
    /// # Errors
    ///
    /// Fails if the listener has no address.
    pub fn new(
        listener: TcpListener,
        router: Router,
        access_policy: AccessPolicy,
        access: Access,
        body_budget: BodyBudget,
        config: ServerConfig,
    ) -> std::io::Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (finishing, finished) = oneshot::channel::<()>();
        let timeouts = Timeouts {
            head: config.head_timeout,
            idle: config.idle_timeout,
            write: config.write_timeout,
            half_closed: HALF_CLOSED_TIMEOUT,
        };
        let router = TowerToHyperService::new(router);
        let shared = Arc::new(Shared { router, access_policy, access, body_budget, timeouts });
        let run = async move {
            accept(listener, shared, config, stopped).await;
            drop(finishing);
        };
        Ok((Self { address, stop, finished }, run))
    }

    /// Returns the listening address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting connections, waits for open requests, and returns.
    pub async fn stop(self) {
        // Both fail only if the loop has already ended.
        let _ = self.stop.send(());
        let _ = self.finished.await;
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    config: ServerConfig,
    mut stopped: oneshot::Receiver<()>,
) {
    let permits = Arc::new(Semaphore::new(config.connections_max));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    // `Connection` enforces its own timeouts.
    http.header_read_timeout(None).half_close(true).max_header_size(BUFFER_BYTES).max_buf_size(BUFFER_BYTES);
    let mut warned_at = None;
    let stopping = watch::Sender::new(());
    loop {
        let (stream, peer, permit) = tokio::select! {
            accepted = accept_next(&listener, &permits, &mut warned_at) => accepted,
            _ = &mut stopped => break,
        };
        let exchange = Arc::<Exchange>::default();
        let socket = Connection::new(stream, shared.timeouts, Arc::clone(&exchange));
        let overdue = stream_overdue(stopping.subscribe(), Arc::clone(&exchange));
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request: Request<_>| {
            let (shared, exchange) = (Arc::clone(&shared), Arc::clone(&exchange));
            async move {
                let _handling = exchange.enter_handler();
                let request = request.map(|body| RequestBody::new(body, Arc::clone(&exchange)));
                let mut response = shared.respond(request, peer).await;
                let kind = response.headers().get(CONTENT_TYPE);
                exchange.set_event_stream(kind.is_some_and(|kind| kind == EVENT_STREAM));
                if exchange.has_unread_body() {
                    // The unread body precedes the next request on the wire, so the connection must close.
                    // Without this header a client could send its next request meanwhile, and lose it.
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            let _permit = permit;
            let ended = tokio::select! {
                ended = connection => ended,
                () = overdue => Ok(()),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "connection failed");
            }
        });
    }
    drop((listener, stopping));
    if tokio::time::timeout(config.stop_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests still open after the stop timeout were aborted");
    }
}

/// Returns if the server stops and the connection is still writing a stream of events: its client does not read it.
async fn stream_overdue(mut stopping: watch::Receiver<()>, exchange: Arc<Exchange>) {
    // Fails when the sender is dropped, which is the signal.
    let _ = stopping.changed().await;
    tokio::time::sleep(STREAM_STOP_TIMEOUT).await;
    if !exchange.is_event_stream() {
        std::future::pending::<()>().await;
    }
}

impl Shared {
    /// Answers one request: by the access policy, or by its route.
    async fn respond(&self, mut request: Request<RequestBody>, peer: IpAddr) -> Response<Body> {
        let is_open = self.access.is_open();
        if !is_open {
            request.extensions_mut().insert(Peer(peer));
        }
        let origin = match self.access_policy.check(&request, peer, is_open) {
            Ok(Decision::Allow(origin)) => origin,
            Ok(Decision::Preflight(origin)) => return access_policy::preflight(origin),
            Err(problem) => {
                let mut response = problem.to_response(request.uri().path());
                access_policy::add_headers(response.headers_mut(), None);
                return response;
            }
        };
        let (uri, may_refuse) = (request.uri().clone(), access_policy::is_safe(request.method()));
        let Ok(response) = self.router.call(request).await;
        let mut response = match self.body_budget.track(response, may_refuse) {
            Ok(response) => response,
            Err(problem) => problem.to_response(uri.path()),
        };
        access_policy::add_headers(response.headers_mut(), origin);
        response
    }
}

async fn accept_next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    warned_at: &mut Option<Instant>,
) -> (TcpStream, IpAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "failed to set TCP_NODELAY");
                }
                return (stream, peer.ip(), permit);
            }
            Err(error) => {
                if warned_at.is_none_or(|warned_at| warned_at.elapsed() >= ACCEPT_WARNING) {
                    tracing::warn!(%error, "failed to accept a connection, retrying (logged at most once a \
                                            minute)");
                    *warned_at = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
