//! A stream that writes a file of a scratch folder.
//!
//! It writes before it returns, unlike the stream of wasmtime-wasi: the size of the file is then known at every call.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::files::disk::Disk;
use crate::files::open::OpenFile;
use crate::folders::executor::block;
use crate::folders::scratch::usage::OpenInode;

/// Bytes that the guest may write at once, as to a file elsewhere.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Writes a file of a scratch folder.
pub(crate) struct ScratchOutput {
    inode: Arc<OpenInode>,
    /// Keeps the file open.
    file: OpenFile,
    disk: Arc<Disk>,
    /// The position of the next byte; `None` for the end of the file.
    position: Option<u64>,
    is_closed: bool,
}

impl ScratchOutput {
    pub(crate) fn new(inode: Arc<OpenInode>, file: OpenFile, disk: Arc<Disk>, position: Option<u64>) -> Self {
        Self { inode, file, disk, position, is_closed: false }
    }

    fn put(&mut self, bytes: &[u8]) -> StreamResult<()> {
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        let start = self.position.unwrap_or_else(|| self.inode.bytes());
        let counted = self.disk.write_scratch(self.file.folder, &self.inode, Some(start), bytes.len() as u64);
        let written = counted.and_then(|()| block(|| self.inode.file().write_all_at(bytes, start)));
        self.inode.sync();
        if let Err(error) = written {
            self.is_closed = true;
            return Err(StreamError::LastOperationFailed(error.into()));
        }
        self.position = self.position.map(|position| position.saturating_add(bytes.len() as u64));
        Ok(())
    }
}

#[async_trait]
impl OutputStream for ScratchOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        if self.is_closed { Err(StreamError::Closed) } else { Ok(()) }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.is_closed { Err(StreamError::Closed) } else { Ok(WRITE_BYTES_MAX) }
    }
}

#[async_trait]
impl Pollable for ScratchOutput {
    async fn ready(&mut self) {}
}
