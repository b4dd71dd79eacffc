//! Resolves, checks, connects, and speaks TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::connections::{Connection, ConnectionLimit, ConnectionQuota};
use crate::dial::connect_to_any;
use crate::endpoint::Endpoint;
use crate::public_address;
use crate::resolver::{LookupFn, Resolver};

/// The longest wait for room among the connections that may be open at once.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(10);

/// How the world outside is reached.
pub struct Connector {
    resolver: Resolver,
    connections: ConnectionLimit,
    permit_wait_max: Duration,
    tls: TlsConnector,
}

/// Why there is no connection. The texts are for those who may see the server's log: whoever only submits tasks
/// would learn from them which inner names there are.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name does not resolve.
    #[error("the host was not found: {0}")]
    NotFound(io::Error),
    /// It resolves to nothing.
    #[error("the host has no address")]
    NoAddress,
    /// It resolves to addresses that may not be gone to, such as this.
    #[error("the host leads to {0}, which is no public address")]
    Prohibited(IpAddr),
    /// As many connections are open as there may be, and none was closed in time.
    #[error("all {max} outgoing connections that there may be at once are in use")]
    Busy {
        /// How many there may be.
        max: usize,
    },
    /// Nobody answers there.
    #[error("no connection: {0}")]
    Refused(io::Error),
    /// No certificate could be for such a name.
    #[error("the host has no name that a certificate could prove")]
    InvalidName,
    /// Whoever answers does not prove the name, or speaks no TLS.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
}

impl ConnectError {
    /// Says why there is no connection, in words that do not tell an inner name from one that does not exist.
    pub fn redacted(&self) -> String {
        match self {
            Self::NotFound(error) if error.kind() == io::ErrorKind::TimedOut => {
                "the host was not found in time".to_owned()
            }
            Self::NotFound(_) | Self::NoAddress | Self::Prohibited(_) => {
                "the host was not found, or leads to no public address".to_owned()
            }
            Self::Busy { .. } | Self::Refused(_) | Self::InvalidName | Self::Tls(_) => self.to_string(),
        }
    }
}

impl Connector {
    /// Trusts the roots that browsers trust, and those in a file of PEM if there is one. Its connections are among
    /// those of a share.
    ///
    /// # Errors
    ///
    /// Fails if that file cannot be read or holds no certificate that can be a root.
    pub fn new(extra_roots: Option<&Path>, quota: ConnectionQuota) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = extra_roots {
            let before = roots.len();
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|error| format!("it cannot be read: {error}"))?
            {
                let certificate = certificate.map_err(|error| format!("it is not valid PEM: {error}"))?;
                roots.add(certificate).map_err(|error| format!("one of them can be no root: {error}"))?;
            }
            if roots.len() == before {
                return Err("there is no certificate in it".to_owned());
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks the versions that rustls has by default")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            resolver: Resolver::system(),
            connections: ConnectionLimit::for_process(quota),
            permit_wait_max: PERMIT_WAIT_MAX,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Asks this resolver instead of that of the system.
    pub fn with_lookup(self, resolve: LookupFn) -> Self {
        Self { resolver: Resolver::with_lookup(resolve), ..self }
    }

    /// Connects to a public address of the target, or to one that `is_allowed` says yes to.
    ///
    /// # Errors
    ///
    /// Says why there is no connection.
    pub async fn connect(
        &self,
        endpoint: &Endpoint,
        is_allowed: impl Fn(IpAddr) -> bool,
    ) -> Result<Connection, ConnectError> {
        let addresses = self.addresses(endpoint, is_allowed).await?;
        let busy = ConnectError::Busy { max: self.connections.max };
        let permit = timeout(self.permit_wait_max, self.connections.acquire()).await.map_err(|_| busy)?;
        let stream = connect_to_any(&addresses).await.map_err(ConnectError::Refused)?;
        Ok(Connection { stream, _permit: permit })
    }

    /// Speaks TLS with the target on a connection.
    ///
    /// # Errors
    ///
    /// Fails if the other side does not, or does not prove its name.
    pub async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        endpoint: &Endpoint,
        stream: S,
    ) -> Result<TlsStream<S>, ConnectError> {
        let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| ConnectError::InvalidName)?;
        self.tls.connect(name, stream).await.map_err(ConnectError::Tls)
    }

    /// Resolves the host and leaves out the addresses that it may not have.
    async fn addresses(
        &self,
        endpoint: &Endpoint,
        is_allowed: impl Fn(IpAddr) -> bool,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let mut addresses = match endpoint.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, endpoint.port)],
            Err(_) => {
                self.resolver.look_up(&endpoint.host, endpoint.port).await.map_err(ConnectError::NotFound)?
            }
        };
        let first = addresses.first().ok_or(ConnectError::NoAddress)?.ip();
        addresses.retain(|address| is_allowed(address.ip()) || public_address::is_public(address.ip()));
        if addresses.is_empty() { Err(ConnectError::Prohibited(first)) } else { Ok(addresses) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connections_are_bounded_and_the_refusal_names_the_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port, tls: false };
        let outside = Connector {
            connections: ConnectionLimit::new(2),
            permit_wait_max: Duration::from_millis(50),
            ..Connector::new(None, ConnectionQuota::Guests).expect("no roots to read")
        };
        let connect = || outside.connect(&endpoint, |_| true);
        let (first, _second) = (connect().await.expect("room"), connect().await.expect("room"));
        let refused = connect().await.expect_err("both are in use");
        assert!(matches!(refused, ConnectError::Busy { max: 2 }), "{refused:?}");
        assert!(refused.redacted().contains("all 2 outgoing connections"), "{refused}");
        drop(first);
        connect().await.expect("room again");
    }

    #[test]
    fn an_inner_name_and_a_name_that_does_not_exist_are_told_in_the_same_words() {
        let inner = ConnectError::Prohibited(IpAddr::from([10, 0, 0, 7])).redacted();
        assert!(!inner.contains("10.0.0.7"), "{inner}");
        for other in [ConnectError::NoAddress, ConnectError::NotFound(io::Error::other("no such name"))] {
            assert_eq!(other.redacted(), inner);
        }
    }
}
