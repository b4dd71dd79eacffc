//! Sends one authorized HTTP request and streams its response.
//!
//! Called by `hooks`. Follows no redirects, uses no proxy and keeps no connections alive.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, timeout};
use wasmill_egress::{ConnectError, Connector};
use wasmill_model::RunHost;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::http::metered_stream::MeteredStream;
use crate::http::policy::AllowedRequest;

/// The maximum time for DNS, connect and TLS handshake together.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// The maximum wait for the response head, and for each piece of the body.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Bytes of each of the two buffers of a connection, and so of the largest response head.
pub(crate) const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Bytes that one call may write to a request body.
pub(crate) const BODY_CHUNK_BYTES: usize = 64 << 10;

/// Sends a request. Returns the response head, and the future that drives the connection until the body is read.
/// Calls `prohibited` if the host resolves only to addresses that are not allowed.
pub(crate) async fn send(
    connector: &Connector,
    allowed: &AllowedRequest,
    request: Request<WasiBody>,
    options: RequestOptions,
    host: &Arc<dyn RunHost>,
    prohibited: &(dyn Fn() + Sync),
) -> Result<(Response<WasiBody>, impl Future<Output = Result<(), Error>> + Send + use<>), Error> {
    let clamped =
        |requested: Option<Duration>, max| requested.map_or(max, |requested: Duration| requested.min(max));
    let connecting =
        timeout(clamped(options.connect_timeout, CONNECT_MAX), connect(connector, allowed, host, prohibited));
    let stream = connecting.await.map_err(|_| Error::ConnectionTimeout)??;

    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER_BYTES_MAX);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await?;
    // Dropping the handle, with the guest or earlier, aborts the task.
    let connection = wasmtime_wasi::runtime::spawn(connection);
    let head = sender.send_request(relative(request)?);
    let head = timeout(clamped(options.first_byte_timeout, SILENCE_MAX), head);
    let response = head.await.map_err(|_| Error::ConnectionReadTimeout)??;

    let silence_max = clamped(options.between_bytes_timeout, SILENCE_MAX);
    let response = response.map(|body| Timed::new(body, silence_max).boxed_unsync());
    Ok((response, async {
        // The guest learns of a broken connection when it reads the body.
        let _ = connection.await;
        Ok(())
    }))
}

/// Reduces the request target to its path and query (origin form, RFC 9112 §3.2.1).
fn relative(mut request: Request<WasiBody>) -> Result<Request<WasiBody>, Error> {
    let root = PathAndQuery::from_static("/");
    let path = request.uri().path_and_query().cloned().unwrap_or(root);
    *request.uri_mut() =
        Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(request)
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(
    connector: &Connector,
    allowed: &AllowedRequest,
    host: &Arc<dyn RunHost>,
    prohibited: &(dyn Fn() + Sync),
) -> Result<Box<dyn Stream>, Error> {
    let AllowedRequest { endpoint, private_addresses } = allowed;
    let connect_error = |why| connect_error(why, prohibited);
    let stream = connector.connect(endpoint, |address| private_addresses.allows(address));
    let stream = MeteredStream::new(stream.await.map_err(connect_error)?, host);
    if !endpoint.tls {
        return Ok(Box::new(stream));
    }
    Ok(Box::new(connector.encrypt(endpoint, stream).await.map_err(connect_error)?))
}

/// Maps a connect error to an error of WASI. The guest cannot tell a name that does not exist from one that
/// resolves to a private address; the host's log can.
fn connect_error(why: ConnectError, prohibited: &dyn Fn()) -> Error {
    match why {
        ConnectError::NotFound(error) if error.kind() == io::ErrorKind::TimedOut => Error::DnsTimeout,
        ConnectError::NotFound(error) => {
            tracing::debug!(%error, "a host was not found");
            Error::DestinationNotFound
        }
        ConnectError::NoAddress => Error::DestinationNotFound,
        ConnectError::Prohibited(_) => {
            prohibited();
            Error::DestinationNotFound
        }
        ConnectError::Busy { .. } => Error::ConnectionLimitReached,
        ConnectError::Refused(error) => Error::Connect(error),
        ConnectError::InvalidName => Error::HttpRequestUriInvalid,
        ConnectError::Tls(error) => Error::Tls(error),
    }
}

/// A response body that fails when it is idle for too long.
struct Timed {
    body: Incoming,
    silence_max: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl Timed {
    fn new(body: Incoming, silence_max: Duration) -> Self {
        Self { body, silence_max, deadline: Box::pin(sleep(silence_max)) }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                let deadline = Instant::now() + self.silence_max;
                self.deadline.as_mut().reset(deadline);
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => {
                self.deadline.as_mut().poll(context).map(|()| Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
