//! The HTTP policy of a plugin: a request is allowed only if a rule matches.
//!
//! Called by `hooks` for every request of a guest. `client` then sends it and checks the resolved address.
//! Redirects are not followed, so each hop is authorized here.

mod path;

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HeaderMap;
use wasmill_egress::{Endpoint, normalize_host};
use wasmtime_wasi_http::Error;

use crate::plugin::config::HttpRule;

/// Methods that open a tunnel, or that return the request together with what proxies have added to it.
const REFUSED_METHODS: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

/// Headers with which some servers override the path or the method of a request.
const OVERRIDE_HEADERS: [&str; 12] = [
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

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No rule allows it.
    Denied { origin: String, reason: &'static str },
    /// The URI has no valid host.
    Invalid,
    /// Guests may not use its method.
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

/// A request that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowedRequest {
    pub(crate) endpoint: Endpoint,
    /// Non-public addresses that it may connect to.
    pub(crate) private_addresses: PrivateAddresses,
}

/// Returns true if some server could take another path or method from these headers. Servers that pass headers on as
/// variables do not distinguish `_` and `-`.
fn is_overridden(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| OVERRIDE_HEADERS.contains(&name.as_str().replace('_', "-").as_str()))
}

/// Finds the rule that allows a request, and returns its endpoint.
pub(crate) fn authorize<B>(request: &Request<B>, rules: &[HttpRule]) -> Result<AllowedRequest, Refusal> {
    let uri = request.uri();
    let endpoint = Endpoint::of(uri).ok_or(Refusal::Invalid)?;
    if REFUSED_METHODS.iter().any(|method| request.method().as_str().eq_ignore_ascii_case(method)) {
        return Err(Refusal::Method);
    }
    let denied = |endpoint: &Endpoint, reason| Refusal::Denied { origin: endpoint.origin(), reason };
    let mut at_host = rules.iter().filter(|rule| rule.covers(&endpoint)).peekable();
    if at_host.peek().is_none() {
        return Err(denied(&endpoint, "no rule names this scheme, host and port"));
    }
    let is_overridden = is_overridden(request.headers());
    let allows = |rule: &&HttpRule| {
        path::begins_with(uri.path(), &rule.path_prefix)
            && !(is_overridden && path::is_restrictive(&rule.path_prefix))
    };
    match at_host.find(allows) {
        Some(rule) => {
            let private_addresses = PrivateAddresses::named_by(&rule.host);
            Ok(AllowedRequest { endpoint, private_addresses })
        }
        None if is_overridden => Err(denied(
            &endpoint,
            "the rules for this host have path prefixes, and a header of the request overrides its path or \
             method",
        )),
        None => Err(denied(
            &endpoint,
            "the rules for this host have other path prefixes, or the path is ambiguous",
        )),
    }
}

/// Non-public addresses that a request may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrivateAddresses {
    /// None.
    None,
    /// Loopback addresses, because the rule names `localhost`.
    Loopback,
    /// This address, because the rule names it.
    Address(IpAddr),
}

impl PrivateAddresses {
    fn named_by(host: &str) -> Self {
        let host = normalize_host(host);
        match host.parse() {
            Ok(address) => Self::Address(address),
            Err(_) if host == "localhost" => Self::Loopback,
            Err(_) => Self::None,
        }
    }

    pub(crate) fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::None => false,
            Self::Loopback => address.is_loopback(),
            Self::Address(named) => address == named,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
