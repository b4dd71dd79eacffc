//! The files of tasks: their rows, and the parts of their bytes.

pub(crate) mod parts;
pub(crate) mod task_files;
pub(crate) mod unused;
