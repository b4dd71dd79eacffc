//! The bytes of files, apart from the tasks that have them.

use wasmill_model::{ContentId, TaskFile, TaskId, Timestamp};

use crate::{Claim, HandedFiles, StoreError};

/// The bytes of files. See [`Backend`](crate::Backend) for what holds for every method.
///
/// Contents are written before any task refers to them: a task is [stored](crate::TaskQueue::submit) with files, or ends
/// with them, whose contents are sealed. A content that no task refers to any longer is removed by
/// [`remove_unused`](Files::remove_unused) or [`sweep_unused`](Files::sweep_unused), and what a host that died has left
/// by the next sweeps. [`Staging`](crate::Staging) does this in order.
#[async_trait::async_trait]
pub trait Files {
    /// Begins a content: it is unused from now on.
    async fn begin_content(&self, content: ContentId, now: Timestamp) -> Result<(), StoreError>;

    /// Writes a part of a content, of [`PART_BYTES`](crate::PART_BYTES) unless it is the last. Parts come in order, from 0.
    async fn write_part(&self, content: ContentId, part: u64, bytes: Vec<u8>) -> Result<(), StoreError>;

    /// Ends a content; what is stored with a reference to it has it after a power cut.
    async fn seal_content(&self, content: ContentId) -> Result<(), StoreError>;

    /// Returns a part of a sealed content, empty after its end; `None` if the content does not exist.
    async fn read_part(&self, content: ContentId, part: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the files of a task by direction and name; `None` if the task does not exist.
    async fn files(&self, task: TaskId) -> Result<Option<Vec<TaskFile>>, StoreError>;

    /// Returns the files that the dependencies of a claimed task left.
    async fn dependency_files(&self, claim: &Claim) -> Result<HandedFiles, StoreError>;

    /// Removes those of these contents that no task refers to.
    async fn remove_unused(&self, contents: Vec<ContentId>) -> Result<(), StoreError>;

    /// Removes some contents that no task refers to any longer, and some that were begun a day ago and never used. Returns
    /// how many, 0 if none are left.
    async fn sweep_unused(&self, now: Timestamp) -> Result<u64, StoreError>;
}
