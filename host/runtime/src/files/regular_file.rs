//! Reads files that a setting, a manifest or a command names: regular ones, up to a maximum size.
//!
//! A pipe or a device may never end, and a file may be larger than memory.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::format;

/// The reason for rejecting a dangling link.
pub(crate) const DANGLING: &str = "it is a link that leads nowhere";

/// Opens a regular file. Opening a pipe would block, and opening a device can have side effects.
///
/// # Errors
///
/// Fails if it is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
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

/// Reads a whole file.
///
/// # Errors
///
/// Fails if it is not a regular file, or is larger than the maximum.
pub fn read_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    read_bounded(open(path)?, bytes_max)
}

/// Reads a whole text file.
///
/// # Errors
///
/// Fails if it is not a regular file, is larger than the maximum, or is not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let bytes = read_file(path, bytes_max)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Reads a stream to its end.
///
/// # Errors
///
/// Fails if it is longer than the maximum.
pub fn read_bounded(from: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 <= bytes_max {
        return Ok(bytes);
    }
    let why = format!("it is larger than {}", format::bytes(bytes_max));
    Err(io::Error::new(io::ErrorKind::FileTooLarge, why))
}

/// Returns true if a path is a dangling link.
pub(crate) fn is_dangling(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
        && path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_up_to_a_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        std::fs::write(&file, "four").unwrap();
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(read_text(&file, 4).unwrap(), "four");
        let refused = |path: &Path, bytes_max| read_text(path, bytes_max).unwrap_err().to_string();
        assert_eq!(refused(&file, 3), "it is larger than 3 bytes");
        for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
            assert_eq!(refused(path, 4), "it is not a regular file");
        }
        std::fs::write(&file, [0xff]).unwrap();
        assert_eq!(refused(&file, 4), "it is not UTF-8");
        assert_eq!(read_bounded(io::repeat(0), 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
