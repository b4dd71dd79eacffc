//! The address of a server: a URL, a host and a port, or the path of a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use wasmill_api::Listen;
use wasmill_egress::{BaseUrl, Endpoint};

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
        let url: BaseUrl = text.parse().map_err(|why: String| invalid(&why))?;
        Ok(Self { endpoint: url.endpoint, prefix: url.prefix, socket: None })
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
    fn a_server_address_may_be_the_path_of_a_socket() {
        let address: Address = "unix:/run/wasmill.sock".parse().unwrap();
        assert_eq!(address.socket.as_deref(), Some(std::path::Path::new("/run/wasmill.sock")));
        assert_eq!(address.to_string(), "unix:/run/wasmill.sock");
        assert_eq!(address.endpoint.authority(), "localhost");
    }

    #[test]
    fn an_invalid_server_address_is_rejected() {
        for text in ["", "unix:", "ftp://host", "http://host/?a=b"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains("is not a server address"), "{error}");
        }
    }
}
