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

use crate::address;
use crate::connections::{Connection, Connections, Share};
use crate::dial::connect_to_any;
use crate::resolver::{Resolve, Resolver};
use crate::target::Target;

/// The longest wait for room among the connections that may be open at once.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(10);

/// How the world outside is reached.
pub struct Outside {
    resolver: Resolver,
    connections: Connections,
    room_wait_max: Duration,
    tls: TlsConnector,
}

/// Why there is no connection. The texts are for those who may see the server's log: whoever only submits tasks
/// would learn from them which inner names there are.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
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

impl Unreached {
    /// Says why there is no connection, in words that do not tell an inner name from one that does not exist.
    pub fn without_inner_names(&self) -> String {
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

impl Outside {
    /// Trusts the roots that browsers trust, and those in a file of PEM if there is one. Its connections are among
    /// those of a share.
    ///
    /// # Errors
    ///
    /// Fails if that file cannot be read or holds no certificate that can be a root.
    pub fn new(more_roots: Option<&Path>, share: Share) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = more_roots {
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
            resolver: Resolver::of_system(),
            connections: Connections::of_process(share),
            room_wait_max: ROOM_WAIT_MAX,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Asks this resolver instead of that of the system.
    pub fn resolving(self, resolve: Resolve) -> Self {
        Self { resolver: Resolver::asking(resolve), ..self }
    }

    /// Connects to a public address of the target, or to one that `may_be` says yes to.
    ///
    /// # Errors
    ///
    /// Says why there is no connection.
    pub async fn connect(
        &self,
        target: &Target,
        may_be: impl Fn(IpAddr) -> bool,
    ) -> Result<Connection, Unreached> {
        let addresses = self.addresses(target, may_be).await?;
        let busy = Unreached::Busy { max: self.connections.max };
        let permit = timeout(self.room_wait_max, self.connections.acquire()).await.map_err(|_| busy)?;
        let stream = connect_to_any(&addresses).await.map_err(Unreached::Refused)?;
        Ok(Connection { stream, _permit: permit })
    }

    /// Speaks TLS with the target on a connection.
    ///
    /// # Errors
    ///
    /// Fails if the other side does not, or does not prove its name.
    pub async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        target: &Target,
        stream: S,
    ) -> Result<TlsStream<S>, Unreached> {
        let name = ServerName::try_from(target.host.clone()).map_err(|_| Unreached::InvalidName)?;
        self.tls.connect(name, stream).await.map_err(Unreached::Tls)
    }

    /// Resolves the host and leaves out the addresses that it may not have.
    async fn addresses(
        &self,
        target: &Target,
        may_be: impl Fn(IpAddr) -> bool,
    ) -> Result<Vec<SocketAddr>, Unreached> {
        let mut addresses = match target.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, target.port)],
            Err(_) => self.resolver.look_up(&target.host, target.port).await.map_err(Unreached::NotFound)?,
        };
        let first = addresses.first().ok_or(Unreached::NoAddress)?.ip();
        addresses.retain(|address| may_be(address.ip()) || address::is_public(address.ip()));
        if addresses.is_empty() { Err(Unreached::Prohibited(first)) } else { Ok(addresses) }
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
        let target = Target { host: "127.0.0.1".to_owned(), port, tls: false };
        let outside = Outside {
            connections: Connections::new(2),
            room_wait_max: Duration::from_millis(50),
            ..Outside::new(None, Share::Guests).expect("no roots to read")
        };
        let connect = || outside.connect(&target, |_| true);
        let (first, _second) = (connect().await.expect("room"), connect().await.expect("room"));
        let refused = connect().await.expect_err("both are in use");
        assert!(matches!(refused, Unreached::Busy { max: 2 }), "{refused:?}");
        assert!(refused.without_inner_names().contains("all 2 outgoing connections"), "{refused}");
        drop(first);
        connect().await.expect("room again");
    }

    #[test]
    fn an_inner_name_and_a_name_that_does_not_exist_are_told_in_the_same_words() {
        let inner = Unreached::Prohibited(IpAddr::from([10, 0, 0, 7])).without_inner_names();
        assert!(!inner.contains("10.0.0.7"), "{inner}");
        for other in [Unreached::NoAddress, Unreached::NotFound(io::Error::other("no such name"))] {
            assert_eq!(other.without_inner_names(), inner);
        }
    }
}
