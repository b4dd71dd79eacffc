//! Asks a Wasmill server over HTTP: one connection for each request, plain or TLS.
//!
//! Used by every command that talks to a server. Knows routes only by the paths it is given; what the
//! answers mean, the commands know.

mod address;
mod connect;
mod events;
mod header;
mod problem;
mod views;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;

pub(crate) use self::address::Address;
pub(crate) use self::connect::Connector;
pub(crate) use self::events::Events;
#[cfg(test)]
pub(crate) use self::views::Progress;
pub(crate) use self::views::{LogLine, PluginStats, StateCounts, Stats, Task, elapsed_since, time_until};
use crate::cli::server::ServerArgs;
use crate::exit::{Exit, cli_error};

/// How long a server may take to answer what it need not wait for.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the largest answer that is taken: the largest result a server can be set to give, as JSON.
const RESPONSE_BYTES_MAX: usize = 512 << 20;

/// One server.
#[derive(Clone)]
pub(crate) struct Client {
    address: Address,
    connector: Connector,
    /// What each request has besides.
    headers: HeaderMap,
}

/// A request.
pub(crate) struct ClientRequest<'a> {
    pub(crate) method: Method,
    /// The path and query below that of the server.
    pub(crate) path: &'a str,
    /// Its type, and itself.
    pub(crate) body: Option<(&'static str, Bytes)>,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// How long the answer may take.
    pub(crate) timeout: Duration,
}

impl<'a> ClientRequest<'a> {
    /// Asks for something, without a body, to be answered soon.
    pub(crate) fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, body: None, headers: Vec::new(), timeout: REQUEST_TIMEOUT }
    }
}

/// What a server answered, whatever the status.
pub(crate) struct ClientResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    server: String,
}

impl ClientResponse {
    /// Returns the answer if it is a success, else what the server says is wrong.
    pub(crate) fn error_for_status(self) -> Result<Self> {
        if self.status.is_success() { Ok(self) } else { Err(self.to_error()) }
    }

    /// Words what the server says is wrong.
    pub(crate) fn to_error(&self) -> anyhow::Error {
        problem::to_error(&self.server, self.status, &self.body)
    }

    /// Returns the code of a problem, such as `unknown-task`; empty if it is none.
    pub(crate) fn code(&self) -> String {
        problem::code(&self.body)
    }

    /// Returns the body as it came.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads the body.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let message =
                format!("what {} answered is not what wasmill servers answer: {error}", self.server);
            cli_error(Exit::Failed, message)
        })
    }
}

impl Client {
    /// Makes a client of the server that the command line names.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self> {
        let address: Address = args.server.parse().map_err(|why: String| cli_error(Exit::Usage, why))?;
        let headers = header::read(&args.header).map_err(|why| cli_error(Exit::Usage, why))?;
        let connector = Connector::new(address.tls, args.ca.as_deref())?;
        Ok(Self { address, connector, headers })
    }

    /// Makes a client of a server on this machine.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address: address.into(), connector: Connector::plain(), headers: HeaderMap::new() }
    }

    /// GETs something.
    pub(crate) async fn get(&self, path: &str) -> Result<ClientResponse> {
        self.send(ClientRequest::new(Method::GET, path)).await
    }

    /// Sends a request and takes the whole answer, whatever its status.
    pub(crate) async fn send(&self, request: ClientRequest<'_>) -> Result<ClientResponse> {
        let timeout = request.timeout;
        let response = tokio::time::timeout(timeout, async {
            let (head, body) = self.open(request).await?.into_parts();
            let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await.map_err(|error| {
                let why = if error.is::<LengthLimitError>() {
                    format!("its answer is larger than {RESPONSE_BYTES_MAX} bytes")
                } else {
                    format!("it broke off: {error}")
                };
                self.unreachable(&why)
            })?;
            Ok(ClientResponse {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
                server: self.to_string(),
            })
        });
        response.await.unwrap_or_else(|_| Err(self.unreachable(&format!("no answer within {timeout:?}"))))
    }

    /// Sends a request and returns the head of the answer; the body comes as it comes.
    pub(crate) async fn open(&self, request: ClientRequest<'_>) -> Result<Response<Incoming>> {
        let ClientRequest { method, path, body, headers, timeout } = request;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.prefix))
            .header(HOST, &self.address.authority)
            .header(USER_AGENT, concat!("wasmill/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (kind, body) = body.unzip();
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let mut request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| cli_error(Exit::Usage, format!("failed to ask for {path}: {error}")))?;
        for name in self.headers.keys() {
            request.headers_mut().remove(name);
        }
        request.headers_mut().extend(self.headers.clone());
        let sending = tokio::time::timeout(timeout, async {
            let mut sender = self.connector.connect(&self.address).await?;
            sender.send_request(request).await.map_err(|error| error.to_string())
        });
        let sent = sending.await.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")));
        sent.map_err(|why| self.unreachable(&why))
    }

    fn unreachable(&self, why: &str) -> anyhow::Error {
        cli_error(Exit::Unreachable, format!("no answer from {self}: {why}"))
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

/// Waits for what a command does with a server, on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests;
