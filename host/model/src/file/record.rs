//! A file of a task, and one that a run wants to keep.

use std::fmt;
use std::io::Read;

use crate::{Content, FileName, MediaType};

/// Which way a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileDirection {
    /// It came with the task.
    Input,
    /// The run that completed the task left it.
    Output,
}

/// A file of a task. Its name is unique among those of its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFile {
    /// Which way it goes.
    pub direction: FileDirection,
    /// Its name.
    pub name: FileName,
    /// What it is, by its name or as its sender said.
    pub media: MediaType,
    /// Its bytes.
    pub content: Content,
}

/// A file that a run leaves.
pub struct OutputFile {
    /// Its name.
    pub name: FileName,
    /// Reads its bytes to the end, as fast as a local disk does.
    pub reader: Box<dyn Read + Send>,
}

impl FileDirection {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Input, Self::Output];

    /// Returns its name in the API and in databases.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

impl fmt::Debug for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputFile").field("name", &self.name).finish_non_exhaustive()
    }
}
