//! Tests what a guest learns of a response and of a connection that fails.

use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wasmill_egress::{ConnectionQuota, Connector};
use wasmill_model::{BoxFuture, LogStream, Meter, Progress};

use super::*;
use crate::http::policy::authorize;
use crate::http::policy::tests::rule;
use crate::plugin::config::HttpRule;

const RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret";

/// Starts a server that answers every connection with the same bytes; returns its port.
async fn server(response: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    port
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

async fn send(rule: &HttpRule) -> Result<Response<WasiBody>, Error> {
    send_metered(rule, &Arc::default()).await
}

/// Sends a request and counts its bytes.
async fn send_metered(rule: &HttpRule, host: &Arc<Metered>) -> Result<Response<WasiBody>, Error> {
    let connector = Connector::new(None, ConnectionQuota::Guests).unwrap().with_lookup(all_names_are_here);
    let uri = format!("{}://{}:{}/", rule.scheme, rule.host, rule.port);
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::builder().uri(uri).body(body).unwrap();
    let allowed = authorize(&request, std::slice::from_ref(rule)).unwrap();
    let options = RequestOptions::default();
    let host = Arc::clone(host) as Arc<dyn RunHost>;
    let call = Call { allowed: &allowed, host: &host, secrets: None, prohibited: &|| {} };
    let (response, mut driver) = super::send(&connector, call, request, options).await?;
    tokio::spawn(async move { driver.join_next().await });
    Ok(response)
}

#[tokio::test]
async fn the_bytes_of_a_request_are_those_of_its_run() {
    let host = Arc::new(Metered::default());
    let port = server(RESPONSE).await;
    let response = send_metered(&rule("http", "localhost", port, "/"), &host).await.unwrap();
    response.into_body().collect().await.unwrap();
    let used = host.0.read();
    assert_eq!(used.http_received_bytes, RESPONSE.len() as u64);
    let sent = format!("GET / HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n");
    assert_eq!(used.http_sent_bytes, sent.len() as u64);
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_looks_nonexistent() {
    let port = server(RESPONSE).await;
    for host in ["api.example.com", "localhost.example.com"] {
        let sent = send(&rule("http", host, port, "/")).await;
        assert!(matches!(sent, Err(Error::DestinationNotFound)), "{host}");
    }
    for host in ["localhost", "127.0.0.1"] {
        let response = send(&rule("http", host, port, "/")).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "secret");
    }
}

#[tokio::test]
async fn failures_of_http_and_tls_are_distinguished() {
    let port = server("220 mail.example.com ESMTP\r\n").await;
    assert!(matches!(send(&rule("http", "localhost", port, "/")).await, Err(Error::Hyper(_))));
    assert!(matches!(send(&rule("https", "localhost", port, "/")).await, Err(Error::Tls(_))));
}
