//! Tests that addresses are checked after resolution, and how responses and errors reach the guest.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use http_body_util::{BodyExt, Empty};
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};
use wasmill_egress::{ConnectionQuota, Connector};
use wasmill_model::{BoxFuture, LogStream, Meter, Progress};

use super::*;
use crate::http::policy::authorize;
use crate::http::policy::tests::rule;
use crate::plugin::config::HttpRule;

/// Starts a server that answers every connection with the same bytes.
async fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// Resolves every name to this machine, as an attacker's DNS would.
fn all_names_are_here(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
}

/// A run host that only has a meter.
#[derive(Default)]
struct Metered(Meter);

impl RunHost for Metered {
    fn meter(&self) -> Option<&Meter> {
        Some(&self.0)
    }

    fn progress(&self, _: Progress) {}

    fn log(&self, _: LogStream, _: &[u8]) {}

    fn save(&self, _: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn restore(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async { Ok(None) })
    }
}

async fn send(rule: &HttpRule, path: &str) -> Result<Response<WasiBody>, Error> {
    send_trusting(None, rule, path).await
}

#[tokio::test]
async fn bytes_on_a_connection_are_counted_including_headers() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret";
    let host = Arc::new(Metered::default());
    let port = server(ANSWER).await.port();
    let response = send_metered(None, &rule("http", "localhost", port, "/"), "/", &host).await.unwrap();
    response.into_body().collect().await.unwrap();
    let used = host.0.read();
    assert_eq!(used.http_received_bytes, ANSWER.len() as u64);
    assert_eq!(used.http_sent_bytes, "GET / HTTP/1.1\r\n\r\n".len() as u64);
}

/// Sends a request, trusting the certificates of a file.
async fn send_trusting(
    roots: Option<&Path>,
    rule: &HttpRule,
    path: &str,
) -> Result<Response<WasiBody>, Error> {
    send_metered(roots, rule, path, &Arc::default()).await
}

/// Sends a request and counts its bytes.
async fn send_metered(
    roots: Option<&Path>,
    rule: &HttpRule,
    path: &str,
    host: &Arc<Metered>,
) -> Result<Response<WasiBody>, Error> {
    let connector = Connector::new(roots, ConnectionQuota::Guests).unwrap().with_lookup(all_names_are_here);
    let uri = format!("{}://{}:{}{path}", rule.scheme, rule.host, rule.port);
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::builder().uri(uri).body(body).unwrap();
    let allowed = authorize(&request, std::slice::from_ref(rule)).unwrap();
    let options = RequestOptions::default();
    let host = Arc::clone(host) as Arc<dyn RunHost>;
    let (response, driver) = super::send(&connector, &allowed, request, options, &host, &|| {}).await?;
    tokio::spawn(driver);
    Ok(response)
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_looks_nonexistent() {
    let port = server("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await.port();
    for host in ["api.example.com", "localhost.example.com"] {
        let sent = send(&rule("http", host, port, "/"), "/").await;
        assert!(matches!(sent, Err(Error::DestinationNotFound)), "{host}");
    }
    for host in ["localhost", "127.0.0.1"] {
        let response = send(&rule("http", host, port, "/"), "/").await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "secret");
    }
}

#[tokio::test]
async fn a_redirect_is_returned_to_the_guest() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/secret\r\ncontent-length: 0\r\n\r\n";
    let port = server(answer).await.port();
    let response = send(&rule("http", "localhost", port, "/"), "/").await.unwrap();
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn a_server_that_does_not_speak_http_is_an_error() {
    let port = server("220 mail.example.com ESMTP\r\n").await.port();
    let sent = send(&rule("http", "localhost", port, "/"), "/").await;
    assert!(matches!(sent, Err(Error::Hyper(_))));
}

#[tokio::test]
async fn https_requires_a_valid_certificate() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), certificate.pem()).unwrap();
    let port = tls_server(certificate.der().clone(), &key).await.port();

    let response = send_trusting(Some(roots.path()), &rule("https", "localhost", port, "/"), "/").await;
    assert_eq!(response.unwrap().into_body().collect().await.unwrap().to_bytes(), "secret");
    let untrusted = send(&rule("https", "localhost", port, "/"), "/").await;
    assert!(matches!(untrusted, Err(Error::Tls(_))));
    let other_name = send_trusting(Some(roots.path()), &rule("https", "127.0.0.1", port, "/"), "/").await;
    assert!(matches!(other_name, Err(Error::Tls(_))));
}

/// Starts a TLS server like [`server`].
async fn tls_server(certificate: CertificateDer<'static>, key: &KeyPair) -> SocketAddr {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok(mut stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[test]
fn invalid_root_files_are_rejected() {
    let roots = tempfile::NamedTempFile::new().unwrap();
    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(roots.path(), text).unwrap();
        assert!(Connector::new(Some(roots.path()), ConnectionQuota::Guests).is_err(), "{text}");
    }
    assert!(Connector::new(Some(Path::new("/nowhere")), ConnectionQuota::Guests).is_err());
}

#[tokio::test]
async fn https_never_falls_back_to_http() {
    let port = server("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await.port();
    let sent = send(&rule("https", "localhost", port, "/"), "/").await;
    assert!(matches!(sent, Err(Error::Tls(_))));
}
