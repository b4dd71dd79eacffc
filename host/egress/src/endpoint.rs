//! The endpoint of a request: host, port, and whether it uses TLS.

use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use hyper::http::uri::Scheme;

/// The endpoint of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name in lower case, or an address without brackets.
    pub host: String,
    /// The port, explicit or the default.
    pub port: u16,
    /// Whether it uses TLS.
    pub tls: bool,
}

impl Endpoint {
    /// Parses the endpoint of a URI; `None` if it has no host or contains user information.
    pub fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?;
        // User information before an `@` is easily mistaken for the host in a log.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let port = match (authority.port(), authority.host().len() < authority.as_str().len()) {
            (Some(port), _) if is_plain_port(port.as_str()) => port.as_u16(),
            // The host is followed by something that is not a plain port.
            (Some(_), _) | (None, true) => return None,
            (None, false) => Self::default_port(tls),
        };
        Some(Self { host: normalize_host(authority.host()), port, tls })
    }

    /// Returns the endpoint of plain HTTP at an address.
    pub fn at(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port(), tls: false }
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Returns the default port of a scheme.
    pub fn default_port(tls: bool) -> u16 {
        if tls { 443 } else { 80 }
    }

    /// Returns host and port as in the `Host` header.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == Self::default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }

    /// Returns scheme, host and port as in a manifest.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }
}

/// Returns true if a port has the one spelling that every server accepts: digits without a leading zero.
fn is_plain_port(port: &str) -> bool {
    !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Normalizes a host for comparison: lower case, without IPv6 brackets and without the trailing dot.
pub fn normalize_host(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    // Each address has one canonical spelling.
    host.parse::<IpAddr>().map_or(host, |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_uris_have_one_origin() {
        for (uri, origin) in [
            ("https://API.Example.com.:443/a?b", "https://api.example.com"),
            ("http://example.com:8080", "http://example.com:8080"),
            ("http://[FD00:0::1]/", "http://[fd00::1]"),
        ] {
            let endpoint = Endpoint::of(&uri.parse().expect("a URI")).expect("a target");
            assert_eq!(endpoint.origin(), origin);
        }
        for uri in [
            "/path",
            "https://a@example.com/",
            "https://:80/",
            "http://127.0.0.1:+80/",
            "http://127.0.0.1:080/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:/",
        ] {
            let endpoint = uri.parse().ok().and_then(|uri| Endpoint::of(&uri));
            assert_eq!(endpoint, None, "{uri}");
        }
    }
}
