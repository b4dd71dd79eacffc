//! What a scratch folder holds, exactly: the bytes of its files and the number of its names.
//!
//! A call is checked before it is made. Afterwards the inodes that it changed are read again from the kernel, so a short
//! write, a failed call and a hard link count as what they are. A file without a name counts until it is closed. A hole
//! counts as if it were written, because the next write may fill it.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

/// The usage of one scratch folder, against its limits.
pub(crate) struct Usage {
    bytes_max: u64,
    files_max: u64,
    /// The device of the folder, and its own inode, which does not count.
    device: u64,
    root: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: u64,
    files: u64,
    inodes: HashMap<u64, Inode>,
}

/// A file, a folder or a link.
#[derive(Clone, Copy, Default)]
struct Inode {
    bytes: u64,
    links: u64,
    opens: u64,
}

impl Inode {
    fn files(self) -> u64 {
        self.links.max(u64::from(self.opens > 0))
    }
}

impl State {
    fn put(&mut self, number: u64, new: Inode) {
        let old = self.inodes.get(&number).copied().unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(old.bytes);
        self.files = self.files.saturating_sub(old.files());
        if new.files() == 0 {
            self.inodes.remove(&number);
            return;
        }
        self.bytes = self.bytes.saturating_add(new.bytes);
        self.files = self.files.saturating_add(new.files());
        self.inodes.insert(number, new);
    }
}

