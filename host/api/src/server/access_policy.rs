//! Decides from its headers whether a request is served at all.
//!
//! The server calls it before the router, on every listener. Without keys, anything that reaches
//! the port may act, including web pages in a user's browser. Three checks keep those out:
//! - The `Host` must be a name that nobody else can point at this machine, which prevents DNS rebinding.
//! - An unsafe request must not come from a page of another origin. This is the algorithm of
//!   `http.CrossOriginProtection` in Go 1.25.
//! - A request with headers of a proxy is refused unless the proxy is trusted: its sender is not the peer.
//!
//! With keys the first and the last are left out: such a page and such a sender have no key. The first one stays for
//! requests whose sender a trusted proxy names.
//!
//! It is an allow list, and never reads a body.

mod proxy_identity;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use ipnet::IpNet;

pub(crate) use self::proxy_identity::Proxied;
pub use self::proxy_identity::{IdentityHeader, InvalidIdentityHeader, ProxyIdentity};
use crate::problem::Problem;
use crate::problem::field_errors::truncated_quote;
use crate::problem::kind;

/// Names that container engines give to the host machine. `internal` is a reserved domain: nobody can
/// register a name below it.
const HOST_ALIASES: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// Headers that proxies and tunnels add to the requests they forward.
const PROXY_HEADERS: [HeaderName; 5] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("tailscale-user-login"),
];

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Headers of responses whose endpoint sets no others.
///
/// Pages of the dashboard set another `Referrer-Policy`: under this one browsers send `Origin: null` with their forms,
/// which the check of origins refuses where there is no `Sec-Fetch-Site`, as over plain HTTP in a network.
const DEFAULT_HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// CORS headers for pages of an allowed origin.
const CORS_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
const CORS_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, last-event-id, prefer, traceparent, tracestate",
);
const CORS_EXPOSED: HeaderValue =
    HeaderValue::from_static("link, location, preference-applied, retry-after, idempotent-replayed");
const CORS_MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// What is allowed besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct AccessPolicy {
    /// Host names of this server besides those that only this machine or its network can have.
    pub public_hosts: Vec<HostName>,
    /// Origins whose pages may do what pages of this server may.
    pub allowed_origins: Vec<Origin>,
    /// Addresses of proxies that authenticate the clients they forward.
    pub trusted_proxies: Vec<Network>,
    /// In which headers these say who sent a request; `None` if they do not.
    pub proxy_identity: Option<ProxyIdentity>,
    /// Whether this server serves its pages over TLS.
    pub serves_tls: bool,
    /// For how long browsers may reach the name of this server over TLS only, from each answer on; `None` says nothing.
    pub hsts: Option<Duration>,
}

/// A host name without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// An origin as browsers send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// An IP address or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// The text is not a host name.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a host name; expected one such as tasks.example.org, without scheme and port")]
pub struct InvalidHostName(String);

/// The text is not an origin.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an origin; expected one such as https://dashboard.example.org, without a path")]
pub struct InvalidOrigin(String);

/// The text is neither an IP address nor a network.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an IP address or network; expected one such as 10.0.0.7 or 10.0.0.0/8")]
pub struct InvalidNetwork(String);

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        let name = without_final_dot(text);
        let is_name = !name.is_empty() && name.bytes().all(|byte| is_name_byte(byte) || byte == b'.');
        if is_name { Ok(Self(name.to_ascii_lowercase())) } else { Err(InvalidHostName(text.to_owned())) }
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_owned());
        let (scheme, authority) = text.split_once("://").ok_or_else(invalid)?;
        let is_origin =
            ["http", "https"].contains(&scheme) && Authority::parse(authority.as_bytes()).is_some();
        if !is_origin {
            return Err(invalid());
        }
        HeaderValue::try_from(text.to_ascii_lowercase()).map(Self).map_err(|_| invalid())
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| InvalidNetwork(text.to_owned()))
    }
}

impl Network {
    /// Returns true if it holds addresses of this machine.
    pub fn is_loopback(&self) -> bool {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        loopback.iter().any(|address| self.0.contains(address)) || self.0.addr().is_loopback()
    }

