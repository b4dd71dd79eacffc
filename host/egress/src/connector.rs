//! Resolves a name, checks its addresses, connects, and starts TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::either::Either;

use crate::connections::{Connection, ConnectionLimit, ConnectionPermit, ConnectionQuota, TrafficMeter};
use crate::dial::connect_to_any;
use crate::endpoint::Endpoint;
use crate::public_address;
use crate::resolver::{LookupFn, Resolver};
use crate::tls::{EncryptedStream, TlsClient, Trust};

/// The maximum wait for a connection permit.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Opens outgoing connections.
pub struct Connector {
    resolver: Resolver,
    connections: ConnectionLimit,
    permit_wait_max: Duration,
    tls: TlsClient,
    /// Where all connections go, whatever their endpoint.
    socket: Option<PathBuf>,
}

/// Why a connection failed. The messages are for the server's log: they would tell clients which private names
/// exist.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name cannot be resolved.
    #[error("the host was not found: {0}")]
    NotFound(io::Error),
    /// The name resolves to no address.
    #[error("the host has no address")]
    NoAddress,
    /// The name resolves only to prohibited addresses, such as this one.
    #[error("the host resolves to {0}, which is not a public address")]
    Prohibited(IpAddr),
    /// The connection limit is reached, and no connection was closed in time.
    #[error("all {max} outgoing connections are in use")]
    Busy {
        /// The limit.
        max: usize,
    },
    /// The connection was refused or timed out.
    #[error("failed to connect: {0}")]
    Refused(io::Error),
    /// The host name cannot appear in a certificate.
    #[error("the host name cannot appear in a certificate")]
    InvalidName,
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
}

impl ConnectError {
    /// Returns a message that does not distinguish private names from names that do not exist.
    pub fn redacted(&self) -> String {
        match self {
            Self::NotFound(error) if error.kind() == io::ErrorKind::TimedOut => {
                "the host name lookup timed out".to_owned()
            }
            Self::NotFound(_) | Self::NoAddress | Self::Prohibited(_) => {
                "the host was not found or has no public address".to_owned()
            }
            Self::Busy { .. } | Self::Refused(_) | Self::InvalidName | Self::Tls(_) => self.to_string(),
        }
    }
}

impl Connector {
    /// Creates a connector that trusts the web's roots, and those of a PEM text if given. Its connections count
    /// against a quota.
    ///
    /// # Errors
    ///
    /// Fails if the text contains no valid root certificate.
    pub fn new(extra_roots: Option<&[u8]>, quota: ConnectionQuota) -> Result<Self, String> {
        Ok(Self {
            resolver: Resolver::system(quota),
            connections: ConnectionLimit::for_process(quota),
            permit_wait_max: PERMIT_WAIT_MAX,
            tls: TlsClient::new(extra_roots.map_or(Trust::Web, Trust::WebAnd))?,
            socket: None,
        })
    }

    /// Returns the maximum number of open connections, which the connectors of its quota share.
    pub fn connections_max(&self) -> usize {
        self.connections.max
    }

    /// Replaces the system's resolver.
    pub fn with_lookup(self, resolve: LookupFn) -> Self {
        Self { resolver: Resolver::with_lookup(resolve), ..self }
    }

    /// Connects to this Unix socket, whatever the endpoint.
    pub fn with_socket(self, path: PathBuf) -> Self {
        Self { socket: Some(path), ..self }
    }

    /// Accepts every certificate: connections are encrypted, and nobody knows with whom.
    pub fn with_any_certificate(self) -> Self {
        let tls = TlsClient::new(Trust::Anybody).expect("there are no roots to read");
        Self { tls, ..self }
    }

