//! Lists a folder a few entries at a time: folders can be arbitrarily large, and a guest can open many listings.

use std::collections::VecDeque;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, RawDir, SeekFrom, seek, statat};
use rustix::io::Errno;

use crate::folders::descriptors::DescriptorPermit;
use crate::folders::granted::reopen;

/// Bytes of entries read at once; the longest entry has 280.
const BATCH_BYTES: usize = 4 << 10;

/// A directory entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The position after it.
    pub(crate) next: u64,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
    pub(crate) name: Vec<u8>,
}

/// A folder that is being listed.
pub(crate) struct Listing {
    folder: Arc<OwnedFd>,
    read: VecDeque<Entry>,
    _permit: Arc<DescriptorPermit>,
}

impl Listing {
    /// Opens a listing. Blocks.
    pub(crate) fn open(folder: &File, permit: Arc<DescriptorPermit>) -> Result<Self, Errno> {
        Ok(Self { folder: Arc::new(reopen(folder)?), read: VecDeque::new(), _permit: permit })
    }

    /// Returns the next of the entries that were read.
    pub(crate) fn take(&mut self) -> Option<Entry> {
        self.read.pop_front()
    }

    /// Returns a closure that reads the next entries. It blocks.
    pub(crate) fn reader(&self) -> impl FnOnce() -> Result<VecDeque<Entry>, Errno> + Send + 'static {
        let folder = Arc::clone(&self.folder);
        move || batch(&folder)
    }

    pub(crate) fn put(&mut self, entries: VecDeque<Entry>) {
        self.read = entries;
    }
}

/// Reads entries from a position until they have `bytes`. Blocks.
pub(crate) fn read_from(folder: &File, position: u64, bytes: usize) -> Result<Vec<Entry>, Errno> {
    let folder = reopen(folder)?;
    seek(&folder, SeekFrom::Start(position))?;
    let (mut entries, mut read) = (Vec::new(), 0);
    while read < bytes {
        let more = batch(&folder)?;
        if more.is_empty() {
            break;
        }
        read += more.iter().map(|entry| entry.name.len() + 1).sum::<usize>();
        entries.extend(more);
    }
    Ok(entries)
}

fn batch(folder: &OwnedFd) -> Result<VecDeque<Entry>, Errno> {
    let mut buffer = [MaybeUninit::uninit(); BATCH_BYTES];
    let mut raw = RawDir::new(folder, &mut buffer);
    let mut entries = VecDeque::new();
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name();
        let kind = match entry.file_type() {
            FileType::Unknown => statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
            kind => kind,
        };
        entries.push_back(Entry {
            next: entry.next_entry_cookie(),
            inode: entry.ino(),
            kind,
            name: name.to_bytes().to_vec(),
        });
        if raw.is_buffer_empty() {
            break;
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_folder_is_read_completely_in_batches() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..1_000 {
            std::fs::write(folder.path().join(format!("file-{number}")), "").unwrap();
        }
        let file = File::open(folder.path()).unwrap();
        let (mut position, mut names, mut pieces) = (0, Vec::new(), 0);
        loop {
            let entries = read_from(&file, position, 500).unwrap();
            let Some(last) = entries.last() else { break };
            position = last.next;
            pieces += 1;
            assert!(entries.len() < 500, "{} at once", entries.len());
            names.extend(entries.into_iter().map(|entry| entry.name));
        }
        assert!(pieces > 2);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 1_002, "with the folder itself and the one above");
    }
}
