//! The same request repeatedly, over many kept-alive connections.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The request to send.
#[derive(Clone)]
pub(crate) struct RequestSpec {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

impl RequestSpec {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), body: Bytes::new() }
    }

    pub(crate) fn post(path: &str, body: &'static str) -> Self {
        Self { method: Method::POST, path: path.to_owned(), body: Bytes::from_static(body.as_bytes()) }
    }
}

/// Sends requests from this many concurrent clients until then; returns how many were answered.
pub(crate) async fn until(
    server: SocketAddr,
    clients: u64,
    asked: &RequestSpec,
    end: Instant,
) -> Result<u64> {
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut connection = connect(server).await?;
                let mut answered = 0;
                while Instant::now() < end {
                    ask(&mut connection, &asked).await?;
                    answered += 1;
                }
                anyhow::Ok(answered)
            })
        })
        .collect();
    let mut answered = 0;
    for client in clients {
        answered += client.await??;
    }
    Ok(answered)
}

/// Opens a connection.
pub(crate) async fn connect(server: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends one request and reads the whole response.
pub(crate) async fn ask(connection: &mut SendRequest<Full<Bytes>>, asked: &RequestSpec) -> Result<()> {
    let request = Request::builder()
        .method(asked.method.clone())
        .uri(&asked.path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(asked.body.clone()))?;
    let response = connection.send_request(request).await?;
    ensure!(response.status().is_success(), "answered {}", response.status());
    response.into_body().collect().await?;
    Ok(())
}
