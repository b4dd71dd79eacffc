//! The front door: decides whether a request may come in at all, before any route sees it.
//!
//! The server asks it first, on every listener. Nobody has to show a key, so whatever reaches the port may
//! act; but a web page that somebody has open reaches the port too. Three checks keep it out:
//! - The name that was asked for has to be one that no stranger can point at this machine, which ends DNS
//!   rebinding.
//! - A request that changes something must not come from a page of another origin. This is the algorithm of
//!   `http.CrossOriginProtection` in Go 1.25.
//! - A request that a proxy forwarded did not come from whoever reached the port, and is refused unless the
//!   proxy is trusted.
//!
//! It is a list of what may pass, and it never looks at a body.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use axum::body::Body;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use ipnet::IpNet;

use crate::problem::Problem;

/// Names with a dot that container engines give to the machine they run on. The domain is reserved: nobody
/// can register a name below it.
const NAMES_OF_THE_MACHINE: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// Headers that proxies and tunnels add to what they forward.
const FORWARDED: [HeaderName; 5] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("tailscale-user-login"),
];

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What a page of an allowed origin may send, read and keep.
const CORS_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
const CORS_HEADERS: HeaderValue =
    HeaderValue::from_static("content-type, idempotency-key, last-event-id, prefer, traceparent, tracestate");
const CORS_EXPOSED: HeaderValue =
    HeaderValue::from_static("link, location, preference-applied, retry-after, idempotent-replayed");
const CORS_MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Who may come in besides those that always may.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// Names that this server is reached under, besides those that only this machine or its network has.
    pub public_hosts: Vec<HostName>,
    /// Origins whose pages may do what this server's own may.
    pub allowed_origins: Vec<Origin>,
    /// Addresses of proxies that ask who is there before they forward a request.
    pub trusted_proxies: Vec<Network>,
}

/// The name of a host, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// Where a page comes from, as browsers say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// An address or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// A text is no name of a host.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not the name of a host, such as tasks.example.org, without a scheme and a port")]
pub struct InvalidHostName(String);

/// A text is no origin.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an origin, such as https://dashboard.example.org, without a path")]
pub struct InvalidOrigin(String);

/// A text is no address and no network.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is neither an address nor a network, such as 10.0.0.7 or 10.0.0.0/8")]
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

/// A request that may come in, or one that the door itself answers.
pub(crate) enum Visit {
    /// It goes to its route; the answer is for a page of this origin, if for one.
    Enters(Option<HeaderValue>),
    /// A browser asks whether a page of this origin may send something; it may.
    Asks(HeaderValue),
}

impl Door {
    /// Decides about a request from this address.
    pub(crate) fn check<B>(&self, request: &Request<B>, peer: IpAddr) -> Result<Visit, Problem> {
        let host = host(request)?;
        if let Some(host) = host
            && !self.is_known(host.name)
        {
            return Err(Problem::unknown_host(host.name));
        }
        let headers = request.headers();
        if let Some(header) = FORWARDED.iter().find(|name| headers.contains_key(*name))
            && !self.is_trusted(peer)
        {
            return Err(Problem::came_through_a_proxy(header.as_str(), peer));
        }
        let origin = headers.get(header::ORIGIN);
        if let Some(origin) = origin
            && self.allowed_origins.iter().any(|allowed| allowed.0 == origin)
        {
            let asks = request.method() == Method::OPTIONS
                && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
            return Ok(if asks { Visit::Asks(origin.clone()) } else { Visit::Enters(Some(origin.clone())) });
        }
        if is_safe(request.method()) || self.is_own(headers, origin, host, peer) {
            Ok(Visit::Enters(None))
        } else {
            Err(Problem::cross_origin(origin))
        }
    }

    /// Says whether a request comes from a page of this server, or from no browser.
    fn is_own(
        &self,
        headers: &HeaderMap,
        origin: Option<&HeaderValue>,
        host: Option<Authority<'_>>,
        peer: IpAddr,
    ) -> bool {
        if let Some(site) = headers.get(FETCH_SITE) {
            return site == "same-origin" || site == "none";
        }
        // Old browsers, and plain HTTP to a name, say only the origin.
        let Some(origin) = origin else { return true };
        let Some(host) = host else { return false };
        let is_host = |authority: &[u8]| host.whole.eq_ignore_ascii_case(authority);
        let origin = origin.as_bytes();
        if let Some(authority) = origin.strip_prefix(b"http://") {
            return is_host(authority);
        }
        // This server speaks no TLS, so another one does: a proxy in front, or a stranger at the same name.
        let may_have_tls = self.is_public(host.name) || self.is_trusted(peer);
        may_have_tls && origin.strip_prefix(b"https://").is_some_and(is_host)
    }

    fn is_trusted(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|proxy| proxy.0.contains(&peer.to_canonical()))
    }

    /// Says whether a name was given as one that this server is reached under.
    fn is_public(&self, name: &[u8]) -> bool {
        let name = name.strip_suffix(b".").unwrap_or(name);
        self.public_hosts.iter().any(|known| name.eq_ignore_ascii_case(known.0.as_bytes()))
    }

    /// Says whether a stranger cannot make this name lead to this machine, or whether it was named. Ports are
    /// not looked at: forwarded ones differ.
    fn is_known(&self, name: &[u8]) -> bool {
        if is_address(name) || (!name.is_empty() && name.iter().all(|byte| is_name_byte(*byte))) {
            return true;
        }
        let name = name.strip_suffix(b".").unwrap_or(name);
        ends_with(name, b".localhost")
            || name.eq_ignore_ascii_case(b"localhost")
            || NAMES_OF_THE_MACHINE.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            || self.is_public(name)
    }
}

/// Answers a browser that asks whether a page of an allowed origin may send something.
pub(crate) fn preflight(origin: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE);
    see_out(headers, Some(origin));
    response
}

/// Adds what every answer has: no page of another origin may embed it or guess what it is, and only one of an
/// allowed origin may read it.
pub(crate) fn see_out(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_EXPOSED);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Says whether a method changes nothing. A browser sends these to anybody, and shows the answer to no other
/// origin.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Returns whom a request is meant for. HTTP/1.0 need not say, and no browser speaks that.
fn host<B>(request: &Request<B>) -> Result<Option<Authority<'_>>, Problem> {
    let mut given = request.headers().get_all(header::HOST).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        return Err(Problem::invalid_host("it is given twice"));
    }
    let parse = |bytes| Authority::parse(bytes).ok_or_else(|| Problem::invalid_host("it is no host"));
    let host = first.map(|value| parse(value.as_bytes())).transpose()?;
    // What is asked for in the absolute form names its host there, and that one counts.
    if let Some(authority) = request.uri().authority() {
        return parse(authority.as_str().as_bytes()).map(Some);
    }
    if host.is_none() && request.version() > Version::HTTP_10 {
        return Err(Problem::invalid_host("it is missing"));
    }
    Ok(host)
}

/// A host with its port, if there is one.
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

#[cfg(test)]
mod tests;
