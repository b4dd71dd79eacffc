//! The same request over and over, over many kept connections.

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

/// What is asked for.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), body: Bytes::new() }
    }

    pub(crate) fn post(path: &str, body: &'static str) -> Self {
        Self { method: Method::POST, path: path.to_owned(), body: Bytes::from_static(body.as_bytes()) }
    }
}

/// Asks from this many clients at once until then, and returns how often it was answered.
pub(crate) async fn until(server: SocketAddr, clients: u64, asked: &Asked, end: Instant) -> Result<u64> {
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

/// Asks once, and reads the whole answer.
pub(crate) async fn ask(connection: &mut SendRequest<Full<Bytes>>, asked: &Asked) -> Result<()> {
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
