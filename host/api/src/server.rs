//! Accepts connections and serves the router on them until it is stopped.
//!
//! Every request passes the access policy first. Connections, bodies and idle times are bounded.

pub(crate) mod access_policy;
mod connection;
mod handshake;
mod listener;
mod per_address;
mod socket;
mod timer;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Request, Response};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;
use wasmill_access::Access;
use wasmill_model::BoxFuture;
use wasmill_runtime::CLIENT_DESCRIPTORS;

use self::access_policy::Decision;
pub use self::access_policy::{
    AccessPolicy, HostName, IdentityHeader, InvalidHostName, InvalidIdentityHeader, InvalidNetwork,
    InvalidOrigin, Network, Origin, ProxyIdentity,
};
use self::connection::{Connection, Exchange, RequestBody, Timeouts};
use self::handshake::Opened;
pub use self::listener::{InvalidListen, Listen, Listener};
use self::per_address::PerAddress;
use self::socket::Accepted;
use crate::http::authorize::Peer;
use crate::http::body_budget::BodyBudget;
use crate::http::sse::EVENT_STREAM;
use crate::problem::Problem;
use crate::problem::kind;

/// Delay before `accept` is retried after an error such as EMFILE, and the interval between log messages.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
const ACCEPT_WARNING: Duration = Duration::from_secs(60);

/// Maximum size of a request head, of one read of a body, and of the response bytes buffered for a slow client.
///
/// hyper keeps a head that is not complete in this buffer, so it is also what a client that never completes one costs.
const BUFFER_BYTES: usize = 16 << 10;

/// How long a response is still written after the client has closed its side.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a stream of events may take to end when the server stops; by then its source has ended.
const STREAM_STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Limits of the server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Maximum number of open connections; more wait in the accept queue.
    pub connections_max: usize,
    /// Maximum number of open connections of one address, or of one /64 of IPv6; loopback and trusted proxies are not
    /// counted.
    pub connections_per_address: usize,
    /// How long a client may take to agree on TLS.
    pub handshake_timeout: Duration,
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
            connections_per_address: 256,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// Handle to a server; stops it.
pub struct Server {
    listen: Listen,
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
    pub fn new(
        listener: Listener,
        router: Router,
        access_policy: AccessPolicy,
        access: Access,
        body_budget: BodyBudget,
        config: ServerConfig,
    ) -> (Self, BoxFuture<'static, ()>) {
        let listen = listener.listen().clone();
        let (stop, stopped) = oneshot::channel();
        let (finishing, finished) = oneshot::channel::<()>();
        let timeouts = Timeouts {
            head: config.head_timeout,
            idle: config.idle_timeout,
            half_closed: HALF_CLOSED_TIMEOUT,
        };
        let router = TowerToHyperService::new(router);
        let shared = Arc::new(Shared { router, access_policy, access, body_budget, timeouts });
        let run = Box::pin(async move {
            accept(listener, shared, config, stopped).await;
            drop(finishing);
        });
        (Self { listen, stop, finished }, run)
    }

    /// Returns where it listens.
    pub fn listen(&self) -> &Listen {
        &self.listen
    }

    /// Stops accepting connections, waits for open requests, and returns.
    pub async fn stop(self) {
        // Both fail only if the loop has already ended.
        let _ = self.stop.send(());
        let _ = self.finished.await;
    }
}

async fn accept(
    listener: Listener,
    shared: Arc<Shared>,
    config: ServerConfig,
    mut stopped: oneshot::Receiver<()>,
) {
    let permits = Arc::new(Semaphore::new(config.connections_max));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    // `Connection` enforces its own timeouts.
    http.header_read_timeout(None).half_close(true).max_header_size(BUFFER_BYTES).max_buf_size(BUFFER_BYTES);
    let (mut warned_at, mut warned_of_address) = (None, None);
    let per_address = PerAddress::new(config.connections_per_address);
    let stopping = watch::Sender::new(());
    loop {
        let (stream, peer, permit) = tokio::select! {
            accepted = accept_next(&listener, &permits, &mut warned_at) => accepted,
            _ = &mut stopped => break,
        };
        let place = if shared.access_policy.is_counted(peer) {
            let Some(place) = per_address.take(peer) else {
                per_address.warn(peer, &mut warned_of_address);
                continue;
            };
            place
        } else {
            PerAddress::uncounted()
        };
        let (tls, watcher, mut is_stopping) =
            (listener.tls.clone(), graceful.watcher(), stopping.subscribe());
        let (shared, http) = (Arc::clone(&shared), http.clone());
        let (handshake_timeout, write_timeout) = (config.handshake_timeout, config.write_timeout);
        tokio::spawn(async move {
            let _held = (permit, place);
            let opened = tokio::select! {
                opened = handshake::open(stream, tls.as_ref(), handshake_timeout, write_timeout) => opened,
                // Fails when the sender is dropped, which is the signal.
                _ = is_stopping.changed() => return,
            };
            let ended = match opened {
                Ok(opened) => {
                    serve(opened, peer, shared, &http, watcher, is_stopping).await.map_err(Into::into)
                }
                Err(error) => Err(Box::<dyn std::error::Error + Send + Sync>::from(error)),
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

/// Serves the requests of one connection.
async fn serve(
    Opened { transport, should_be_tls }: Opened,
    peer: IpAddr,
    shared: Arc<Shared>,
    http: &http1::Builder,
    watcher: Watcher,
    stopping: watch::Receiver<()>,
) -> hyper::Result<()> {
    let exchange = Arc::<Exchange>::default();
    let socket = Connection::new(transport, shared.timeouts, Arc::clone(&exchange));
    let overdue = stream_overdue(stopping, Arc::clone(&exchange));
    let service = service_fn(move |request: Request<_>| {
        let (shared, exchange) = (Arc::clone(&shared), Arc::clone(&exchange));
        async move {
            let _handling = exchange.enter_handler();
            let request = request.map(|body| RequestBody::new(body, Arc::clone(&exchange)));
            let mut response = match should_be_tls {
                false => {
                    let mut response = shared.respond(request, peer).await;
                    shared.access_policy.add_hsts(response.headers_mut());
                    response
                }
                true => https_needed(request.uri().path()),
            };
            let kind = response.headers().get(CONTENT_TYPE);
            exchange.set_event_stream(kind.is_some_and(|kind| kind == EVENT_STREAM));
            if should_be_tls || exchange.has_unread_body() {
                // The unread body precedes the next request on the wire, so the connection must close.
                // Without this header a client could send its next request meanwhile, and lose it.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = watcher.watch(http.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        ended = connection => ended,
        () = overdue => Ok(()),
    }
}

/// Answers a request that should have been encrypted. It says nothing else, and does not redirect: the next request
/// would carry its key in plain text, too.
fn https_needed(path: &str) -> Response<Body> {
    let detail = "this port speaks https, and the request came as plain HTTP, which everyone on the way can read; \
                  use https:// in its URL";
    let mut response = Problem::of(kind::HTTPS_NEEDED, detail).to_response(path);
    access_policy::add_headers(response.headers_mut(), None);
    response
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
        // In the open mode, only the audit asks for it.
        if !is_open || !access_policy::is_safe(request.method()) {
            request.extensions_mut().insert(Peer(peer));
        }
        if let Some(proxied) = self.access_policy.proxied(request.headers(), peer) {
            request.extensions_mut().insert(proxied);
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
    listener: &Listener,
    permits: &Arc<Semaphore>,
    warned_at: &mut Option<Instant>,
) -> (Accepted, IpAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
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
