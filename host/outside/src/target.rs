//! Where a request goes: the host, the port, and whether TLS is spoken there.

use std::net::IpAddr;

use hyper::Uri;
use hyper::http::uri::Scheme;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name in lower case, or an address without brackets.
    pub host: String,
    /// The port, also if it goes without saying.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl Target {
    /// Reads where a URI leads; `None` if it names no host that one could ask for, or hides it behind a user.
    pub fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?;
        // What stands before an `@` is easily taken for the host by those who read the log.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let port = match (authority.port(), authority.host().len() < authority.as_str().len()) {
            (Some(port), _) if is_plain_port(port.as_str()) => port.as_u16(),
            // There is something after the host, but it is no port.
            (Some(_), _) | (None, true) => return None,
            (None, false) => Self::default_port(tls),
        };
        Some(Self { host: plain_host(authority.host()), port, tls })
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Returns the port that goes without saying.
    pub fn default_port(tls: bool) -> u16 {
        if tls { 443 } else { 80 }
    }

    /// Returns host and port as the header `Host` says them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == Self::default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }

    /// Returns scheme, host and port as a manifest writes them.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }
}

/// Returns true if a port is spelled in the one way that every server takes: digits, the first one not zero.
fn is_plain_port(port: &str) -> bool {
    !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Writes a host as rules do: in lower case, without the brackets of IPv6 or the dot of the root.
pub fn plain_host(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    // One address, one spelling.
    host.parse::<IpAddr>().map_or(host, |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_origin() {
        for (uri, origin) in [
            ("https://API.Example.com.:443/a?b", "https://api.example.com"),
            ("http://example.com:8080", "http://example.com:8080"),
            ("http://[FD00:0::1]/", "http://[fd00::1]"),
        ] {
            let target = Target::of(&uri.parse().expect("a URI")).expect("a target");
            assert_eq!(target.origin(), origin);
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
            let target = uri.parse().ok().and_then(|uri| Target::of(&uri));
            assert_eq!(target, None, "{uri}");
        }
    }
}
