//! Sends one HTTP/1 request on a connection of its own.
//!
//! The only HTTP client of the host: for the requests of guests, webhooks, traces and commands. It follows no
//! redirects, uses no proxy, and keeps no connection alive, so a connection never outlives the policy that allowed it.

use std::net::IpAddr;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HOST, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::either::Either;

use crate::connections::TrafficMeter;
use crate::connector::{ConnectError, Connector};
use crate::endpoint::Endpoint;

/// Bytes of each of the two buffers of a connection, and so of the largest response head.
pub const BUFFER_BYTES_MAX: usize = 64 << 10;

/// The `User-Agent` of the host's own requests.
pub const USER_AGENT: &str = concat!("wasmill/", env!("CARGO_PKG_VERSION"));

/// Headers that frame a message, or say how its body is encoded.
const RESERVED: [HeaderName; 13] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Returns true if the sender of a request sets this header itself, so that no setting may give it: another value would
/// make the message end elsewhere, or mean something else.
pub fn is_reserved(header: &HeaderName) -> bool {
    RESERVED.contains(header)
}

/// Where a request goes, and its limits.
pub struct Route<'a> {
    /// The server.
    pub endpoint: &'a Endpoint,
    /// Returns true if the request may go to this address although it is not public.
    pub is_allowed: &'a (dyn Fn(IpAddr) -> bool + Sync),
    /// The maximum time for name lookup, connection and TLS handshake together.
    pub connect_timeout: Duration,
    /// The maximum time from then to the head of the response.
    pub head_timeout: Duration,
    /// Counts the bytes on the connection.
    pub meter: Option<TrafficMeter>,
    /// Finishes the headers once the connection, and its TLS, are there; what it adds leaves to this endpoint only.
    pub finish_headers: Option<&'a (dyn Fn(&mut HeaderMap) + Sync)>,
}

/// The task that drives a connection until its response is read. Dropping it closes the connection.
pub type Driver = JoinSet<hyper::Result<()>>;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There was no connection in time.
    #[error("failed to connect within {0:?}")]
    ConnectTimeout(Duration),
    /// There was no response in time.
    #[error("no response within {0:?}")]
    HeadTimeout(Duration),
    /// The connection broke, or the other side does not speak HTTP.
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
}

impl Connector {
    /// Sends a request, and returns the head of its response; the body streams while the driver lives. Sets the
    /// header `Host`, and sends no more of the URI than path and query (origin form, RFC 9112 §3.2.1).
    ///
    /// # Errors
    ///
    /// Fails if there is no response head in time.
    pub async fn send<B>(
        &self,
        route: Route<'_>,
        mut request: Request<B>,
    ) -> Result<(Response<Incoming>, Driver), RequestError>
    where
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let Route { endpoint, is_allowed, connect_timeout, head_timeout, meter, finish_headers } = route;
        let connecting = timeout(connect_timeout, async {
            let stream = self.connect(endpoint, is_allowed, meter).await?;
            Ok(if endpoint.tls {
                Either::Left(self.encrypt(endpoint, stream).await?)
            } else {
                Either::Right(stream)
            })
        });
        let stream = connecting.await.map_err(|_| RequestError::ConnectTimeout(connect_timeout))?;
        let stream = stream.map_err(RequestError::Connect)?;

        let host =
            HeaderValue::try_from(endpoint.authority()).expect("a header may contain any host and port");
        // It is the first of the headers, as RFC 9110 §7.2 recommends.
        let mut given = std::mem::replace(request.headers_mut(), HeaderMap::from_iter([(HOST, host)]));
        given.remove(HOST);
        if let Some(finish) = finish_headers {
            finish(&mut given);
        }
        request.headers_mut().extend(given);
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER_BYTES_MAX);
        let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await?;
        let mut driver = Driver::new();
        driver.spawn(connection);
        let head = timeout(head_timeout, sender.send_request(request)).await;
        Ok((head.map_err(|_| RequestError::HeadTimeout(head_timeout))??, driver))
    }
}

#[cfg(test)]
mod tests;
