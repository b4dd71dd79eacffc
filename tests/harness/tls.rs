//! A certificate authority, and clients that trust nobody else.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto, version};

/// Deadline for a response.
const DEADLINE: Duration = Duration::from_secs(60);

/// A certificate authority of one test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate for this machine, and its private key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate as PEM.
    pub pem: String,
    /// Its private key as PEM.
    pub key: String,
    /// The certificate as DER, as a client gets it.
    pub der: Vec<u8>,
}

impl Certificate {
    /// Writes `cert.pem` and `key.pem`.
    ///
    /// # Panics
    ///
    /// If the folder cannot be written.
    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("cert.pem"), &self.pem).expect("written");
        std::fs::write(folder.join("key.pem"), &self.key).expect("written");
    }
}

impl Authority {
    /// Creates an authority.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Returns its certificate as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for this machine.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    pub fn issue(&self) -> Certificate {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("valid names");
        let issued = params.signed_by(&key, &self.0).expect("a certificate");
        Certificate { pem: issued.pem(), key: key.serialize_pem(), der: issued.der().to_vec() }
    }

    /// Connects to a server, and trusts certificates of this authority alone.
    ///
    /// # Errors
    ///
    /// Fails if the server is unreachable, or another.
    pub async fn connect(&self, server: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        self.connect_with(server, &[&version::TLS13, &version::TLS12]).await
    }

    /// Connects with one of these versions of TLS.
    ///
    /// # Errors
    ///
    /// See [`Authority::connect`].
    ///
    /// # Panics
    ///
    /// If there is no such version.
    pub async fn connect_with(
        &self,
        server: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(server).await?;
        let name = ServerName::from(server.ip());
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// Sends requests over one encrypted connection.
pub struct TlsClient {
    http: SendRequest<Full<Bytes>>,
    /// The certificate of the server, as DER.
    pub certificate: Vec<u8>,
}

impl TlsClient {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// Fails if the server is unreachable, or has no certificate of this authority.
    pub async fn connect(server: SocketAddr, authority: &Authority) -> Result<Self> {
        let stream = authority.connect(server).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = certificates.first().map(|first| first.to_vec()).unwrap_or_default();
        let (http, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { http, certificate })
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    ///
    /// Fails if the connection breaks, or if there is no response within a minute.
    pub async fn send(&mut self, method: Method, path: &str, body: &str) -> Result<(StatusCode, String)> {
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::from(body.to_owned()))?;
        tokio::time::timeout(DEADLINE, async {
            self.http.ready().await?;
            let answer = self.http.send_request(request).await?;
            let status = answer.status();
            let text = answer.into_body().collect().await?.to_bytes();
            Ok((status, String::from_utf8_lossy(&text).into_owned()))
        })
        .await?
    }

    /// GETs a path.
    ///
    /// # Errors
    ///
    /// See [`TlsClient::send`].
    pub async fn get(&mut self, path: &str) -> Result<(StatusCode, String)> {
        self.send(Method::GET, path, "").await
    }
}
