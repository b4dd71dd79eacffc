//! Changes of names that a guest is about to make, and what they cost in its scratch folder. In a granted folder they
//! cost nothing here.
//!
//! Called by `link` before a call; the change is finished after it.

use std::sync::Arc;

use rustix::io::Errno;

use crate::files::open::{OpenFile, OpenFiles};
use crate::files::trim_trailing_slashes;
use crate::folders::scratch::change::NameChange;
use crate::folders::scratch::usage::Usage;

impl OpenFiles {
    /// Reserves a name, with the bytes that come with it, in the folder of this number.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if the scratch folder is full.
    pub(crate) fn creating(&self, number: u32, path: &str, bytes: u64) -> Result<NameChange, Errno> {
        let Some((usage, folder)) = self.in_scratch(number) else { return Ok(NameChange::default()) };
        let Some(file) = folder.folder_file() else { return Err(Errno::NOTDIR) };
        NameChange::create(usage, file, trim_trailing_slashes(path), bytes).inspect_err(|_| self.note_full())
    }

    /// Remembers what a path names before it is removed.
    pub(crate) fn removing(&self, number: u32, path: &str) -> NameChange {
        let scratch = self.in_scratch(number);
        let Some((usage, file)) = scratch.and_then(|(usage, folder)| Some((usage, folder.folder_file()?)))
        else {
            return NameChange::default();
        };
        NameChange::lose(usage, file, trim_trailing_slashes(path))
    }

    /// Reserves another name of a file.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if the scratch folder is full, and with `EXDEV` if only one of the two folders lies in it.
    pub(crate) fn linking(&self, number: u32, path: &str, new: u32) -> Result<NameChange, Errno> {
        self.check_same_disk(number, new)?;
        let Some((usage, folder)) = self.in_scratch(number) else { return Ok(NameChange::default()) };
        let Some(file) = folder.folder_file() else { return Err(Errno::NOTDIR) };
        NameChange::link(usage, file, trim_trailing_slashes(path)).inspect_err(|_| self.note_full())
    }

    /// Remembers what a new name replaces.
    ///
    /// # Errors
    ///
    /// Fails with `EXDEV` if only one of the two folders lies in the scratch folder.
    pub(crate) fn renaming(&self, number: u32, new: u32, new_path: &str) -> Result<NameChange, Errno> {
        self.check_same_disk(number, new)?;
        Ok(self.removing(new, new_path))
    }

    /// A scratch folder is a disk of its own: nothing is moved or linked into it or out of it, though its files may be on
    /// the same volume.
    fn check_same_disk(&self, one: u32, other: u32) -> Result<(), Errno> {
        let is_same = self.in_scratch(one).is_some() == self.in_scratch(other).is_some();
        if is_same { Ok(()) } else { Err(Errno::XDEV) }
    }

    fn in_scratch(&self, number: u32) -> Option<(&Arc<Usage>, &OpenFile)> {
        let file = self.get(number)?;
        let scratch = self.scratch.as_ref().filter(|_| self.is_scratch(file.folder))?;
        Some((&scratch.usage, file))
    }

    fn note_full(&self) {
        self.disk.note_full_scratch();
    }
}
