//! Forwards what a guest writes to its log. Never blocks, and keeps only the end of a program's stderr.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmill_model::{LogStream, RunHost};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::guest::program::StderrTail;

/// Bytes that a guest may write in one call.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// A stream that appends to the log of a run.
#[derive(Clone)]
pub(crate) struct GuestLog {
    host: Arc<dyn RunHost>,
    stream: LogStream,
    stderr_tail: Option<StderrTail>,
}

impl GuestLog {
    pub(crate) fn new(host: &Arc<dyn RunHost>, stream: LogStream) -> Self {
        Self { host: Arc::clone(host), stream, stderr_tail: None }
    }

    /// Creates a stderr stream that also keeps the end of its output.
    pub(crate) fn with_stderr_tail(host: &Arc<dyn RunHost>, stderr_tail: &StderrTail) -> Self {
        Self { stderr_tail: Some(stderr_tail.clone()), ..Self::new(host, LogStream::Stderr) }
    }

    fn append(&self, written: &[u8]) {
        self.host.log(self.stream, written);
        if let Some(stderr_tail) = &self.stderr_tail {
            stderr_tail.write(written);
        }
    }
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestLog {
    fn write(&mut self, written: Bytes) -> StreamResult<()> {
        self.append(&written);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestLog {
    async fn ready(&mut self) {}
}

impl AsyncWrite for GuestLog {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, written: &[u8]) -> Poll<io::Result<usize>> {
        self.append(written);
        Poll::Ready(Ok(written.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