    /// Returns true if it holds one address.
    pub fn is_one_address(&self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one_address() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// What to do with an accepted request.
pub(crate) enum Decision {
    /// Route it; add CORS headers for this origin, if any.
    Allow(Option<HeaderValue>),
    /// Answer the CORS preflight of this origin.
    Preflight(HeaderValue),
}

impl AccessPolicy {
    /// Checks a request from this peer; `is_open` if it needs no key.
    pub(crate) fn check<B>(
        &self,
        request: &Request<B>,
        peer: IpAddr,
        is_open: bool,
    ) -> Result<Decision, Problem> {
        let host = host(request)?;
        // A page with a foreign name may reach the proxy, which signs its browser in.
        let needs_name = is_open || self.proxied(request.headers(), peer).is_some();
        if needs_name
            && let Some(host) = host
            && !self.is_allowed_host(host.name)
        {
            return Err(unknown_host(host.name));
        }
        let headers = request.headers();
        if is_open
            && let Some(header) = PROXY_HEADERS.iter().find(|name| headers.contains_key(*name))
            && !self.is_trusted_proxy(peer)
        {
            return Err(untrusted_proxy(header.as_str(), peer));
        }
        let origin = headers.get(header::ORIGIN);
        if let Some(origin) = origin
            && self.allowed_origins.iter().any(|allowed| allowed.0 == origin)
        {
            let is_preflight = request.method() == Method::OPTIONS
                && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
            return Ok(if is_preflight {
                Decision::Preflight(origin.clone())
            } else {
                Decision::Allow(Some(origin.clone()))
            });
        }
        if is_safe(request.method()) || self.is_same_origin(headers, origin, host, peer) {
            Ok(Decision::Allow(None))
        } else {
            Err(cross_origin(origin))
        }
    }

    /// Returns true if a request comes from a page of this server, or not from a browser.
    fn is_same_origin(
        &self,
        headers: &HeaderMap,
        origin: Option<&HeaderValue>,
        host: Option<Authority<'_>>,
        peer: IpAddr,
    ) -> bool {
        if let Some(site) = headers.get(FETCH_SITE) {
            return site == "same-origin" || site == "none";
        }
        // Old browsers, and pages over plain HTTP, send only the origin.
        let Some(origin) = origin else { return true };
        let Some(host) = host else { return false };
        let is_host = |authority: &[u8]| host.whole.eq_ignore_ascii_case(authority);
        let origin = origin.as_bytes();
        if let Some(authority) = origin.strip_prefix(b"http://") {
            return !self.serves_tls && is_host(authority);
        }
        // If this server does not speak TLS, another one served the page: a proxy in front of this one, or a
        // foreign server at the same name.
        let may_use_tls = self.serves_tls || self.is_public_host(host.name) || self.is_trusted_proxy(peer);
        may_use_tls && origin.strip_prefix(b"https://").is_some_and(is_host)
    }

    /// Adds what browsers are to remember (RFC 6797): the caller has encrypted the connection.
    pub(crate) fn add_hsts(&self, headers: &mut HeaderMap) {
        let max_age = self.hsts.map(|time| HeaderValue::try_from(format!("max-age={}", time.as_secs())));
        if let Some(Ok(max_age)) = max_age {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, max_age);
        }
    }

    /// Returns true if the connections of this address are limited: not those of this machine, and not those of a
    /// trusted proxy, which brings many clients.
    pub(crate) fn is_counted(&self, peer: IpAddr) -> bool {
        !peer.to_canonical().is_loopback() && !self.is_trusted_proxy(peer)
    }

    fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|proxy| proxy.0.contains(&peer.to_canonical()))
    }

    /// Returns true if the name is configured as a public host of this server.
    fn is_public_host(&self, name: &[u8]) -> bool {
        let name = name.strip_suffix(b".").unwrap_or(name);
        self.public_hosts.iter().any(|known| name.eq_ignore_ascii_case(known.0.as_bytes()))
    }

    /// Returns true if nobody else can point this name at this machine, or it is configured. The port is
    /// ignored: forwarded ports differ.
    fn is_allowed_host(&self, name: &[u8]) -> bool {
        if is_address(name) || (!name.is_empty() && name.iter().all(|byte| is_name_byte(*byte))) {
            return true;
        }
        let name = name.strip_suffix(b".").unwrap_or(name);
        ends_with(name, b".localhost")
            || name.eq_ignore_ascii_case(b"localhost")
            || HOST_ALIASES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            || self.is_public_host(name)
    }
}

