//! File streams of components: those of wasmtime-wasi, on the executor of the plugin, counted, and holding the
//! permit of their descriptor.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use crate::files::disk::Disk;
use crate::files::open::{self, OpenFile};
use crate::plugin::context::PluginContext;

/// Reads a file.
pub(crate) struct FileInput {
    pub(crate) stream: DynInputStream,
    pub(crate) plugin: Arc<PluginContext>,
    pub(crate) _file: Option<OpenFile>,
}

#[async_trait]
impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.plugin.folders.executor().start(|| self.stream.read(size))
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.plugin.folders.executor().run(self.stream.blocking_read(size)).await
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait]
impl Pollable for FileInput {
    async fn ready(&mut self) {
        self.plugin.folders.executor().wait(self.stream.ready()).await;
    }
}

/// Writes a file.
pub(crate) struct FileOutput {
    pub(crate) stream: DynOutputStream,
    pub(crate) plugin: Arc<PluginContext>,
    pub(crate) file: OpenFile,
    pub(crate) disk: Arc<Disk>,
    /// The position of the next byte; `None` for the end of the file.
    pub(crate) position: Option<u64>,
}

impl FileOutput {
    fn count(&mut self, bytes: usize) -> StreamResult<()> {
        let written = open::written(&self.plugin, &self.file, self.position, bytes as u64);
        self.disk.write(self.file.folder, written).map_err(failed)?;
        self.position = self.position.map(|position| position.saturating_add(bytes as u64));
        Ok(())
    }
}

fn failed(error: io::Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

#[async_trait]
impl OutputStream for FileOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.count(bytes.len())?;
        self.plugin.folders.executor().start(|| self.stream.write(bytes))
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.count(bytes.len())?;
        self.plugin.folders.executor().run(self.stream.blocking_write_and_flush(bytes)).await
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
impl Pollable for FileOutput {
    async fn ready(&mut self) {
        self.plugin.folders.executor().wait(self.stream.ready()).await;
    }
}
