//! Writes the bytes of files, so that nothing is left of them unless a task refers to them.

use std::mem;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use wasmill_model::{Content, ContentId, Timestamp};

use crate::{Store, StoreError};

/// Bytes of a part, which are written and read at once.
pub const PART_BYTES: usize = 1 << 20;

/// A content that is being written. Dropped, it is removed.
#[derive(Debug)]
pub struct Staging {
    guard: UnusedGuard,
    id: ContentId,
    sha256: Sha256,
    bytes: u64,
    /// What does not fill a part yet.
    buffer: Vec<u8>,
    /// The number of the next part.
    part: u64,
}

/// A content that is written as a whole. Dropped, it is removed unless a task refers to it.
#[derive(Debug)]
pub struct Staged {
    /// The content.
    pub content: Content,
    _guard: UnusedGuard,
}

/// Removes a content when it is dropped, unless a task refers to it. The store decides that after all that was asked of it
/// before, so nothing depends on when this is dropped.
#[derive(Debug)]
struct UnusedGuard {
    store: Store,
    content: ContentId,
}

impl Staging {
    /// Begins a content.
    ///
    /// # Errors
    ///
    /// Those of [`Files`](crate::Files).
    pub async fn begin(store: &Store, now: Timestamp) -> Result<Self, StoreError> {
        let id = ContentId::random();
        // Before the first write, which may have an effect though its future is dropped.
        let guard = UnusedGuard { store: store.clone(), content: id };
        store.begin_content(id, now).await?;
        Ok(Self { guard, id, sha256: Sha256::new(), bytes: 0, buffer: Vec::new(), part: 0 })
    }

    /// Returns how many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Files`](crate::Files); the content cannot be used then.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        while self.buffer.len() + bytes.len() >= PART_BYTES {
            let (now, later) = bytes.split_at(PART_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(now);
            bytes = later;
            self.write_part().await?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the content.
    ///
    /// # Errors
    ///
    /// Those of [`Files`](crate::Files).
    pub async fn finish(mut self) -> Result<Staged, StoreError> {
        if !self.buffer.is_empty() {
            self.write_part().await?;
        }
        let Self { guard, id, sha256, bytes, .. } = self;
        guard.store.seal_content(id).await?;
        Ok(Staged { content: Content { id, bytes, sha256: sha256.finalize().into() }, _guard: guard })
    }

    async fn write_part(&mut self) -> Result<(), StoreError> {
        let part = self.part;
        self.part += 1;
        self.guard.store.write_part(self.id, part, mem::take(&mut self.buffer)).await
    }
}

impl Drop for UnusedGuard {
    fn drop(&mut self) {
        let (store, content) = (self.store.clone(), self.content);
        let remove = async move {
            match store.remove_unused(vec![content]).await {
                Ok(()) | Err(StoreError::Closed) => {}
                Err(error) => tracing::debug!(%content, %error, "left an unused content to the sweep"),
            }
        };
        // Without a runtime, as at the end of the process, the next start sweeps it.
        if let Ok(handle) = Handle::try_current() {
            handle.spawn(remove);
        }
    }
}
