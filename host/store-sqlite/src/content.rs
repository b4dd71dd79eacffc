//! The files of tasks: their rows, and the folder with their bytes.

pub(crate) mod copy;
pub(crate) mod folder;
pub(crate) mod leftover;
pub(crate) mod missing;
pub(crate) mod task_files;
pub(crate) mod unused;
