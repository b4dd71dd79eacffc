//! The bytes of files.

use std::sync::Arc;

use async_trait::async_trait;
use wasmill_model::{ContentId, TaskFile, TaskId, Timestamp};
use wasmill_store::{Claim, Files, HandedFiles, StoreError};

use crate::content::folder::ContentFolder;
use crate::content::task_files;
use crate::content::unused::{self, Begin, Doom, Forget};
use crate::dependency::results;
use crate::sqlite::Sqlite;

impl Sqlite {
    /// Calls the folder on a thread that may block.
    async fn with_contents<T: Send + 'static>(
        &self,
        call: impl FnOnce(&ContentFolder) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let contents = Arc::clone(&self.contents);
        let called = tokio::task::spawn_blocking(move || call(&contents)).await;
        called.map_err(|error| StoreError::Unavailable {
            message: format!("a file operation ended: {error}"),
        })?
    }

    /// Removes those of these contents that no task refers to; returns how many.
    async fn remove(&self, contents: Vec<ContentId>) -> Result<u64, StoreError> {
        if contents.is_empty() {
            return Ok(0);
        }
        let looked_at = contents.len() as u64;
        let contents = self.writer.write(Doom { contents }).await?;
        let removed = contents.clone();
        self.with_contents(move |folder| folder.remove(&removed)).await?;
        if !contents.is_empty() {
            self.writer.write(Forget { contents }).await?;
        }
        Ok(looked_at)
    }
}

#[async_trait]
impl Files for Sqlite {
    async fn begin_content(&self, content: ContentId, now: Timestamp) -> Result<(), StoreError> {
        self.writer.write(Begin { content, now }).await
    }

    async fn write_part(&self, content: ContentId, part: u64, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.with_contents(move |folder| folder.write_part(content, part, &bytes)).await
    }

    async fn seal_content(&self, content: ContentId) -> Result<(), StoreError> {
        self.with_contents(move |folder| folder.seal(content)).await
    }

    async fn read_part(&self, content: ContentId, part: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.with_contents(move |folder| folder.read_part(content, part)).await
    }

    async fn files(&self, task: TaskId) -> Result<Option<Vec<TaskFile>>, StoreError> {
        self.readers.read(move |connection| task_files::of_task(connection, task)).await
    }

    async fn dependency_files(&self, claim: &Claim) -> Result<HandedFiles, StoreError> {
        let claim = claim.clone();
        self.readers.read(move |connection| results::dependency_files(connection, &claim)).await
    }

    async fn remove_unused(&self, contents: Vec<ContentId>) -> Result<(), StoreError> {
        // Usually a task has them: a read avoids a needless write.
        let unused = self.readers.read(move |connection| unused::among(connection, &contents)).await?;
        self.remove(unused).await.map(|_| ())
    }

    async fn sweep_unused(&self, now: Timestamp) -> Result<u64, StoreError> {
        let unused = self.readers.read(move |connection| unused::oldest(connection, now)).await?;
        self.remove(unused).await
    }
}
