//! Opens files that belong to a plugin, unless they are not regular files.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// The reason for rejecting a dangling link.
pub(crate) const DANGLING: &str = "it is a link that leads nowhere";

/// Opens a regular file. Opening a pipe would block, and opening a device can have side effects.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let check = |metadata: &Metadata| {
        if metadata.is_file() { Ok(()) } else { Err(io::Error::other("it is not a regular file")) }
    };
    check(&path.metadata()?)?;
    // In case a pipe has replaced the file.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// Returns true if a path is a dangling link.
pub(crate) fn is_dangling(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
        && path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
