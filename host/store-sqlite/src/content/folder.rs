//! The folder `files` of the data folder: one file for each content, named by its id, with `.part` behind it until it is
//! sealed.
//!
//! Everything blocks. The rows are committed by others: that of an unused content before its file is created, and that of
//! a task after the file is sealed.

use std::fs::{DirBuilder, File, OpenOptions, remove_file, rename};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wasmill_model::ContentId;
use wasmill_store::{PART_BYTES, StoreError};

use crate::file::fault::io_fault;

/// The name of the folder.
pub(crate) const NAME: &str = "files";

/// What follows the id in the name of a content that is not sealed.
const UNSEALED: &str = ".part";

/// The folder with the bytes of files.
#[derive(Debug)]
pub(crate) struct ContentFolder {
    path: PathBuf,
    /// Whether it was created, or found.
    exists: OnceLock<()>,
}

impl ContentFolder {
    /// Names the folder within a data folder; it is created with the first file.
    pub(crate) fn new(data: &Path) -> Self {
        Self { path: data.join(NAME), exists: OnceLock::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a part of a content that is not sealed.
    pub(crate) fn write_part(&self, content: ContentId, part: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.unsealed(content);
        let write = || {
            self.create()?;
            open_unsealed(&path)?.write_all_at(bytes, part.saturating_mul(PART_BYTES as u64))
        };
        write().map_err(|error| io_fault("write", &path, &error))
    }

    /// Makes a content durable, and gives it its name.
    pub(crate) fn seal(&self, content: ContentId) -> Result<(), StoreError> {
        let path = self.unsealed(content);
        let seal = || {
            self.create()?;
            // Of an empty content nothing was written.
            open_unsealed(&path)?.sync_all()?;
            rename(&path, self.sealed(content))?;
            File::open(&self.path)?.sync_all()
        };
        seal().map_err(|error| io_fault("write", &path, &error))
    }

    /// Reads a part of a sealed content; `None` if there is no such content.
    pub(crate) fn read_part(&self, content: ContentId, part: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.sealed(content);
        let read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(part.saturating_mul(PART_BYTES as u64)))?;
            let mut bytes = Vec::new();
            file.take(PART_BYTES as u64).read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_fault("read", &path, &error)),
        }
    }

    /// Removes the bytes of contents; it is no error if there are none.
    pub(crate) fn remove(&self, contents: &[ContentId]) -> Result<(), StoreError> {
        for content in contents {
            for path in [self.unsealed(*content), self.sealed(*content)] {
                match remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(io_fault("remove", &path, &error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Returns the path of a sealed content.
    pub(crate) fn sealed(&self, content: ContentId) -> PathBuf {
        self.path.join(content.to_string())
    }

    fn unsealed(&self, content: ContentId) -> PathBuf {
        self.path.join(format!("{content}{UNSEALED}"))
    }

    /// Creates the folder, accessible to its owner only, and makes its name durable.
    fn create(&self) -> io::Result<()> {
        if self.exists.get().is_some() {
            return Ok(());
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        self.exists.get_or_init(|| ());
        Ok(())
    }
}

/// Returns the content that a file in the folder has; `None` if it is a file of somebody else.
pub(crate) fn content_of(file_name: &str) -> Option<ContentId> {
    let digits = file_name.strip_suffix(UNSEALED).unwrap_or(file_name);
    let number = u128::from_str_radix(digits, 16).ok()?;
    let content = ContentId::from_bytes(number.to_be_bytes());
    (content.to_string() == digits).then_some(content)
}

fn open_unsealed(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_has_a_name_once_it_is_sealed_and_none_once_it_is_removed() {
        let data = tempfile::tempdir().expect("a folder");
        let folder = ContentFolder::new(data.path());
        let (content, empty) = (ContentId::random(), ContentId::random());
        let (first, second) = (vec![1; PART_BYTES], vec![2; 3]);
        folder.write_part(content, 0, &first).expect("written");
        folder.write_part(content, 1, &second).expect("written");
        assert_eq!(folder.read_part(content, 0), Ok(None));
        folder.seal(content).expect("sealed");
        folder.seal(empty).expect("sealed");
        assert_eq!(folder.read_part(content, 0), Ok(Some(first)));
        assert_eq!(folder.read_part(content, 1), Ok(Some(second)));
        assert_eq!(folder.read_part(content, 2), Ok(Some(Vec::new())));
        assert_eq!(folder.read_part(empty, 0), Ok(Some(Vec::new())));
        folder.write_part(ContentId::random(), 0, b"x").expect("written");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 3);
        for entry in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
            let name = entry.file_name();
            let content = content_of(name.to_str().expect("text")).expect("a content");
            folder.remove(&[content, content]).expect("removed");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
        assert_eq!(folder.read_part(content, 0), Ok(None));
    }

    #[test]
    fn files_of_others_are_no_contents() {
        for name in ["", ".part", "notes.txt", "0", "+0000000000000000000000000000000a", "../x"] {
            assert_eq!(content_of(name), None, "{name}");
        }
        let content = ContentId::random();
        assert_eq!(content_of(&content.to_string()), Some(content));
        assert_eq!(content_of(&content.to_string().to_uppercase()), None);
    }
}
