//! The streams of a TCP connection: those of wasmtime-wasi, with their bytes counted.

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamResult};

use crate::tcp::guest_tcp::ByteMeter;

/// What a guest receives.
pub(crate) struct TcpInput {
    pub(crate) stream: DynInputStream,
    pub(crate) meter: ByteMeter,
}

#[async_trait]
impl InputStream for TcpInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.stream.read(size)?;
        self.meter.received(bytes.len());
        Ok(bytes)
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait]
impl Pollable for TcpInput {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

/// What a guest sends.
pub(crate) struct TcpOutput {
    pub(crate) stream: DynOutputStream,
    pub(crate) meter: ByteMeter,
}

#[async_trait]
impl OutputStream for TcpOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let sent = bytes.len();
        self.stream.write(bytes)?;
        self.meter.sent(sent);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait]
impl Pollable for TcpOutput {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}
