//! The address of a server: a URL, a host and a port, or the path of a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;
use wasmill_api::Listen;
use wasmill_egress::Endpoint;

/// What comes before the path of a Unix socket.
const UNIX: &str = "unix:";

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) endpoint: Endpoint,
    /// The path of the server behind a proxy, without a trailing slash.
    pub(crate) prefix: String,
    /// The Unix socket to connect to, instead of the endpoint.
    pub(crate) socket: Option<PathBuf>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| {
            format!("'{text}' is not a server address: {why}; use, for example, http://127.0.0.1:8080")
        };
        if let Some(path) = text.strip_prefix(UNIX) {
            if path.is_empty() {
                return Err(invalid("it needs the path of a socket"));
            }
            return Ok(Self::of_socket(path.into()));
        }
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = full.parse().map_err(|error| invalid(&format!("{error}")))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(invalid("it must start with http://, https:// or unix:"));
        }
        if uri.query().is_some() {
            return Err(invalid("it must not contain a query"));
        }
        let endpoint =
            Endpoint::of(&uri).ok_or_else(|| invalid("it needs a host, a valid port if any, and no user"))?;
        Ok(Self { endpoint, prefix: uri.path().trim_end_matches('/').to_owned(), socket: None })
    }
}

impl Address {
    /// Returns where a server on this machine listens.
    pub(crate) fn of_listen(listen: &Listen, tls: bool) -> Self {
        match listen {
            Listen::Tcp(address) => {
                let endpoint = Endpoint { tls, ..Endpoint::at(*address) };
                Self { endpoint, prefix: String::new(), socket: None }
            }
            Listen::Unix(path) => Self::of_socket(path.clone()),
        }
    }

    fn of_socket(path: PathBuf) -> Self {
        // The name is for the header `Host`.
        let local = SocketAddr::from(([127, 0, 0, 1], Endpoint::default_port(false)));
        let endpoint = Endpoint { host: "localhost".to_owned(), ..Endpoint::at(local) };
        Self { endpoint, prefix: String::new(), socket: Some(path) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "{UNIX}{}", path.display()),
            None => write!(f, "{}{}", self.endpoint.origin(), self.prefix),
        }
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
            assert_eq!(address, Address { endpoint, prefix: prefix.to_owned(), socket: None }, "{text}");
        }
    }

    #[test]
    fn a_server_address_may_be_the_path_of_a_socket() {
        let address: Address = "unix:/run/wasmill.sock".parse().unwrap();
        assert_eq!(address.socket.as_deref(), Some(std::path::Path::new("/run/wasmill.sock")));
        assert_eq!(address.to_string(), "unix:/run/wasmill.sock");
        assert_eq!(address.endpoint.authority(), "localhost");
    }

    #[test]
    fn an_invalid_server_address_is_rejected() {
        for text in [
            "",
            "unix:",
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
