//! A mock server that gives the responses of a test, for those that a real server rarely gives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use serde_json::Value;

use crate::{CommandOutput, wasmill};

/// A received request.
#[derive(Clone, Debug, Default)]
pub struct ReceivedRequest {
    /// Such as `GET`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Each header as `name: value`, its name in lower case.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

impl ReceivedRequest {
    /// Returns the value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| header.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns true if this header was sent, as `name: value`.
    pub fn has_header(&self, header: &str) -> bool {
        self.headers.iter().any(|given| given == header)
    }
}

/// A response.
pub enum Reply {
    /// A status and JSON.
    Json(u16, Value),
    /// Server-sent events from a channel; the connection closes when the sender is dropped.
    Events(mpsc::Receiver<String>),
    /// These raw bytes, then the connection closes.
    Bytes(&'static str),
    /// The same, byte by byte with this pause, until the client hangs up.
    Slowly(&'static str, Duration),
    /// No response, until the client hangs up.
    Never,
}

impl Reply {
    /// Sends these events and closes the connection.
    ///
    /// # Panics
    ///
    /// Never: the channel has capacity.
    pub fn events(events: &[String]) -> Self {
        let (sender, receiver) = mpsc::channel();
        for event in events {
            sender.send(event.clone()).expect("the receiver is here");
        }
        Self::Events(receiver)
    }

    /// Responds like a server without this route.
    pub fn unknown_route() -> Self {
        let detail = "no route matches this path";
        Self::Json(404, serde_json::json!({ "code": "unknown-route", "detail": detail }))
    }
}

/// A mock server that lives as long as the process.
pub struct MockServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl MockServer {
    /// Runs a command that talks to this server.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn wasmill(&self, args: &[&str]) -> CommandOutput {
        let folder = tempfile::tempdir().expect("a folder");
        wasmill(folder.path(), &[args, &["--server", &self.url()]].concat())
    }

    /// Starts a server on loopback.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start(answer: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1", answer)
    }

    /// Starts a server on another address of this machine, such as `127.0.0.2`.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start_at(
        address: &str,
        answer: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let (kept, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || {
                    // A client that hangs up is not an error.
                    let _ = serve(caller, &kept, &*answer);
                });
            }
        });
        Self { address, asked }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the number of requests so far.
    pub fn count(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    mut caller: TcpStream,
    kept: &Mutex<Vec<ReceivedRequest>>,
    answer: &dyn Fn(&ReceivedRequest) -> Reply,
) -> std::io::Result<()> {
    let asked = read(&caller)?;
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
    match answer(&asked) {
        Reply::Json(status, value) => {
            let kind = if status < 400 { "json" } else { "problem+json" };
            let body = value.to_string();
            write!(
                caller,
                "HTTP/1.1 {status} Status\r\ncontent-type: application/{kind}\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            )
        }
        Reply::Events(events) => {
            write!(
                caller,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            )?;
            for event in events {
                caller.write_all(event.as_bytes())?;
            }
            Ok(())
        }
        Reply::Bytes(bytes) => caller.write_all(bytes.as_bytes()),
        Reply::Slowly(bytes, pause) => {
            for byte in bytes.bytes() {
                caller.write_all(&[byte])?;
                std::thread::sleep(pause);
            }
            Ok(())
        }
        Reply::Never => caller.read(&mut [0]).map(drop),
    }
}

fn read(caller: &TcpStream) -> std::io::Result<ReceivedRequest> {
    let mut lines = BufReader::new(caller);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked = ReceivedRequest {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..ReceivedRequest::default()
    };
    let mut length = 0;
    loop {
        line.clear();
        lines.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_lowercase(), value.trim());
        if name == "content-length" {
            length = value.parse().unwrap_or(0);
        }
        asked.headers.push(format!("{name}: {value}"));
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body)?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    Ok(asked)
}
