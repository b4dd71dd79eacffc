//! Connections on which nothing is as a library would send it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long an attacker waits for an answer, and how much of one it reads.
const PATIENCE: Duration = Duration::from_secs(20);
const REPLY_BYTES_MAX: usize = 256 << 10;

/// A connection to the server.
pub(crate) struct Wire(TcpStream);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    body: Vec<u8>,
}

impl Reply {
    /// Returns the code of a problem; empty for other answers.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Wire {
    /// Connects from one of many addresses of this machine; `None` if the server takes no connection.
    pub(crate) async fn open(server: SocketAddr, attacker: usize) -> Option<Self> {
        let socket = TcpSocket::new_v4().ok()?;
        let last = u8::try_from(attacker % 200 + 2).unwrap_or(2);
        // Its own address counts its wrong keys.
        socket.bind((Ipv4Addr::new(127, 0, 1, last), 0).into()).ok()?;
        let stream = timeout(PATIENCE, socket.connect(server)).await.ok()?.ok()?;
        Some(Self(stream))
    }

    /// Sends bytes; false once the server has closed.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.0.write_all(bytes)).await.is_ok_and(|sent| sent.is_ok())
    }

    /// Sends a request, as much as the server takes, and reads its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Option<Reply> {
        // A server that refuses a request may close before it has read all of it.
        let _ = self.send(request).await;
        self.reply().await
    }

    /// Reads an answer; `None` if the connection ends without one.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        timeout(PATIENCE, self.read()).await.ok()?
    }

    async fn read(&mut self) -> Option<Reply> {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4 << 10]);
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let count = self.0.read(&mut piece).await.ok().filter(|count| *count > 0)?;
            bytes.extend_from_slice(&piece[..count]);
            if bytes.len() > REPLY_BYTES_MAX {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        let mut body = bytes.split_off(end);
        while body.len() < length.unwrap_or(0).min(REPLY_BYTES_MAX) {
            let Some(count) = self.0.read(&mut piece).await.ok().filter(|count| *count > 0) else { break };
            body.extend_from_slice(&piece[..count]);
        }
        Some(Reply { status, body })
    }
}
