//! The socket of one client: how long it may take for what, and how it is closed.
//!
//! hyper reads and writes through it. Its own time limit would not tell a head that is sent slowly from a
//! connection that is kept for later, and it has none for a client that does not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long, and for how many bytes, a client may go on sending what nobody wants any more. A socket that is
/// closed while it still has something to read takes back what was written, and with it the answer.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 16 << 20;

/// How long a client may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// To send the head of a request, from its first byte on; of the first request from the beginning.
    pub(crate) head: Duration,
    /// To begin another request on the same connection.
    pub(crate) idle: Duration,
    /// To take something of what is written to it.
    pub(crate) write: Duration,
    /// To wait for an answer, or for more of it, after it has closed its side. Most that do so are gone.
    pub(crate) half_closed: Duration,
}

/// What the connection and its requests tell each other.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Odd while a request is with its route.
    turn: AtomicU32,
    /// Whether a request was answered of which not everything had been read.
    has_rest: AtomicBool,
}

impl Exchange {
    /// Notes that a request is with its route until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Turn {
        self.turn.fetch_add(1, Relaxed);
        Turn(Arc::clone(self))
    }

    /// Returns whether a request was answered of which not everything had been read.
    pub(crate) fn has_rest(&self) -> bool {
        self.has_rest.load(Relaxed)
    }
}

/// The time that a request is with its route.
pub(crate) struct Turn(Arc<Exchange>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.turn.fetch_add(1, Relaxed);
    }
}

/// The socket of a client.
pub(crate) struct Connection {
    stream: TcpStream,
    timeouts: Timeouts,
    exchange: Arc<Exchange>,
    /// The turn that was seen last, and whether something of the next head has come since.
    turn: u32,
    has_begun: bool,
    /// Whether the client has closed its side.
    is_half_closed: bool,
    /// Whether our side is closed, and how many bytes have come since.
    is_closed: bool,
    lingered: usize,
    reading: Timer,
    writing: Timer,
    ending: Timer,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, timeouts: Timeouts, exchange: Arc<Exchange>) -> Self {
        Self {
            stream,
            timeouts,
            exchange,
            turn: 0,
            has_begun: true,
            is_half_closed: false,
            is_closed: false,
            lingered: 0,
            reading: Timer::default(),
            writing: Timer::default(),
            ending: Timer::default(),
        }
    }

    /// Returns whether a request is with its route.
    fn is_in_turn(&mut self) -> bool {
        let turn = self.exchange.turn.load(Relaxed);
        if turn != self.turn {
            self.turn = turn;
            self.has_begun = false;
            self.reading.stop();
        }
        turn % 2 == 1
    }

    /// Notices that the client has closed its side, though nobody reads meanwhile, and gives up some time
    /// after that.
    fn check_half_closed(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.is_half_closed {
            let mut byte = [0];
            let peeked = self.stream.poll_peek(context, &mut ReadBuf::new(&mut byte));
            self.is_half_closed = match peeked {
                Poll::Ready(peeked) => peeked? == 0,
                Poll::Pending => false,
            };
        }
        if self.is_half_closed && self.ending.poll(self.timeouts.half_closed, context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Notes that something was written, or cuts off a client that takes nothing.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing.stop();
            self.ending.stop();
            return written;
        }
        ready!(self.writing.poll(self.timeouts.write, context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads what still comes, and forgets it, until the client closes its side too.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
            let count = buffer.filled().len();
            match read {
                Poll::Ready(Ok(())) if count > 0 && self.lingered < LINGER_BYTES_MAX => {
                    self.lingered += count;
                }
                Poll::Pending if self.expects_more() => return self.ending.poll(LINGER, context),
                Poll::Ready(_) | Poll::Pending => return Poll::Ready(()),
            }
        }
    }

    /// Says whether the client was cut short.
    fn expects_more(&mut self) -> bool {
        let is_head = !self.is_in_turn() && self.has_begun;
        is_head || self.lingered > 0 || self.exchange.has_rest()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let is_in_turn = this.is_in_turn();
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if buffer.filled().len() == before {
                this.is_half_closed = true;
            } else if !is_in_turn && !this.has_begun {
                this.has_begun = true;
                this.reading.stop();
            }
            return Poll::Ready(read);
        }
        if !is_in_turn {
            let timeout = if this.has_begun { this.timeouts.head } else { this.timeouts.idle };
            ready!(this.reading.poll(timeout, context));
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
        self.written(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper comes by here whenever it waits, also if there is nothing to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_half_closed(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_closed {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.is_closed = true;
            this.ending.stop();
        }
        ready!(this.linger(context));
        Poll::Ready(Ok(()))
    }
}

/// Measures one wait after the other, without memory for each.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Timer {
    /// Begins to wait if it does not, and says when that is over.
    fn poll(&mut self, wait: Duration, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        if !self.is_running {
            sleep.as_mut().reset(Instant::now() + wait);
            self.is_running = true;
        }
        sleep.as_mut().poll(context)
    }

    fn stop(&mut self) {
        self.is_running = false;
    }
}

/// The body of a request, which tells its connection if it is let go before its end.
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
            self.exchange.has_rest.store(true, Relaxed);
        }
    }
}
