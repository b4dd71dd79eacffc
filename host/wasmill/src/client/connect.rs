//! Connections to a server, plain or TLS.
//!
//! Trusts the public roots and those of `--ca`. Uses no proxy and does not keep connections alive.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wasmill_egress::dial;

use crate::client::Address;
use crate::exit::{Exit, cli_error};

/// Time limit for connecting, name resolution included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Connector {
    /// `None` for plain HTTP.
    tls: Option<TlsConnector>,
}

impl Connector {
    /// A connector for plain HTTP.
    pub(crate) fn plain() -> Self {
        Self { tls: None }
    }

    /// Creates a connector; `more_roots` is a PEM file trusted in addition to the public roots.
    pub(crate) fn new(tls: bool, more_roots: Option<&Path>) -> Result<Self> {
        if !tls {
            return Ok(Self::plain());
        }
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = more_roots {
            add_roots(&mut roots, path).map_err(|why| {
                let path = path.display();
                cli_error(Exit::Usage, format!("failed to read certificates from {path}: {why}"))
            })?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// Connects, and drives the connection on its own task until both sides are done.
    pub(crate) async fn connect(&self, address: &Address) -> Result<SendRequest<Full<Bytes>>, String> {
        self.connect_with_hint(address, "; is `wasmill serve` running there?").await
    }

    /// Like `connect`; the hint is added to the error if the connection fails.
    pub(crate) async fn connect_with_hint(
        &self,
        address: &Address,
        hint: &str,
    ) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = match timeout(CONNECT_TIMEOUT, dial(&address.host, address.port)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(format!("failed to connect: {error}{hint}"));
            }
            Err(_) => return Err(format!("failed to connect within {CONNECT_TIMEOUT:?}")),
        };
        let Some(tls) = &self.tls else { return start_http(stream).await };
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| format!("'{}' is not a valid certificate name", address.host))?;
        let stream = timeout(CONNECT_TIMEOUT, tls.connect(name, stream)).await;
        let stream = stream.map_err(|_| format!("no TLS handshake within {CONNECT_TIMEOUT:?}"))?;
        start_http(stream.map_err(|error| format!("TLS failed: {error}"))?).await
    }
}

async fn start_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, String> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // The reader of the response sees the connection's errors.
    tokio::spawn(connection);
    Ok(sender)
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    if roots.len() == before { Err("it contains no certificate".to_owned()) } else { Ok(()) }
}
