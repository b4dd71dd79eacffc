//! Scratch folders: one for each run of a plugin that may have one, bounded in bytes and files, and removed afterwards.
//!
//! A run holds its folder; the calls of a guest are counted by `files`. A folder lies in that of this process, which a
//! later start removes if the process was killed.

pub(crate) mod change;
pub(crate) mod folder;
pub(crate) mod removal;
pub(crate) mod root;
pub(crate) mod usage;
