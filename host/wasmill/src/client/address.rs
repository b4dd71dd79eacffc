//! The address of a server: a URL, or a host and a port.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use hyper::Uri;
use wasmill_egress::Endpoint;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) endpoint: Endpoint,
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
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(invalid("it must start with http:// or https://"));
        }
        if uri.query().is_some() {
            return Err(invalid("it must not contain a query"));
        }
        let endpoint =
            Endpoint::of(&uri).ok_or_else(|| invalid("it needs a host, a valid port if any, and no user"))?;
        Ok(Self { endpoint, prefix: uri.path().trim_end_matches('/').to_owned() })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { endpoint: Endpoint::at(address), prefix: String::new() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.endpoint.origin(), self.prefix)
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
            let endpoint = Endpoint { tls, host: host.to_owned(), port };
            assert_eq!(address, Address { endpoint, prefix: prefix.to_owned() }, "{text}");
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
