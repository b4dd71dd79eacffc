//! Parses server-sent events from a streamed response.
//!
//! Implements the WHATWG HTML format as far as Wasmill writes it: lines end in LF or CRLF.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

/// Maximum size of an event; a log line is a small part of that.
const EVENT_BYTES_MAX: usize = 16 << 20;
/// A stream that is idle this long is considered dead: servers send a comment every 15 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// The events of a response.
pub(crate) struct Events {
    body: Incoming,
    parser: Parser,
}

impl Events {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, parser: Parser::default() }
    }

    /// Waits for the next event; `None` when the server has ended the stream.
    ///
    /// # Errors
    ///
    /// Fails if the connection breaks or is idle for too long. Earlier events are not returned again.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.ready.pop_front() {
                return Ok(Some(event));
            }
            let frame = timeout(IDLE_TIMEOUT, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| anyhow!("no data for {IDLE_TIMEOUT:?}"))? else {
                return Ok(None);
            };
            if let Some(bytes) = frame?.data_ref() {
                self.parser.feed(bytes)?;
            }
        }
    }
}

/// Splits bytes into events.
#[derive(Default)]
struct Parser {
    /// An incomplete line.
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    ready: VecDeque<Event>,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            self.parse_line(&String::from_utf8_lossy(line));
        }
        self.line.extend_from_slice(rest);
        if self.line.len() + self.event.data.len() > EVENT_BYTES_MAX {
            bail!("an event is larger than {EVENT_BYTES_MAX} bytes");
        }
        Ok(())
    }

    fn parse_line(&mut self, line: &str) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                self.ready.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment, an id (which the data also has), or a field of a later version.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&str]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        for piece in pieces {
            parser.feed(piece.as_bytes()).unwrap();
        }
        parser.ready.into_iter().map(|event| (event.name, event.data)).collect()
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn an_event_has_a_name_and_data() {
        let text = ": hello\n\nid: 7\nevent: log\ndata: {\"a\":1}\n\nevent:end\r\ndata:x\r\n\r\n";
        assert_eq!(events(&[text]), [event("log", "{\"a\":1}"), event("end", "x")]);
    }

    #[test]
    fn events_may_be_split_anywhere() {
        let text = "event: log\ndata: one\ndata: two\n\nevent: log\ndata: ü\n\n";
        let whole = events(&[text]);
        assert_eq!(whole, [event("log", "one\ntwo"), event("log", "ü")]);
        for at in (0..text.len()).filter(|&at| text.is_char_boundary(at)) {
            assert_eq!(events(&[&text[..at], &text[at..]]), whole, "{at}");
        }
    }

    #[test]
    fn an_incomplete_event_is_dropped() {
        assert_eq!(events(&["event: log\ndata: on"]), []);
        assert_eq!(events(&["event: log\ndata: on\n"]), []);
        assert_eq!(events(&["event: log\n\n"]), []);
    }

    #[test]
    fn an_endless_event_is_rejected() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..20).any(|_| parser.feed(&piece).is_err()));
    }
}
