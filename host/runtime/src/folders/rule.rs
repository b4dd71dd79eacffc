//! The grant of one folder, as a manifest writes it.

use std::path::PathBuf;

/// A folder of the host that a guest can access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirRule {
    /// Its path on the host.
    pub host: PathBuf,
    /// Its path in the guest, such as `/in`.
    pub guest: String,
    /// Whether the guest may write to it.
    pub write: bool,
}

/// The grant of a scratch folder for each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScratchRule {
    /// Its path in the guest, such as `/tmp`.
    pub guest: String,
    /// The maximum of the sizes of its files together; a hole counts as if it were written.
    pub bytes_max: u64,
    /// The maximum number of files, folders and links in it.
    pub files_max: u64,
}

/// Returns true for an absolute path of plain names.
pub(crate) fn is_plain(guest: &str) -> bool {
    guest == "/" || guest.strip_prefix('/').is_some_and(has_plain_names)
}

/// Returns true for a path of plain names, absolute or as a program uses relative ones.
pub(crate) fn is_plain_or_relative(guest: &str) -> bool {
    guest == "." || is_plain(guest) || has_plain_names(guest)
}

fn has_plain_names(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains(['\0', '\\'])
}
