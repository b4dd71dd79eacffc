//! An HTTP client for a Wasmill server: one connection per request, plain or TLS.
//!
//! Used by every command that talks to a server. It knows no routes and does not interpret responses.

mod address;
mod events;
mod form;
mod header;
mod key;
mod key_list;
mod private_file;
mod problem;
pub(crate) mod trace_context;
mod views;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use wasmill_api::Listen;
use wasmill_egress::{self as egress, ConnectError, ConnectionQuota, Connector, RequestError, Route};
use wasmill_runtime::connector;

pub(crate) use self::address::Address;
pub(crate) use self::events::Events;
pub(crate) use self::form::Form;
pub(crate) use self::key::given_key;
pub(crate) use self::key_list::{forget as forget_key, store as store_key};
pub(crate) use self::views::{
    Host, LogLine, PluginStats, StateCounts, Stats, Task, elapsed_since, time_until,
};
#[cfg(test)]
pub(crate) use self::views::{Memory, Progress, Slots};
use crate::cli::server::ServerArgs;
use crate::exit::{Exit, cli_error};

/// Time limit for connecting, name resolution and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default time limit for a response.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a response: the largest result that a server can be configured for, as JSON.
const RESPONSE_BYTES_MAX: usize = 512 << 20;

/// A client of one server.
#[derive(Clone)]
pub(crate) struct Client {
    address: Address,
    connector: Arc<Connector>,
    /// Headers added to each request.
    headers: HeaderMap,
}

pub(crate) struct ClientRequest<'a> {
    pub(crate) method: Method,
    /// Path and query, relative to the server's URL.
    pub(crate) path: &'a str,
    /// Content type and body.
    pub(crate) body: Option<(&'static str, Bytes)>,
    /// A form in place of the body.
    pub(crate) form: Option<Form>,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Time limit for the response.
    pub(crate) timeout: Duration,
}

impl<'a> ClientRequest<'a> {
    /// A request without a body and with the default time limit.
    pub(crate) fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, body: None, form: None, headers: Vec::new(), timeout: REQUEST_TIMEOUT }
    }
}

/// A server's response, with any status.
pub(crate) struct ClientResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    server: String,
}

impl ClientResponse {
    /// Returns the response if its status is a success, else the server's error.
    pub(crate) fn error_for_status(self) -> Result<Self> {
        if self.status.is_success() { Ok(self) } else { Err(self.to_error()) }
    }

    /// Returns the server's error.
    pub(crate) fn to_error(&self) -> anyhow::Error {
        problem::to_error(&self.server, self.status, &self.body)
    }

    /// Returns the problem code, such as `unknown-task`; empty if there is none.
    pub(crate) fn code(&self) -> String {
        problem::code(&self.body)
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses a body that is an object.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        // serde would read an array as the fields in order.
        if self.body.trim_ascii_start().starts_with(b"[") {
            return Err(self.unexpected("it is an array"));
        }
        serde_json::from_slice(&self.body).map_err(|error| self.unexpected(error))
    }

    /// Parses a body that is an array.
    pub(crate) fn read_list<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        serde_json::from_slice(&self.body).map_err(|error| self.unexpected(error))
    }

    fn unexpected(&self, why: impl std::fmt::Display) -> anyhow::Error {
        cli_error(Exit::Failed, format!("unexpected response from {}: {why}", self.server))
    }
}