impl Usage {
    /// Starts counting an empty folder.
    pub(crate) fn new(bytes_max: u64, files_max: u64, folder: &Stat) -> Self {
        let (device, root) = (folder.st_dev, folder.st_ino);
        Self { bytes_max, files_max, device, root, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes and the number of files in use.
    pub(crate) fn used(&self) -> (u64, u64) {
        let state = self.state();
        (state.bytes, state.files)
    }

    /// Reserves a name, with the bytes that come with it.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if there is no room.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), Errno> {
        let mut state = self.state();
        if state.files >= self.files_max || bytes > self.bytes_max.saturating_sub(state.bytes) {
            return Err(Errno::NOSPC);
        }
        state.files += 1;
        state.bytes += bytes;
        Ok(())
    }

    /// Gives back what was reserved.
    pub(crate) fn release(&self, bytes: u64) {
        let mut state = self.state();
        state.files = state.files.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Checks that a file may grow to `size`, and returns by how much it would grow.
    fn check_growth(&self, number: u64, size: u64) -> Result<u64, Errno> {
        let state = self.state();
        let growth = size.saturating_sub(state.inodes.get(&number).map_or(0, |inode| inode.bytes));
        if growth > self.bytes_max.saturating_sub(state.bytes) { Err(Errno::NOSPC) } else { Ok(growth) }
    }

    /// Takes over what the kernel says of a file that exists or existed here. Returns true if it has more names than
    /// before.
    pub(crate) fn sync(&self, stat: &Stat) -> bool {
        if stat.st_dev != self.device || stat.st_ino == self.root {
            return false;
        }
        let mut state = self.state();
        let old = state.inodes.get(&stat.st_ino).copied().unwrap_or_default();
        let is_folder = FileType::from_raw_mode(stat.st_mode).is_dir();
        // A folder has a link from itself and from each folder in it, and none that guests could make.
        let links = if is_folder { u64::from(stat.st_nlink > 0) } else { stat.st_nlink };
        let bytes = if is_folder { 0 } else { stat.st_size.try_into().unwrap_or_default() };
        state.put(stat.st_ino, Inode { bytes, links, opens: old.opens });
        links > old.links
    }

    /// As [`Usage::sync`], for a file that counts already.
    pub(crate) fn sync_known(&self, stat: &Stat) -> bool {
        let is_known = stat.st_dev == self.device && self.state().inodes.contains_key(&stat.st_ino);
        is_known && self.sync(stat)
    }

    fn add_open(&self, number: u64) {
        let mut state = self.state();
        let old = state.inodes.get(&number).copied().unwrap_or_default();
        state.put(number, Inode { opens: old.opens + 1, ..old });
    }

    fn remove_open(&self, number: u64) {
        let mut state = self.state();
        let Some(old) = state.inodes.get(&number).copied() else { return };
        state.put(number, Inode { opens: old.opens.saturating_sub(1), ..old });
    }
}

/// A file or folder that a guest has open: it counts until this is dropped, with or without a name.
pub(crate) struct OpenInode {
    usage: Arc<Usage>,
    number: u64,
    file: Arc<File>,
}

impl OpenInode {
    /// Counts a file that was opened, and perhaps created or cut by that.
    pub(crate) fn new(usage: &Arc<Usage>, file: &Arc<File>) -> Result<Self, Errno> {
        let stat = fstat(file)?;
        usage.sync(&stat);
        let number = stat.st_ino;
        if number != usage.root {
            usage.add_open(number);
        }
        Ok(Self { usage: Arc::clone(usage), number, file: Arc::clone(file) })
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Returns the size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.usage.state().inodes.get(&self.number).map_or(0, |inode| inode.bytes)
    }

    /// Checks a write at a position, or at the end; returns by how much the file grows.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if the folder would be over its limit.
    pub(crate) fn check_write(&self, position: Option<u64>, bytes: u64) -> Result<u64, Errno> {
        let start = position.unwrap_or_else(|| self.bytes());
        if bytes == 0 { Ok(0) } else { self.usage.check_growth(self.number, start.saturating_add(bytes)) }
    }

    /// Checks a new size of the file; returns by how much it grows.
    ///
    /// # Errors
    ///
    /// See [`OpenInode::check_write`].
    pub(crate) fn check_size(&self, size: u64) -> Result<u64, Errno> {
        self.usage.check_growth(self.number, size)
    }

    /// Takes over the size of the file after a call that may have changed it.
    pub(crate) fn sync(&self) {
        if let Ok(stat) = fstat(&self.file) {
            self.usage.sync(&stat);
        }
    }
}

impl Drop for OpenInode {
    fn drop(&mut self) {
        if self.number != self.usage.root {
            self.usage.remove_open(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use rustix::fs::stat;

    use super::*;

    fn usage(folder: &Path, bytes_max: u64, files_max: u64) -> Arc<Usage> {
        Arc::new(Usage::new(bytes_max, files_max, &stat(folder).unwrap()))
    }

    fn create(usage: &Arc<Usage>, path: &Path) -> OpenInode {
        OpenInode::new(usage, &Arc::new(File::create(path).unwrap())).unwrap()
    }

    #[test]
    fn a_file_counts_until_it_has_neither_name_nor_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let usage = usage(folder.path(), 100, 2);
        let path = folder.path().join("a");
        let open = create(&usage, &path);
        assert_eq!(open.check_write(None, 100), Ok(100));
        assert_eq!(open.check_write(Some(1), 100), Err(Errno::NOSPC));
        assert_eq!(open.check_write(Some(u64::MAX), 1), Err(Errno::NOSPC));
        (&**open.file()).write_all(&[0; 60]).unwrap();
        open.sync();
        assert_eq!(usage.used(), (60, 1));
        std::fs::remove_file(&path).unwrap();
        open.sync();
        assert_eq!(usage.used(), (60, 1), "it is open");
        assert_eq!(open.check_size(101), Err(Errno::NOSPC));
        assert_eq!(open.check_size(100), Ok(40));
        drop(open);
        assert_eq!(usage.used(), (0, 0));
    }

    #[test]
    fn every_hard_link_is_a_file_and_none_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let usage = usage(folder.path(), 100, 2);
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        drop(create(&usage, &path));
        std::fs::write(&path, [0; 60]).unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        assert!(usage.sync_known(&stat(&path).unwrap()));
        assert_eq!(usage.used(), (60, 2));
        assert_eq!(usage.reserve(0), Err(Errno::NOSPC));
        std::fs::remove_file(&path).unwrap();
        assert!(!usage.sync_known(&stat(&other).unwrap()));
        assert_eq!(usage.used(), (60, 1));
        assert_eq!((usage.reserve(41), usage.reserve(40)), (Err(Errno::NOSPC), Ok(())));
        usage.release(40);
        assert_eq!(usage.used(), (60, 1));
    }

    #[test]
    fn files_elsewhere_and_the_folder_itself_do_not_count() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let usage = usage(folder.path(), 100, 2);
        usage.sync(&stat(folder.path()).unwrap());
        usage.sync_known(&stat(other.path()).unwrap());
        let root = OpenInode::new(&usage, &Arc::new(File::open(folder.path()).unwrap())).unwrap();
        assert_eq!(usage.used(), (0, 0));
        drop(root);
        assert_eq!(usage.used(), (0, 0));
    }
}
