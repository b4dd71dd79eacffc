//! The bytes of files.

use async_trait::async_trait;
use wasmill_model::{ContentId, TaskFile, TaskId, Timestamp};
use wasmill_store::{Claim, Files, HandedFiles, StoreError};

use crate::content::unused::{self, Begin, Doom, Forget};
use crate::content::{parts, task_files};
use crate::dependency::results;
use crate::postgres::Postgres;

impl Postgres {
    /// Removes those of these contents that no task refers to; returns how many it looked at.
    async fn remove_contents(&self, contents: Vec<ContentId>) -> Result<u64, StoreError> {
        if contents.is_empty() {
            return Ok(0);
        }
        let looked_at = contents.len() as u64;
        let contents = self.writer.write(Doom { contents }).await?;
        if !contents.is_empty() {
            let removed = contents.clone();
            self.readers
                .write_again(async move |connection| parts::remove(&connection, &removed).await)
                .await?;
            self.writer.write(Forget { contents }).await?;
        }
        Ok(looked_at)
    }
}

#[async_trait]
impl Files for Postgres {
    async fn begin_content(&self, content: ContentId, now: Timestamp) -> Result<(), StoreError> {
        self.writer.write(Begin { content, now }).await
    }

    async fn write_part(&self, content: ContentId, part: u64, bytes: Vec<u8>) -> Result<(), StoreError> {
        let bytes = std::sync::Arc::<[u8]>::from(bytes);
        self.readers
            .write_again(async move |connection| parts::write(&connection, content, part, &bytes).await)
            .await
    }

    /// A commit that refers to it makes its parts durable: they are before it in the log of the server.
    async fn seal_content(&self, _content: ContentId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn read_part(&self, content: ContentId, part: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.readers.read(async move |connection| parts::read(&connection, content, part).await).await
    }

    async fn files(&self, task: TaskId) -> Result<Option<Vec<TaskFile>>, StoreError> {
        self.readers.read(async move |connection| task_files::of_task(&connection, task).await).await
    }

    async fn dependency_files(&self, claim: &Claim) -> Result<HandedFiles, StoreError> {
        let claim = claim.clone();
        self.readers.read(async move |connection| results::dependency_files(&connection, &claim).await).await
    }

    async fn remove_unused(&self, contents: Vec<ContentId>) -> Result<(), StoreError> {
        // Usually a task has them: a read avoids a needless write.
        let unused =
            self.readers.read(async move |connection| unused::among(&connection, &contents).await).await?;
        self.remove_contents(unused).await.map(|_| ())
    }

    async fn sweep_unused(&self, now: Timestamp) -> Result<u64, StoreError> {
        let unused =
            self.readers.read(async move |connection| unused::oldest(&connection, now).await).await?;
        self.remove_contents(unused).await
    }
}
