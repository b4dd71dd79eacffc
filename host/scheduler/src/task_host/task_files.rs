//! The files of one run: those that came with its task, and those that it leaves.
//!
//! What a run leaves is written to the store before the run ends, and belongs to its task once the outcome is stored. If
//! the outcome is another one, dropping this removes it.

use std::fmt::Display;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use wasmill_model::{
    Cause, ContentId, Failure, FileDirection, FileName, FilesFrom, MediaType, OutputFile, TaskFile, Timestamp,
};
use wasmill_store::{Claim, PART_BYTES, Staged, Staging, Store, StoreError};

use crate::task_host::handed_files;

/// The files of one run.
pub(crate) struct TaskFiles {
    /// Whether any came with the task.
    came_with_task: bool,
    /// How it gets those of its dependencies.
    from: Option<FilesFrom>,
    /// Boxed, since most runs have none.
    state: Mutex<Option<Box<State>>>,
}

#[derive(Default)]
struct State {
    /// What the run was given, once it was asked for.
    inputs: Vec<TaskFile>,
    /// What the run leaves.
    staged: Vec<Staged>,
}

impl TaskFiles {
    pub(crate) fn new(came_with_task: bool, from: Option<FilesFrom>) -> Self {
        Self { came_with_task, from, state: Mutex::default() }
    }

    /// Returns true if the run may have input files.
    pub(crate) fn may_have_any(&self) -> bool {
        self.came_with_task || self.from.is_some()
    }

    /// Returns the files that came with the task, and those that its dependencies hand to it.
    pub(crate) async fn inputs(&self, store: &Store, claim: &Claim) -> Result<Vec<TaskFile>, Failure> {
        let mut files = Vec::new();
        if self.came_with_task {
            files = store.files(claim.id).await.map_err(|error| unavailable(&error))?.unwrap_or_default();
            files.retain(|file| file.direction == FileDirection::Input);
        }
        if let Some(from) = self.from {
            let handed = store.dependency_files(claim).await.map_err(|error| unavailable(&error))?;
            files = handed_files::add(from, files, handed)?;
        }
        self.with(|state| state.inputs.clone_from(&files));
        Ok(files)
    }

    /// Writes a file that the run leaves to the store. One that the run was given and has not changed is not kept.
    pub(crate) async fn keep(
        &self,
        store: &Store,
        claim: &Claim,
        file: OutputFile,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let OutputFile { name, reader } = file;
        let mut staging = Staging::begin(store, now).await.map_err(|error| unavailable(&error))?;
        let (mut buffer, mut reader) = (Vec::new(), reader);
        loop {
            let read = tokio::task::spawn_blocking(move || {
                buffer.clear();
                let read = reader.by_ref().take(PART_BYTES as u64).read_to_end(&mut buffer);
                (read, buffer, reader)
            });
            let (read, filled, rest) = read.await.map_err(|error| host_fault(&name, &error))?;
            if read.map_err(|error| host_fault(&name, &error))? == 0 {
                break;
            }
            staging.write(&filled).await.map_err(|error| unavailable(&error))?;
            (buffer, reader) = (filled, rest);
        }
        let staged = staging.finish().await.map_err(|error| unavailable(&error))?;
        let content = staged.content;
        let is_unchanged = self.with(|state| {
            let is_it = |input: &TaskFile| input.name == name && input.content.sha256 == content.sha256;
            let is_unchanged = state.inputs.iter().any(is_it);
            if !is_unchanged {
                state.staged.push(staged);
            }
            is_unchanged
        });
        if !is_unchanged {
            let media = MediaType::of_file(&name);
            claim.run().add_output(TaskFile { direction: FileDirection::Output, name, media, content });
        }
        Ok(())
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(self.state.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
    }
}

/// Returns a part of a file that came with the task.
pub(crate) async fn read(store: &Store, content: ContentId, part: u64) -> Result<Vec<u8>, Failure> {
    let gone = || Failure::new(Cause::HostFault, "the bytes of a file of the task are gone");
    store.read_part(content, part).await.map_err(|error| unavailable(&error))?.ok_or_else(gone)
}

fn host_fault(name: &FileName, error: &dyn Display) -> Failure {
    Failure::new(Cause::HostFault, format!("failed to keep the file '{name}': {error}"))
}

fn unavailable(error: &StoreError) -> Failure {
    Failure::new(Cause::HostFault, format!("failed to read or keep the files of the task: {error}"))
}
