//! Files with keys, which their owner alone may read.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;
use wasmill_runtime::read_text;

/// Maximum size of a file with keys.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 10;

/// Reads a file.
///
/// # Errors
///
/// Fails with what to do if others may read it, and with what is wrong if it cannot be read.
pub(super) fn read_private(path: &Path) -> Result<String, String> {
    let found = path.metadata().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    if found.is_file() && found.mode() & 0o077 != 0 && found.uid() == rustix::process::geteuid().as_raw() {
        return Err("others may read it; chmod 600 it".to_owned());
    }
    read_text(path, FILE_BYTES_MAX).map_err(|error| error.to_string())
}

/// Replaces a file as a whole, and makes its folder if there is none.
///
/// # Errors
///
/// Fails if folder or file cannot be written.
pub(super) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let file = NamedTempFile::new().unwrap();
        assert!(read_private(file.path()).is_ok());
        file.as_file().set_permissions(Permissions::from_mode(0o640)).unwrap();
        assert!(read_private(file.path()).unwrap_err().contains("chmod 600"));
    }

    #[test]
    fn what_is_written_is_for_its_owner_alone_also_if_it_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/keys");
        for text in ["one", "two"] {
            write_private(&path, text).unwrap();
            assert_eq!(read_private(&path).unwrap(), text);
            std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        }
        assert_eq!(path.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
    }
}
