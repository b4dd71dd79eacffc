//! What a guest writes to, as the streams of wasmtime-wasi: its log, or the buffer of its result. Never blocks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Bytes that a guest may write in one call.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Takes the output of a guest. Clones share it.
pub(crate) trait Sink: Clone + Send + Sync + Unpin + 'static {
    /// Appends what the guest wrote.
    ///
    /// # Errors
    ///
    /// Fails if it exceeds a limit.
    fn append(&self, written: &[u8]) -> Result<(), Overflow>;
}

/// The program wrote more than its limit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Overflow {
    #[error("stdout exceeds the limit `result`")]
    Result,
    #[error("stdout exceeds the limit `memory`")]
    Memory,
}

/// The stream of a sink.
#[derive(Clone)]
pub(crate) struct GuestOutput<S>(pub(crate) S);

impl<S: Sink> IsTerminal for GuestOutput<S> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<S: Sink> StdoutStream for GuestOutput<S> {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl<S: Sink> OutputStream for GuestOutput<S> {
    fn write(&mut self, written: Bytes) -> StreamResult<()> {
        // Traps at once: a program that only saw an error could keep writing forever.
        self.0.append(&written).map_err(|overflow| StreamError::Trap(overflow.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl<S: Sink> Pollable for GuestOutput<S> {
    async fn ready(&mut self) {}
}

impl<S: Sink> AsyncWrite for GuestOutput<S> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, written: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.append(written).map(|()| written.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
