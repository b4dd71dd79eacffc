//! Resolves, checks, connects, and speaks TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wasmill_model::BoxFuture;

use crate::address;
use crate::target::Target;

/// Resolves a host and a port. Tests have their own.
pub type Resolve = fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// How the world outside is reached.
pub struct Outside {
    resolve: Resolve,
    tls: TlsConnector,
}

/// Why there is no connection.
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

impl Outside {
    /// Trusts the roots that browsers trust, and those in a file of PEM if there is one.
    ///
    /// # Errors
    ///
    /// Fails if that file cannot be read or holds no certificate that can be a root.
    pub fn new(more_roots: Option<&Path>) -> Result<Self, String> {
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
        Ok(Self { resolve, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Asks this resolver instead of that of the system.
    pub fn resolving(self, resolve: Resolve) -> Self {
        Self { resolve, ..self }
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
    ) -> Result<TcpStream, Unreached> {
        connect_to_any(&self.addresses(target, may_be).await?).await.map_err(Unreached::Refused)
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
            Err(_) => (self.resolve)(target.host.clone(), target.port).await.map_err(Unreached::NotFound)?,
        };
        let first = addresses.first().ok_or(Unreached::NoAddress)?.ip();
        addresses.retain(|address| may_be(address.ip()) || address::is_public(address.ip()));
        if addresses.is_empty() { Err(Unreached::Prohibited(first)) } else { Ok(addresses) }
    }
}

/// Asks the resolver of the system.
fn resolve(host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}

async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut refusal = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and someone waits for each.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}
