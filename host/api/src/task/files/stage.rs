//! Stores the bytes of the files of new tasks, which refer to them from then on.

use wasmill_model::{FileDirection, FileName, MediaType, NewTask, TaskFile};
use wasmill_store::{Staged, Staging};

use crate::problem::Problem;
use crate::state::Api;
use crate::task::files::given::GivenFile;

/// The contents of new tasks. Dropped, those are removed that no task refers to: the task was refused, or was not stored
/// because another one has its key.
#[derive(Default)]
pub(crate) struct StagedFiles(Vec<Staged>);

impl StagedFiles {
    /// Gives a task a file that is stored.
    pub(crate) fn add(&mut self, task: &mut NewTask, name: FileName, staged: Staged) {
        let (media, content) = (MediaType::of_file(&name), staged.content);
        task.files.push(TaskFile { direction: FileDirection::Input, name, media, content });
        self.0.push(staged);
    }
}

/// Stores the files of each task. The bytes of a file are freed once they are stored.
pub(crate) async fn stage(
    api: &Api,
    tasks: &mut [NewTask],
    files: Vec<Vec<GivenFile>>,
) -> Result<StagedFiles, Problem> {
    let mut all = StagedFiles::default();
    for (task, files) in tasks.iter_mut().zip(files) {
        for GivenFile { name, bytes } in files {
            let mut staging = Staging::begin(&api.store, task.created_at).await?;
            staging.write(&bytes).await?;
            drop(bytes);
            all.add(task, name, staging.finish().await?);
        }
    }
    Ok(all)
}