    /// Connects to a public address of the endpoint, or to one that `is_allowed` accepts.
    ///
    /// # Errors
    ///
    /// Fails if no permit is free in time, no address is allowed, or none accepts the connection.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        is_allowed: &(dyn Fn(IpAddr) -> bool + Sync),
        meter: Option<TrafficMeter>,
    ) -> Result<Connection, ConnectError> {
        let addresses = match self.socket {
            Some(_) => Vec::new(),
            None => self.addresses(endpoint, is_allowed).await?,
        };
        let permit = self.acquire().await?;
        let stream = match &self.socket {
            Some(path) => UnixStream::connect(path).await.map(Either::Right),
            None => connect_to_any(&addresses).await.map(Either::Left),
        };
        let stream = stream.map_err(ConnectError::Refused)?;
        Ok(Connection { stream, meter, _permit: permit })
    }

    /// Waits for the right to open a connection, which counts against the quota of this connector.
    ///
    /// # Errors
    ///
    /// Fails with [`ConnectError::Busy`] if no connection is closed in time.
    pub async fn reserve(&self) -> Result<ConnectionPermit, ConnectError> {
        self.acquire().await.map(ConnectionPermit::from)
    }

    /// Resolves a name, within the limits of all look-ups. The caller has to check the addresses.
    ///
    /// # Errors
    ///
    /// Fails if the name has no address, or none in time.
    pub async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let found = self.resolver.look_up(host, 0).await.map_err(ConnectError::NotFound)?;
        let mut addresses = Vec::new();
        for address in found.iter().map(|address| address.ip().to_canonical()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(ConnectError::NoAddress) } else { Ok(addresses) }
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit, ConnectError> {
        let busy = ConnectError::Busy { max: self.connections.max };
        timeout(self.permit_wait_max, self.connections.acquire()).await.map_err(|_| busy)
    }

    /// Starts TLS with the endpoint on a connection.
    ///
    /// # Errors
    ///
    /// Fails if the handshake fails or the certificate is not valid for the host.
    pub(crate) async fn encrypt(
        &self,
        endpoint: &Endpoint,
        stream: Connection,
    ) -> Result<EncryptedStream<Connection>, ConnectError> {
        self.tls.connect(&endpoint.host, stream).await.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => ConnectError::InvalidName,
            _ => ConnectError::Tls(error),
        })
    }

    /// Resolves the host and drops prohibited addresses.
    async fn addresses(
        &self,
        endpoint: &Endpoint,
        is_allowed: &(dyn Fn(IpAddr) -> bool + Sync),
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
    async fn open_connections_are_limited_and_the_error_names_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port, tls: false };
        let connector = Connector {
            connections: ConnectionLimit::new(2),
            permit_wait_max: Duration::from_millis(50),
            ..Connector::new(None, ConnectionQuota::Guests).expect("no roots to read")
        };
        let connect = || connector.connect(&endpoint, &|_| true, None);
        let (first, _second) = (connect().await.expect("room"), connect().await.expect("room"));
        let refused = connect().await.err().expect("both are in use");
        assert!(matches!(refused, ConnectError::Busy { max: 2 }), "{refused:?}");
        assert!(refused.redacted().contains("all 2 outgoing connections"), "{refused}");
        drop(first);
        let reserved = connector.reserve().await.expect("room again");
        let refused = connect().await.err().expect("a reservation counts");
        assert!(matches!(refused, ConnectError::Busy { max: 2 }), "{refused:?}");
        drop(reserved);
        connect().await.expect("room again");
    }

    #[tokio::test]
    async fn a_look_up_returns_each_address_once_in_its_canonical_form() {
        fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let addresses = ["10.0.0.7", "::ffff:10.0.0.7", "fd00::1", "10.0.0.7"];
            let known = addresses.map(|address| SocketAddr::new(address.parse().expect("an address"), port));
            Ok(if host == "known" { known.to_vec() } else { Vec::new() })
        }
        let connector = Connector::new(None, ConnectionQuota::Own).expect("no roots").with_lookup(resolve);
        let expected = ["10.0.0.7", "fd00::1"].map(|address| address.parse::<IpAddr>().expect("an address"));
        assert_eq!(connector.look_up("known").await.expect("known"), expected);
        assert!(matches!(connector.look_up("unknown").await, Err(ConnectError::NoAddress)));
    }

    #[test]
    fn a_redacted_error_does_not_tell_a_private_name_from_a_missing_one() {
        let inner = ConnectError::Prohibited(IpAddr::from([10, 0, 0, 7])).redacted();
        assert!(!inner.contains("10.0.0.7"), "{inner}");
        for other in [ConnectError::NoAddress, ConnectError::NotFound(io::Error::other("no such name"))] {
            assert_eq!(other.redacted(), inner);
        }
    }
}
