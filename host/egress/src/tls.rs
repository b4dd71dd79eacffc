//! TLS with one server, on a stream that the caller has opened. The database and the connector start it.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, crypto,
};

/// Whose certificates are accepted.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Those that the web's roots have signed.
    Web,
    /// Those that the web's roots or the ones in this PEM text have signed.
    WebAnd(&'a [u8]),
    /// Those that the roots in this PEM text have signed, and no others.
    Only(&'a [u8]),
    /// Any: the connection is encrypted, and nobody knows with whom.
    Anybody,
}

/// A stream that is encrypted.
pub type EncryptedStream<S> = TlsStream<S>;

/// Starts TLS as a client.
#[derive(Clone)]
pub struct TlsClient(TlsConnector);

impl TlsClient {
    /// Creates a client.
    ///
    /// # Errors
    ///
    /// Fails if the text contains no valid root certificate.
    pub fn new(trust: Trust<'_>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if matches!(trust, Trust::Web | Trust::WebAnd(_)) {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        if let Trust::WebAnd(pem) | Trust::Only(pem) = trust {
            add_roots(&mut roots, pem)?;
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring speaks the versions that rustls has by default");
        let config = match trust {
            Trust::Anybody => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
                .with_no_client_auth(),
            _ => config.with_root_certificates(roots).with_no_client_auth(),
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Encrypts a stream to this host.
    ///
    /// # Errors
    ///
    /// Fails with [`io::ErrorKind::InvalidInput`] if the name cannot appear in a certificate; otherwise if the
    /// handshake fails or the certificate is not valid for the host.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<EncryptedStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0.connect(name, stream).await
    }
}

fn add_roots(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), String> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("invalid PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a certificate is not a valid root: {error}"))?;
    }
    if roots.len() == before { Err("it contains no certificate".to_owned()) } else { Ok(()) }
}

/// Accepts every certificate whose key the server has.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
