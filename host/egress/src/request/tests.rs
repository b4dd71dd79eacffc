//! Tests requests against servers on this machine, plain and TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::StatusCode;
use hyper::body::Bytes;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use super::*;
use crate::connections::{ConnectionQuota, Traffic};

const RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret";

/// Reads a request, and answers it.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, response: &str) {
    let _ = stream.read(&mut [0; 1024]).await;
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Starts a server that answers every connection with the same bytes; returns its port.
async fn server(response: &'static str, tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => answer(stream, response).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, response).await;
                    }
                }
            }
        }
    });
    port
}

/// Resolves every name to this machine, as an attacker's DNS would.
fn all_names_are_here(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
}

/// A request to a server on this machine.
struct Call<'a> {
    url: String,
    roots: Option<&'a str>,
    is_allowed: bool,
    head_timeout: Duration,
    meter: Option<TrafficMeter>,
}

impl Call<'_> {
    fn to(url: String) -> Self {
        Self { url, roots: None, is_allowed: true, head_timeout: Duration::from_secs(60), meter: None }
    }

    async fn send(self) -> Result<(StatusCode, Bytes), RequestError> {
        let connector =
            Connector::new(self.roots.map(str::as_bytes), ConnectionQuota::Own).expect("valid roots");
        let connector = connector.with_lookup(all_names_are_here);
        let request = Request::get(&self.url).body(Empty::<Bytes>::new()).expect("a valid URL");
        let route = Route {
            endpoint: &Endpoint::of(request.uri()).expect("a host"),
            is_allowed: &|_| self.is_allowed,
            connect_timeout: Duration::from_secs(60),
            head_timeout: self.head_timeout,
            meter: self.meter,
            finish_headers: None,
        };
        let (response, _driver) = connector.send(route, request).await?;
        Ok((response.status(), response.into_body().collect().await.expect("a whole body").to_bytes()))
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_refused_unless_allowed() {
    let url = format!("http://api.example.com:{}/", server(RESPONSE, None).await);
    let refused = Call { is_allowed: false, ..Call::to(url.clone()) }.send().await;
    assert!(matches!(refused, Err(RequestError::Connect(ConnectError::Prohibited(_)))), "{refused:?}");
    assert_eq!(Call::to(url).send().await.expect("allowed").1, "secret");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/secret\r\ncontent-length: 0\r\n\r\n";
    let url = format!("http://localhost:{}/", server(redirect, None).await);
    assert_eq!(Call::to(url).send().await.expect("a response").0, StatusCode::FOUND);
}

#[tokio::test]
async fn the_host_comes_first_and_other_headers_keep_their_values() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = Endpoint::at(listener.local_addr().expect("it is bound"));
    let connector = Connector::new(None, ConnectionQuota::Own).expect("no roots to read");
    let minute = Duration::from_secs(60);
    let route = Route {
        endpoint: &endpoint,
        is_allowed: &|_| true,
        connect_timeout: minute,
        head_timeout: minute,
        meter: None,
        finish_headers: None,
    };
    let request = Request::get("http://elsewhere/a?b").header("x", "1").header("x", "2").header("host", "c");
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let serving = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await.expect("a request");
        stream.write_all(RESPONSE.as_bytes()).await.expect("it reads");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let (head, sent) = tokio::join!(serving, connector.send(route, request));
    assert!(sent.is_ok(), "{sent:?}");
    let expected = format!("GET /a?b HTTP/1.1\r\nhost: {}\r\nx: 1\r\nx: 2\r\n\r\n", endpoint.authority());
    assert_eq!(head, expected);
}

#[tokio::test]
async fn bytes_on_a_connection_are_counted_including_headers() {
    let port = server(RESPONSE, None).await;
    let counts = Arc::new(Mutex::new((0, 0)));
    let counted = Arc::clone(&counts);
    let meter: TrafficMeter = Arc::new(move |traffic| {
        let mut counts = counted.lock().expect("nobody panics with it");
        match traffic {
            Traffic::Sent(bytes) => counts.0 += bytes,
            Traffic::Received(bytes) => counts.1 += bytes,
        }
    });
    Call { meter: Some(meter), ..Call::to(format!("http://LOCALHOST.:{port}/a?b#c")) }
        .send()
        .await
        .expect("it");
    let sent = format!("GET /a?b HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n");
    assert_eq!(*counts.lock().expect("nobody panics with it"), (sent.len(), RESPONSE.len()));
}

#[tokio::test]
async fn a_response_head_has_to_be_short_and_in_time() {
    let port = server("220 mail.example.com ESMTP\r\n", None).await;
    let sent = Call::to(format!("http://localhost:{port}/")).send().await;
    assert!(matches!(sent, Err(RequestError::Http(_))), "{sent:?}");

    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(2 * BUFFER_BYTES_MAX));
    let port = server(long.leak(), None).await;
    let sent = Call::to(format!("http://localhost:{port}/")).send().await;
    assert!(matches!(sent, Err(RequestError::Http(_))), "{sent:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    let sent = Call { head_timeout: Duration::from_millis(50), ..Call::to(url) }.send().await;
    assert!(matches!(sent, Err(RequestError::HeadTimeout(_))), "{sent:?}");
}

#[tokio::test]
async fn dropping_the_driver_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = Endpoint::at(listener.local_addr().expect("it is bound"));
    let connector = Connector::new(None, ConnectionQuota::Own).expect("no roots to read");
    let minute = Duration::from_secs(60);
    let route = Route {
        endpoint: &endpoint,
        is_allowed: &|_| true,
        connect_timeout: minute,
        head_timeout: minute,
        meter: None,
        finish_headers: None,
    };
    let serving = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let _ = stream.read(&mut [0; 1024]).await.expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("it reads");
        stream
    };
    let sending = connector.send(route, Request::new(Empty::<Bytes>::new()));
    let (mut stream, sent) = tokio::join!(serving, sending);
    let (response, driver) = sent.expect("a response");
    drop(driver);
    assert_eq!(timeout(minute, stream.read(&mut [0; 1])).await.expect("closed").expect("orderly"), 0);
    drop(response);
}

#[tokio::test]
async fn https_requires_a_valid_certificate_and_never_falls_back_to_http() {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let roots = certificate.pem();
    let port = server(RESPONSE, Some(acceptor(certificate.der().clone(), &key))).await;

    let trusting = |host| Call { roots: Some(&roots), ..Call::to(format!("https://{host}:{port}/")) };
    assert_eq!(trusting("localhost").send().await.expect("trusted").1, "secret");
    let plain = server(RESPONSE, None).await;
    for failing in [
        Call::to(format!("https://localhost:{port}/")),
        trusting("127.0.0.1"),
        Call::to(format!("https://localhost:{plain}/")),
    ] {
        let sent = failing.send().await;
        assert!(matches!(sent, Err(RequestError::Connect(ConnectError::Tls(_)))), "{sent:?}");
    }
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    TlsAcceptor::from(Arc::new(config))
}

#[test]
fn invalid_roots_are_rejected() {
    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Connector::new(Some(text.as_bytes()), ConnectionQuota::Own).is_err(), "{text}");
    }
}
