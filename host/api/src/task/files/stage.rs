//! Stores the bytes of the files of new tasks, which refer to them from then on.

use wasmill_model::{FileDirection, MediaType, NewTask, TaskFile};
use wasmill_store::{Staged, Staging};

use crate::problem::Problem;
use crate::state::Api;
use crate::task::files::given::GivenFile;

/// The contents of new tasks. Dropped, those are removed that no task refers to: the task was refused, or was not stored
/// because another one has its key.
pub(crate) struct StagedFiles(#[expect(dead_code, reason = "it is dropped")] Vec<Staged>);

/// Stores the files of each task. The bytes of a file are freed once they are stored.
pub(crate) async fn stage(
    api: &Api,
    tasks: &mut [NewTask],
    files: Vec<Vec<GivenFile>>,
) -> Result<StagedFiles, Problem> {
    let mut all = Vec::new();
    for (task, files) in tasks.iter_mut().zip(files) {
        for GivenFile { name, bytes } in files {
            let mut staging = Staging::begin(&api.store, task.created_at).await?;
            staging.write(&bytes).await?;
            drop(bytes);
            let staged = staging.finish().await?;
            let (media, content) = (MediaType::of_file(&name), staged.content);
            task.files.push(TaskFile { direction: FileDirection::Input, name, media, content });
            all.push(staged);
        }
    }
    Ok(StagedFiles(all))
}
