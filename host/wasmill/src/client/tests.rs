//! The client against servers that use TLS or break off.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use super::*;
use crate::exit;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]";

fn args(server: String, ca: Option<&Path>) -> ServerArgs {
    ServerArgs { server, ca: ca.map(Path::to_owned), header: Vec::new(), key_file: None }
}

/// Starts a TLS server with this certificate that sends a fixed response; returns its port.
async fn tls_server(certificate: CertificateDer<'static>, key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let Ok(mut stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(RESPONSE).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn https_works_with_a_trusted_certificate_only() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), certificate.pem()).unwrap();
    let server = format!("https://localhost:{}", tls_server(certificate.der().clone(), &key).await);

    let trusting = Client::new(&args(server.clone(), Some(roots.path()))).unwrap();
    assert_eq!(trusting.get("/task").await.unwrap().text(), "[]");
    let error = Client::new(&args(server, None)).unwrap().get("/task").await.err().unwrap();
    assert_eq!(exit::code_of(&error), Exit::Unreachable);
    assert!(error.to_string().contains("TLS failed"), "{error}");
}

#[test]
fn a_file_without_certificates_is_rejected() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Client::new(&args("https://localhost".to_owned(), Some(file.path()))).err().unwrap();
    assert_eq!(exit::code_of(&error), Exit::Usage);
}

#[tokio::test]
async fn a_truncated_response_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(&RESPONSE[..RESPONSE.len() - 1]).await;
    });
    let error = Client::at(&Listen::Tcp(address), false).get("/task").await.err().unwrap();
    assert_eq!(exit::code_of(&error), Exit::Unreachable);
    assert!(error.to_string().contains("broke off"), "{error}");
}
