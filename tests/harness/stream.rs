//! A stream of server-sent events on its own connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Deadline for the next event.
const DEADLINE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The name of the event.
    pub name: String,
    /// Its id, for `Last-Event-ID`.
    pub id: Option<String>,
    /// Its data.
    pub data: Value,
}

/// A stream that is read on demand; dropping it closes the connection.
pub struct Stream {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    unread: String,
    events: VecDeque<Event>,
    connection: JoinHandle<()>,
}

impl Stream {
    /// Opens a stream.
    ///
    /// # Errors
    ///
    /// Fails if the server is unreachable or disconnects.
    pub async fn open(server: SocketAddr, path: &str, last: Option<&str>, key: Option<&str>) -> Result<Self> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(TcpStream::connect(server).await?)).await?;
        let connection = tokio::spawn(async move {
            // Errors of the connection show up in the body.
            let _ = connection.await;
        });
        let mut request = Request::get(path).header(HOST, "localhost").header(ACCEPT, "text/event-stream");
        if let Some(key) = key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let (head, body) = sender.send_request(request.body(Empty::<Bytes>::new())?).await?.into_parts();
        let (status, headers) = (head.status, head.headers);
        Ok(Self { status, headers, body, unread: String::new(), events: VecDeque::new(), connection })
    }

    /// Waits for the next event; `None` at the end of the stream.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    pub async fn next(&mut self) -> Option<Event> {
        let next = tokio::time::timeout(DEADLINE, self.read()).await;
        next.unwrap_or_else(|_| panic!("no event within a minute; unread: {:?}", self.unread))
    }

    /// Reads all events until the stream ends.
    ///
    /// # Panics
    ///
    /// If no event arrives for a minute.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Reads and discards everything until the stream ends.
    pub async fn drain(&mut self) {
        while let Some(Ok(_)) = self.body.frame().await {}
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let frame = self.body.frame().await?.ok()?;
            let Some(data) = frame.data_ref() else { continue };
            self.unread.push_str(std::str::from_utf8(data).expect("pieces are whole"));
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                self.events.extend(event(block));
                self.unread = rest.to_owned();
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Parses one block; `None` for comments and the like.
fn event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
    };
    let data = serde_json::from_str(&field("data")?).expect("data is JSON");
    Some(Event { name: field("event").expect("each event has a name"), id: field("id"), data })
}
