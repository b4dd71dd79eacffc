//! Carries out one HTTP request that the gate admitted: resolve, check the address, connect to exactly
//! that one, send, and hand the response on as it comes.
//!
//! Called by `gate`. Follows no redirects, uses no proxy and keeps no connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
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
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wasmill_model::{BoxFuture, RunHost};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::address;
use crate::counted::Counted;
use crate::gate::Inner;

/// The longest that resolving, connecting and the handshake of TLS may take together.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// The longest wait for the head of a response, and for each piece of its body after that.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Resolves a host and a port. Tests have their own.
pub(crate) type Resolve = fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// How the world outside is reached; all guests share it.
pub(crate) struct Outside {
    pub(crate) resolve: Resolve,
    pub(crate) tls: TlsConnector,
}

impl Outside {
    /// Trusts the roots that browsers trust, and those in a file of PEM if there is one.
    ///
    /// # Errors
    ///
    /// Fails if that file cannot be read or holds no certificate that can be a root.
    pub(crate) fn new(more_roots: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = more_roots {
            let before = roots.len();
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|error| format!("it cannot be read: {error}"))?
            {
                let certificate = certificate.map_err(|error| format!("it is not valid PEM: {error}"))?;
                roots.add(certificate).map_err(|error| format!("one of them can be no root: {error}"))?;
            }
            if roots.len() == before {
                return Err("there is no certificate in it".to_owned());
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks the versions that rustls has by default")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { resolve, tls: TlsConnector::from(Arc::new(config)) })
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A name in lower case, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// Which addresses besides public ones it may go to.
    pub(crate) may_be_inner: Inner,
}

impl Target {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    pub(crate) fn default_port(tls: bool) -> u16 {
        if tls { 443 } else { 80 }
    }

    /// Returns scheme, host and port as a manifest writes them.
    pub(crate) fn origin(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port =
            if self.port == Self::default_port(self.tls) { String::new() } else { format!(":{}", self.port) };
        format!("{}://{host}{port}", self.scheme())
    }
}

/// Asks the resolver of the system.
fn resolve(host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}

/// Sends a request and returns the head of its response, and what drives the connection until its
/// body is read.
pub(crate) async fn send(
    outside: &Outside,
    target: &Target,
    request: Request<WasiBody>,
    options: RequestOptions,
    host: &Arc<dyn RunHost>,
) -> Result<(Response<WasiBody>, impl Future<Output = Result<(), Error>> + Send + use<>), Error> {
    let bounded = |wish: Option<Duration>, most| wish.map_or(most, |wish: Duration| wish.min(most));
    let connecting = timeout(bounded(options.connect_timeout, CONNECT_MAX), connect(outside, target, host));
    let stream = connecting.await.map_err(|_| Error::ConnectionTimeout)??;

    let (mut sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await?;
    // Ends when it is dropped, with the guest or before.
    let connection = wasmtime_wasi::runtime::spawn(connection);
    let head = sender.send_request(relative(request)?);
    let head = timeout(bounded(options.first_byte_timeout, SILENCE_MAX), head);
    let response = head.await.map_err(|_| Error::ConnectionReadTimeout)??;

    let silence_max = bounded(options.between_bytes_timeout, SILENCE_MAX);
    let response = response.map(|body| Timed::new(body, silence_max).boxed_unsync());
    Ok((response, async {
        // The guest learns of a broken connection from the body that it reads.
        let _ = connection.await;
        Ok(())
    }))
}

/// Makes the target of a request its path, as a server wants it.
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
    outside: &Outside,
    target: &Target,
    host: &Arc<dyn RunHost>,
) -> Result<Box<dyn Stream>, Error> {
    let stream = connect_to_any(&addresses(target, outside.resolve).await?).await?;
    let stream = Counted::new(stream, host);
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = outside.tls.connect(name, stream).await.map_err(Error::Tls)?;
    Ok(Box::new(stream))
}

/// Resolves the host and leaves out the addresses that it may not have.
async fn addresses(target: &Target, resolve: Resolve) -> Result<Vec<SocketAddr>, Error> {
    let mut addresses = match target.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, target.port)],
        Err(_) => resolve(target.host.clone(), target.port).await.map_err(|error| {
            tracing::debug!(host = target.host, %error, "a host was not found");
            Error::DnsError { rcode: None, info_code: None }
        })?,
    };
    if addresses.is_empty() {
        return Err(Error::DestinationNotFound);
    }
    addresses.retain(|address| target.may_be_inner.admits(address.ip()) || address::is_public(address.ip()));
    if addresses.is_empty() { Err(Error::DestinationIpProhibited) } else { Ok(addresses) }
}

async fn connect_to_any(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut refusal = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and guests wait for each.
                stream.set_nodelay(true).map_err(Error::Connect)?;
                return Ok(stream);
            }
            Err(error) => refusal = error,
        }
    }
    Err(Error::Connect(refusal))
}

/// The body of a response, which may not be silent for too long.
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
