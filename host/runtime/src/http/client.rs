//! Sends one authorized HTTP request and streams its response.
//!
//! Called by `hooks`. Translates the timeouts and errors of WASI to those of `egress`, and limits the silence between
//! pieces of a response.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use tokio::time::{Instant, Sleep, sleep};
pub(crate) use wasmill_egress::BUFFER_BYTES_MAX;
use wasmill_egress::{ConnectError, Connector, Driver, RequestError, Route, Traffic, TrafficMeter};
use wasmill_model::RunHost;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::http::policy::AllowedRequest;
use crate::secrets::RunSecrets;

/// The maximum time for DNS, connect and TLS handshake together.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// The maximum wait for the response head, and for each piece of the body.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Bytes that one call may write to a request body.
pub(crate) const BODY_CHUNK_BYTES: usize = 64 << 10;

/// What a request belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) allowed: &'a AllowedRequest,
    pub(crate) host: &'a Arc<dyn RunHost>,
    /// Those whose placeholders the headers may have.
    pub(crate) secrets: Option<&'a RunSecrets>,
    /// Called if the host resolves only to addresses that are not allowed.
    pub(crate) prohibited: &'a (dyn Fn() + Sync),
}

/// Sends a request. Returns the response head, and the future that drives the connection until the body is read.
pub(crate) async fn send(
    connector: &Connector,
    call: Call<'_>,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Driver), Error> {
    let clamped = |requested: Option<Duration>, max: Duration| requested.map_or(max, |asked| asked.min(max));
    let Call { allowed, host, secrets, prohibited } = call;
    let secrets = secrets.filter(|secrets| secrets.has_placed());
    let place = |headers: &mut HeaderMap| {
        if let Some(secrets) = secrets {
            secrets.place(&allowed.endpoint, headers);
        }
    };
    let AllowedRequest { endpoint, private_addresses } = allowed;
    let route = Route {
        endpoint,
        is_allowed: &|address| private_addresses.allows(address),
        connect_timeout: clamped(options.connect_timeout, CONNECT_MAX),
        head_timeout: clamped(options.first_byte_timeout, SILENCE_MAX),
        meter: Some(meter(Arc::clone(host))),
        finish_headers: secrets.is_some().then_some(&place as &(dyn Fn(&mut HeaderMap) + Sync)),
    };
    let sent = connector.send(route, request).await;
    let (response, driver) = sent.map_err(|error| wasi_error(error, prohibited))?;
    let silence_max = clamped(options.between_bytes_timeout, SILENCE_MAX);
    Ok((response.map(|body| Timed::new(body, silence_max).boxed_unsync()), driver))
}

/// Counts the bytes of a connection into the meter of a run.
fn meter(host: Arc<dyn RunHost>) -> TrafficMeter {
    Arc::new(move |traffic| {
        if let Some(meter) = host.meter() {
            match traffic {
                Traffic::Sent(bytes) => meter.add_http_sent_bytes(bytes as u64),
                Traffic::Received(bytes) => meter.add_http_received_bytes(bytes as u64),
            }
        }
    })
}

/// Maps an error to one of WASI. The guest cannot tell a name that does not exist from one that resolves to a
/// private address; the host's log can.
fn wasi_error(why: RequestError, prohibited: &dyn Fn()) -> Error {
    let why = match why {
        RequestError::Connect(why) => why,
        RequestError::ConnectTimeout(_) => return Error::ConnectionTimeout,
        RequestError::HeadTimeout(_) => return Error::ConnectionReadTimeout,
        RequestError::Http(error) => return Error::Hyper(error),
    };
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
