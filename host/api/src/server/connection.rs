//! The connection of one client, with its timeouts and an orderly close.
//!
//! hyper reads and writes through it. hyper's own timeout cannot tell a slow request head from an idle
//! connection, and hyper has none for a client that does not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Transport;
use super::timer::Timer;

/// How long, and how many bytes, are still read and discarded after the response. Closing a socket with
/// unread input sends RST, which can destroy the response in flight.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 16 << 20;

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// To send a request head: from its first byte, or for the first request from the accept.
    pub(crate) head: Duration,
    /// To start another request on the connection.
    pub(crate) idle: Duration,
    /// To wait for the response after the client has closed its side; most such clients are gone.
    pub(crate) half_closed: Duration,
}

/// State shared by a connection and its request handlers.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Incremented when a handler starts and when it ends, so it is odd while one runs. Relaxed is enough:
    /// both sides run in the connection's task.
    handler_seq: AtomicU32,
    /// Set if a handler answered without reading the whole request body.
    has_unread_body: AtomicBool,
    /// Set if the last response is a stream of events.
    is_event_stream: AtomicBool,
}

impl Exchange {
    /// Marks a handler as running until the guard is dropped.
    pub(crate) fn enter_handler(self: &Arc<Self>) -> HandlerGuard {
        self.handler_seq.fetch_add(1, Relaxed);
        HandlerGuard(Arc::clone(self))
    }

    /// Records whether the response is a stream of events, which ends only with its source.
    pub(crate) fn set_event_stream(&self, is_event_stream: bool) {
        self.is_event_stream.store(is_event_stream, Relaxed);
    }

    /// Returns true if the last response is a stream of events.
    pub(crate) fn is_event_stream(&self) -> bool {
        self.is_event_stream.load(Relaxed)
    }

    /// Returns true if a request body was not read to its end.
    pub(crate) fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Relaxed)
    }
}

/// Marks a handler as running.
pub(crate) struct HandlerGuard(Arc<Exchange>);

impl Drop for HandlerGuard {
    fn drop(&mut self) {
        self.0.handler_seq.fetch_add(1, Relaxed);
    }
}

/// The connection of a client.
pub(crate) struct Connection {
    stream: Transport,
    /// A byte that was read to learn whether the client has closed its side.
    peeked: Option<u8>,
    timeouts: Timeouts,
    exchange: Arc<Exchange>,
    /// The last `handler_seq` seen, and whether bytes of the next head have arrived since.
    handler_seq: u32,
    has_head_bytes: bool,
    /// Whether the client has closed its side.
    is_half_closed: bool,
    /// Whether our side is closed, and the bytes discarded since.
    is_closed: bool,
    lingered: usize,
    read_timer: Timer,
    close_timer: Timer,
}

impl Connection {
    pub(crate) fn new(stream: Transport, timeouts: Timeouts, exchange: Arc<Exchange>) -> Self {
        Self {
            stream,
            peeked: None,
            timeouts,
            exchange,
            handler_seq: 0,
            has_head_bytes: true,
            is_half_closed: false,
            is_closed: false,
            lingered: 0,
            read_timer: Timer::default(),
            close_timer: Timer::default(),
        }
    }

    /// Returns true while a handler runs. A change resets the head and idle timeouts.
    fn is_handling(&mut self) -> bool {
        let handler_seq = self.exchange.handler_seq.load(Relaxed);
        if handler_seq != self.handler_seq {
            self.handler_seq = handler_seq;
            self.has_head_bytes = false;
            self.read_timer.stop();
        }
        handler_seq % 2 == 1
    }

    /// Detects a client that has closed its side while hyper is not reading, and fails after the half-closed
    /// timeout.
    fn check_half_closed(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.is_half_closed && self.peeked.is_none() {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            if let Poll::Ready(read) = self.poll_stream(context, &mut buffer) {
                read?;
                self.peeked = buffer.filled().first().copied();
                self.is_half_closed = self.peeked.is_none();
            }
        }
        if self.is_half_closed && self.close_timer.poll(self.timeouts.half_closed, context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Reads from the stream. TLS that ends without a farewell is closed, as TCP is: HTTP knows where a message ends.
    fn poll_stream(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_read(context, buffer)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }

    /// Restarts the half-closed timeout on progress: the client still reads.
    fn note_written<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.close_timer.stop();
        }
        written
    }

    /// Reads and discards input until the client closes its side too.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = self.poll_stream(context, &mut buffer);
            let count = buffer.filled().len();
            match read {
                Poll::Ready(Ok(())) if count > 0 && self.lingered < LINGER_BYTES_MAX => {
                    self.lingered += count;
                }
                Poll::Pending if self.expects_more() => {
                    return self.close_timer.poll(LINGER_TIMEOUT, context);
                }
                Poll::Ready(_) | Poll::Pending => return Poll::Ready(()),
            }
        }
    }

    /// Returns true if the client may still be sending a request.
    fn expects_more(&mut self) -> bool {
        let is_head = !self.is_handling() && self.has_head_bytes;
        is_head || self.lingered > 0 || self.exchange.has_unread_body()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let is_handling = this.is_handling();
        let before = buffer.filled().len();
        let read = match this.peeked {
            Some(byte) if buffer.remaining() > 0 => {
                buffer.put_slice(&[byte]);
                this.peeked = None;
                // With what follows it, or a large body arrives in single bytes. An end or an error is found again.
                let _ = this.poll_stream(context, buffer);
                Poll::Ready(Ok(()))
            }
            _ => this.poll_stream(context, buffer),
        };
        if let Poll::Ready(read) = read {
            if buffer.filled().len() == before {
                this.is_half_closed = true;
            } else if !is_handling && !this.has_head_bytes {
                this.has_head_bytes = true;
                this.read_timer.stop();
            }
            return Poll::Ready(read);
        }
        if !is_handling {
            let timeout = if this.has_head_bytes { this.timeouts.head } else { this.timeouts.idle };
            ready!(this.read_timer.poll(timeout, context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper polls this whenever it waits, even with nothing to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_half_closed(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_closed {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.is_closed = true;
            this.close_timer.stop();
        }
        ready!(this.linger(context));
        Poll::Ready(Ok(()))
    }
}

/// A request body that tells its connection if it is dropped before its end.
pub(crate) struct RequestBody {
    body: Incoming,
    exchange: Arc<Exchange>,
    is_read: bool,
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, exchange: Arc<Exchange>) -> Self {
        Self { body, exchange, is_read: false }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.is_read |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.is_read && !self.body.is_end_stream() {
            self.exchange.has_unread_body.store(true, Relaxed);
        }
    }
}