impl Client {
    /// Creates a client of the server given on the command line.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self> {
        Self::create(args, |address| key::read(address, args.key_file.as_deref()))
    }

    /// Creates a client of that server which sends this key.
    pub(crate) fn with_key(args: &ServerArgs, key: &str) -> Result<Self> {
        Self::create(args, |_| key::header(key).map(Some))
    }

    fn create(
        args: &ServerArgs,
        key: impl FnOnce(&Address) -> Result<Option<HeaderValue>, String>,
    ) -> Result<Self> {
        let usage = |why| cli_error(Exit::Usage, why);
        let address: Address = args.server.parse().map_err(usage)?;
        let mut headers = header::read(&args.header).map_err(usage)?;
        // A proxy in front of the server may take credentials of its own.
        if !headers.contains_key(AUTHORIZATION) {
            headers.extend(key(&address).map_err(usage)?.map(|key| (AUTHORIZATION, key)));
        }
        let roots = args.ca.as_deref().filter(|_| address.endpoint.tls);
        let connector = connector(roots, ConnectionQuota::Own).map_err(|why| {
            let path = roots.unwrap_or(Path::new("")).display();
            cli_error(Exit::Usage, format!("failed to read certificates from {path}: {why}"))
        })?;
        let connector = match address.socket.clone() {
            Some(path) => connector.with_socket(path),
            None => connector,
        };
        Ok(Self { address, connector: Arc::new(connector), headers })
    }

    /// Creates a client of a server on this machine, which sends no key and accepts any certificate.
    pub(crate) fn at(listen: &Listen, tls: bool) -> Self {
        let address = Address::of_listen(listen, tls);
        let connector = Connector::new(None, ConnectionQuota::Own).expect("there is no file to read");
        let connector = match address.socket.clone() {
            Some(path) => connector.with_socket(path),
            None => connector.with_any_certificate(),
        };
        Self { address, connector: Arc::new(connector), headers: HeaderMap::new() }
    }

    /// Returns the address of the server.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a GET request.
    pub(crate) async fn get(&self, path: &str) -> Result<ClientResponse> {
        self.send(ClientRequest::new(Method::GET, path)).await
    }

    /// Sends a request and reads the whole response, whatever its status.
    pub(crate) async fn send(&self, request: ClientRequest<'_>) -> Result<ClientResponse> {
        let timeout = request.timeout;
        let response = tokio::time::timeout(timeout, async {
            let (head, body) = self.open(request).await?.into_parts();
            let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    self.unreachable(&format!("the response is larger than {RESPONSE_BYTES_MAX} bytes"))
                } else {
                    self.broken_off(&error)
                }
            })?;
            Ok(ClientResponse {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
                server: self.to_string(),
            })
        });
        response.await.unwrap_or_else(|_| Err(self.unreachable(&format!("no response within {timeout:?}"))))
    }

    /// Sends a request and returns the head of the response; the body is streamed.
    pub(crate) async fn open(&self, request: ClientRequest<'_>) -> Result<Response<Incoming>> {
        let ClientRequest { method, path, body, form, headers, timeout } = request;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.prefix))
            .header(USER_AGENT, egress::USER_AGENT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (kind, body) = match form {
            Some(form) => (Some(form.content_type()), Either::Left(form)),
            None => {
                let (kind, body) = body.unzip();
                (kind.map(str::to_owned), Either::Right(Full::new(body.unwrap_or_default())))
            }
        };
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let mut request = request
            .body(body)
            .map_err(|error| cli_error(Exit::Usage, format!("invalid request for {path}: {error}")))?;
        for name in self.headers.keys() {
            request.headers_mut().remove(name);
        }
        request.headers_mut().extend(self.headers.clone());
        let route = Route {
            endpoint: &self.address.endpoint,
            is_allowed: &|_| true,
            connect_timeout: CONNECT_TIMEOUT.min(timeout),
            head_timeout: timeout,
            meter: None,
            finish_headers: None,
        };
        let (response, mut driver) = self.connector.send(route, request).await.map_err(|error| {
            let hint = match error {
                RequestError::Connect(ConnectError::Refused(_)) => "is `wasmill serve` running there?",
                RequestError::Connect(ConnectError::Tls(_)) => "does this port serve https?",
                RequestError::Http(_) => "the connection broke, or another program uses this port",
                _ => "--server or WASMILL_SERVER names the server to talk to",
            };
            self.unreachable(&format!("{error}; {hint}"))
        })?;
        // The connection ends with its response, or with the command.
        driver.detach_all();
        Ok(response)
    }

    /// Sends a request and returns the body of the response, to be read as a stream, if its status is a success.
    pub(crate) async fn open_checked(&self, request: ClientRequest<'_>) -> Result<Incoming> {
        let (head, body) = self.open(request).await?.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let body = Limited::new(body, RESPONSE_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| self.broken_off(&error))?;
        Err(problem::to_error(&self.to_string(), head.status, &body.to_bytes()))
    }

    /// Returns the error for a response that ended too early.
    pub(crate) fn broken_off(&self, error: &dyn std::fmt::Display) -> anyhow::Error {
        self.unreachable(&format!("the response broke off: {error}"))
    }

    fn unreachable(&self, why: &str) -> anyhow::Error {
        cli_error(Exit::Unreachable, format!("no response from {self}: {why}"))
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

/// Runs a command's future on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests;
