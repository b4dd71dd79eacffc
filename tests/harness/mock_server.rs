//! A server that answers what a test tells it to: for answers that a real one gives rarely.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use serde_json::Value;

/// A request that was made.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Such as `GET`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Each header as `name: value`, its name in lower case.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

impl Asked {
    /// Returns the value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| header.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Says whether there is such a header, as `name: value`.
    pub fn has_header(&self, header: &str) -> bool {
        self.headers.iter().any(|given| given == header)
    }
}

/// An answer.
pub enum Reply {
    /// A status and JSON.
    Json(u16, Value),
    /// Server-sent events, as they come; the connection is cut when the other end is dropped.
    Events(mpsc::Receiver<String>),
    /// These bytes, whatever they are; then the connection is cut.
    Bytes(&'static str),
    /// The same, a byte at a time with this pause behind each, as long as the caller listens.
    Slowly(&'static str, Duration),
    /// Nothing, until the caller goes away.
    Never,
}

impl Reply {
    /// Sends these events and cuts the connection.
    ///
    /// # Panics
    ///
    /// Never: the channel has room.
    pub fn events(events: &[String]) -> Self {
        let (sender, receiver) = mpsc::channel();
        for event in events {
            sender.send(event.clone()).expect("the receiver is here");
        }
        Self::Events(receiver)
    }

    /// Answers as a server does that has no such route.
    pub fn unknown_route() -> Self {
        let detail = "there is nothing at this path";
        Self::Json(404, serde_json::json!({ "code": "unknown-route", "detail": detail }))
    }
}

/// A server; it lives as long as the process.
pub struct Fake {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// If there is no port.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1", answer)
    }

    /// Starts one at another address of this machine, such as `127.0.0.2`.
    ///
    /// # Panics
    ///
    /// If there is no port.
    pub fn start_at(address: &str, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let (kept, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || {
                    // A caller that goes away is no failure.
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

    /// Returns how much was asked so far.
    pub fn count(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns all that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    mut caller: TcpStream,
    kept: &Mutex<Vec<Asked>>,
    answer: &dyn Fn(&Asked) -> Reply,
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

fn read(caller: &TcpStream) -> std::io::Result<Asked> {
    let mut lines = BufReader::new(caller);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked = Asked {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..Asked::default()
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
