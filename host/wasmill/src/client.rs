//! Asks a Wasmill server over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a GET and returns the status and the body.
pub(crate) async fn get(server: SocketAddr, path: &str) -> Result<(StatusCode, Bytes)> {
    match tokio::time::timeout(TIMEOUT, exchange(server, path)).await {
        Ok(answer) => answer,
        Err(_) => bail!("no answer from {server} within {TIMEOUT:?}"),
    }
}

async fn exchange(server: SocketAddr, path: &str) -> Result<(StatusCode, Bytes)> {
    let stream =
        TcpStream::connect(server).await.with_context(|| format!("failed to connect to {server}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, server.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.with_context(|| format!("no answer from {server}"))?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
