//! The URL of a server, to which paths of requests are appended.

use std::str::FromStr;

use hyper::Uri;

use crate::Endpoint;

/// The URL of a server, such as `https://example.com/wasmill`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// The path of the server behind a proxy, without a trailing slash; empty if it is the root.
    pub prefix: String,
}

impl FromStr for BaseUrl {
    type Err = String;

    /// Parses a URL, or a host and a port, which means HTTP. The error says what is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = full.parse().map_err(|error| format!("{error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("it must start with http:// or https://".to_owned());
        }
        if uri.query().is_some() {
            return Err("it must not contain a query".to_owned());
        }
        let endpoint = Endpoint::of(&uri).ok_or("it needs a host, a valid port if any, and no user")?;
        Ok(Self { endpoint, prefix: uri.path().trim_end_matches('/').to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_a_url_or_host_and_port() {
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
            let endpoint = Endpoint { tls, host: host.to_owned(), port };
            assert_eq!(text.parse(), Ok(BaseUrl { endpoint, prefix: prefix.to_owned() }), "{text}");
        }
    }

    #[test]
    fn what_is_no_base_is_rejected() {
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
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }
}
