//! The address of a server: a URL, or a host and a port.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use hyper::Uri;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    /// A host name, or an IP address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Host and port as given.
    pub(crate) authority: String,
    /// The path of the server behind a proxy, without a trailing slash.
    pub(crate) prefix: String,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| {
            format!("'{text}' is not a server address: {why}; use, for example, http://127.0.0.1:8080")
        };
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = full.parse().map_err(|error| invalid(&format!("{error}")))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid("it must start with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?.to_string();
        if authority.contains('@') {
            return Err(invalid("it must not contain a user"));
        }
        if uri.query().is_some() {
            return Err(invalid("it must not contain a query"));
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(invalid("it has no host"));
        }
        let port = match uri.port() {
            Some(port) => port.as_u16(),
            None if uri.host() != Some(&authority) => return Err(invalid("its port is invalid")),
            None if tls => 443,
            None => 80,
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { tls, host, port, authority, prefix })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            tls: false,
            host: address.ip().to_string(),
            port: address.port(),
            authority: address.to_string(),
            prefix: String::new(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, authority, prefix, .. } = self;
        write!(f, "{}://{authority}{prefix}", if *tls { "https" } else { "http" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_address_is_a_url_or_host_and_port() {
        for (text, tls, host, port, prefix) in [
            ("http://127.0.0.1:8080", false, "127.0.0.1", 8080, ""),
            ("http://127.0.0.1:8080/", false, "127.0.0.1", 8080, ""),
            ("127.0.0.1:9000", false, "127.0.0.1", 9000, ""),
            ("localhost:9000", false, "localhost", 9000, ""),
            ("http://[::1]:81", false, "::1", 81, ""),
            ("http://[::1]", false, "::1", 80, ""),
            ("tasks.example.com", false, "tasks.example.com", 80, ""),
            ("https://tasks.example.com", true, "tasks.example.com", 443, ""),
            ("https://example.com:8443/wasmill/", true, "example.com", 8443, "/wasmill"),
        ] {
            let address: Address = text.parse().unwrap();
            let Address { tls: is_tls, host: named, port: at, prefix: below, .. } = &address;
            assert_eq!((*is_tls, named.as_str(), *at, below.as_str()), (tls, host, port, prefix), "{text}");
        }
    }

    #[test]
    fn an_invalid_server_address_is_rejected() {
        for text in [
            "",
            "http://",
            "ftp://host",
            "http://me:secret@host",
            "http://host/?a=b",
            "a b",
            "host:x",
            "host:",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains("is not a server address"), "{error}");
        }
    }
}
