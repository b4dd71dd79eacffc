//! Files of tasks: those that come with a task, and those that its run leaves.

mod content;
mod limits;
mod media;
mod name;
mod record;

pub use content::{Content, ContentId};
pub use limits::{FileBudget, FileLimits, FileRefusal};
pub use name::{FILE_NAME_BYTES_MAX, FileName, InvalidFileName};
pub use record::{FileDirection, OutputFile, TaskFile};
