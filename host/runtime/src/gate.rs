//! The one way out of the sandbox for outgoing HTTP: a request passes if a rule of its plugin admits it.
//!
//! Called by wasmtime-wasi-http for every request of a guest. Decides; `fetch` then carries it out and
//! checks the address again. Redirects are not followed, so each hop comes by here.

mod path;

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use wasmill_model::RunHost;
use wasmill_outside::{Target, plain_host};
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::fetch;
use crate::http_calls::HttpCalls;
use crate::kept::BODY_CHUNK_BYTES;
use crate::plugin::Plugin;
use crate::request_span::RequestSpan;
use crate::terms::HttpRule;

/// Methods that ask for a tunnel or for an echo of the request, with what proxies have added to it.
const METHODS_REFUSED: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

/// Headers by which some server takes another path or another method than the request says.
const OVERRIDES: [&str; 12] = [
    "x-original-url",
    "x-original-uri",
    "x-original-path",
    "x-rewrite-url",
    "x-override-url",
    "x-forwarded-uri",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-envoy-original-path",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// A future on the heap, as wasmtime-wasi-http takes it.
type Boxed<T> = Box<dyn Future<Output = T> + Send>;
/// What drives a connection while its response is read.
type Driver = Boxed<Result<(), Error>>;

/// Decides which requests of one guest go out.
pub(crate) struct Gate {
    plugin: Arc<Plugin>,
    calls: Arc<HttpCalls>,
    /// What requests cost is counted with its meter.
    host: Arc<dyn RunHost>,
}

impl Gate {
    pub(crate) fn new(plugin: &Arc<Plugin>, calls: &Arc<HttpCalls>, host: &Arc<dyn RunHost>) -> Self {
        Self { plugin: Arc::clone(plugin), calls: Arc::clone(calls), host: Arc::clone(host) }
    }
}

impl WasiHttpHooks for Gate {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Driver,
    ) -> Boxed<Result<(Response<WasiBody>, Driver), Error>> {
        let plugin = Arc::clone(&self.plugin);
        let admitted = match admit(&request, &plugin.terms.permissions.http) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                if let Refusal::Denied { origin, reason } = &refusal {
                    plugin.denials.log_http(&plugin, origin, reason);
                }
                return Box::new(async { Err(refusal.into()) });
            }
        };
        // One place, one spelling: a guest may have added the dot of the root.
        if let Ok(authority) = HeaderValue::try_from(admitted.target.authority()) {
            request.headers_mut().insert(HOST, authority);
        }
        let under_way = self.calls.begin(request.method().as_str(), admitted.target.origin());
        let host = Arc::clone(&self.host);
        if let Some(meter) = host.meter() {
            meter.add_http_request();
        }
        let span = RequestSpan::begin(&host, &mut request, &admitted.target);
        Box::new(async move {
            let options = options.unwrap_or_default();
            let prohibited = || plugin.denials.log_inner_address(&plugin, &admitted.target.origin());
            let sent = fetch::send(&plugin.outside, &admitted, request, options, &host, &prohibited).await;
            span.end(sent.as_ref().map(|(response, _)| response.status()));
            let (response, connection) = sent?;
            under_way.has_head();
            let connection = async move {
                let driven = connection.await;
                drop(under_way);
                driven
            };
            Ok((response, Box::new(connection) as Driver))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    // What goes wrong on the way is for the guest to know; it could fill the log of the host with it.

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        tracing::debug!(plugin = %self.plugin.name, %error, "outgoing HTTP failed");
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> ErrorCode {
        tracing::debug!(plugin = %self.plugin.name, %error, "outgoing HTTP found no connection");
        ErrorCode::ConnectionRefused
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> ErrorCode {
        tracing::debug!(plugin = %self.plugin.name, %error, "outgoing HTTP failed in TLS");
        ErrorCode::TlsProtocolError
    }
}

/// Why a request does not go out.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// No rule admits it.
    Denied { origin: String, reason: &'static str },
    /// It names no host that one could ask for.
    Invalid,
    /// Its method is not for guests.
    Method,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied { .. } | Refusal::Method => Self::HttpRequestDenied,
            Refusal::Invalid => Self::HttpRequestUriInvalid,
        }
    }
}

/// A request that goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) target: Target,
    /// Which addresses besides public ones it may go to.
    pub(crate) may_be_inner: Inner,
}

/// Returns true if some server could take another path or method from these headers. Servers that hand headers
/// on as variables take `_` for `-`.
fn is_overridden(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| OVERRIDES.contains(&name.as_str().replace('_', "-").as_str()))
}

/// Finds the rule that admits a request, and says where the request goes.
fn admit<B>(request: &Request<B>, rules: &[HttpRule]) -> Result<Admitted, Refusal> {
    let uri = request.uri();
    let target = Target::of(uri).ok_or(Refusal::Invalid)?;
    if METHODS_REFUSED.iter().any(|method| request.method().as_str().eq_ignore_ascii_case(method)) {
        return Err(Refusal::Method);
    }
    let denied = |target: &Target, reason| Refusal::Denied { origin: target.origin(), reason };
    let mut at_host = rules.iter().filter(|rule| leads_to(rule, &target)).peekable();
    if at_host.peek().is_none() {
        return Err(denied(&target, "no rule names this scheme, host and port"));
    }
    let is_overridden = is_overridden(request.headers());
    let may_pass = |rule: &&HttpRule| {
        path::begins_with(uri.path(), &rule.path_prefix)
            && !(is_overridden && path::is_bound(&rule.path_prefix))
    };
    match at_host.find(may_pass) {
        Some(rule) => {
            let may_be_inner = Inner::named_by(&rule.host);
            Ok(Admitted { target, may_be_inner })
        }
        None if is_overridden => Err(denied(
            &target,
            "the rules for this host name paths, and a header of the request overrides its path or method",
        )),
        None => Err(denied(
            &target,
            "the rules for this host name other paths, or servers differ in how they read it",
        )),
    }
}

/// Which addresses besides public ones a request may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    /// None.
    None,
    /// Those of the host itself, because its rule says `localhost`.
    Loopback,
    /// This one, because its rule says so.
    Address(IpAddr),
}

impl Inner {
    fn named_by(host: &str) -> Self {
        let host = plain_host(host);
        match host.parse() {
            Ok(address) => Self::Address(address),
            Err(_) if host == "localhost" => Self::Loopback,
            Err(_) => Self::None,
        }
    }

    /// Says whether an address is among them.
    pub(crate) fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::None => false,
            Self::Loopback => address.is_loopback(),
            Self::Address(named) => address == named,
        }
    }
}

fn leads_to(rule: &HttpRule, target: &Target) -> bool {
    rule.scheme == target.scheme() && rule.port == target.port && host_fits(&rule.host, &target.host)
}

/// Says whether the host of a rule is this one, or stands for all below a name that this one is below.
fn host_fits(rule: &str, host: &str) -> bool {
    match rule.strip_prefix("*.") {
        Some(above) => {
            let below = host.strip_suffix(above).and_then(|rest| rest.strip_suffix('.'));
            below.is_some_and(|name| !name.is_empty()) && host.parse::<IpAddr>().is_err()
        }
        None => plain_host(rule) == host,
    }
}

#[cfg(test)]
mod tests;