/// Answers the CORS preflight of an allowed origin.
pub(crate) fn preflight(origin: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE);
    add_headers(headers, Some(origin));
    response
}

/// Adds the headers of every response: no page of another origin may embed it or sniff its type, and only a
/// page of an allowed origin may read it. Opened as a page, a response does nothing, and no cache keeps it, unless its
/// endpoint says otherwise.
pub(crate) fn add_headers(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in DEFAULT_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_EXPOSED);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Returns true for methods that change nothing. A browser sends them to any origin, but does not show the
/// response to another one.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Returns the host that a request addresses. HTTP/1.0 may omit it, and no browser speaks that.
fn host<B>(request: &Request<B>) -> Result<Option<Authority<'_>>, Problem> {
    let mut given = request.headers().get_all(header::HOST).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        return Err(invalid_host("it appears more than once"));
    }
    let parse = |bytes| Authority::parse(bytes).ok_or_else(|| invalid_host("its value is not a host"));
    let host = first.map(|value| parse(value.as_bytes())).transpose()?;
    // In the absolute form, the host of the URI takes precedence over the header (RFC 9112, section 3.2.2).
    if let Some(authority) = request.uri().authority() {
        return parse(authority.as_str().as_bytes()).map(Some);
    }
    if host.is_none() && request.version() > Version::HTTP_10 {
        return Err(invalid_host("it is missing"));
    }
    Ok(host)
}

/// A host with an optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Authority<'a> {
    whole: &'a [u8],
    name: &'a [u8],
}

impl<'a> Authority<'a> {
    fn parse(whole: &'a [u8]) -> Option<Self> {
        let end = match whole.first()? {
            b'[' => whole.iter().position(|byte| *byte == b']')? + 1,
            _ => whole.iter().position(|byte| *byte == b':').unwrap_or(whole.len()),
        };
        let (name, port) = whole.split_at(end);
        let is_port = match port.split_first() {
            None => true,
            Some((colon, digits)) => *colon == b':' && digits.iter().all(u8::is_ascii_digit),
        };
        let is_name = is_address(name) || name.iter().all(|byte| is_name_byte(*byte) || *byte == b'.');
        (is_port && is_name && !name.is_empty()).then_some(Self { whole, name })
    }
}

fn is_address(name: &[u8]) -> bool {
    let Ok(name) = str::from_utf8(name) else { return false };
    match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()),
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn ends_with(name: &[u8], suffix: &[u8]) -> bool {
    name.len() > suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

fn without_final_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn invalid_host(why: &str) -> Problem {
    let detail = format!("the request must have exactly one valid Host header: {why}");
    Problem::of(kind::INVALID_HOST, detail)
}

/// The `Host` is a name that somebody else may have pointed at this machine.
fn unknown_host(name: &[u8]) -> Problem {
    let name = String::from_utf8_lossy(name);
    let name = truncated_quote(&name);
    let detail = format!(
        "'{name}' is not a host name of this server, so a web page may have pointed that name here (DNS \
         rebinding); if the name is right, start the server with --public-host {name}"
    );
    Problem::of(kind::UNKNOWN_HOST, detail)
}

/// A page of another origin sent an unsafe request.
fn cross_origin(origin: Option<&HeaderValue>) -> Problem {
    let origin = origin.and_then(|origin| origin.to_str().ok()).unwrap_or("another origin");
    let detail = format!(
        "a page of {} must not change anything on this server; to allow it, start the server with \
         --allow-origin and that origin",
        truncated_quote(origin)
    );
    Problem::of(kind::CROSS_ORIGIN, detail)
}

/// An untrusted proxy forwarded the request.
fn untrusted_proxy(header: &str, peer: IpAddr) -> Problem {
    let peer = peer.to_canonical();
    let detail = format!(
        "the header {header} shows that a proxy forwarded the request, and this server asks for no key; \
         make one with `wasmill key create`, or, if the proxy authenticates its clients, start the server \
         with --trust-proxy {peer}"
    );
    Problem::of(kind::UNTRUSTED_PROXY, detail)
}

#[cfg(test)]
mod tests;
