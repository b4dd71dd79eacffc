//! A change of names in a scratch folder: what is reserved before the call, and counted after it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::folders::scratch::usage::Usage;

/// A change of names that is about to be made. Dropped without [`NameChange::finish`], it was not made.
#[derive(Default)]
pub(crate) struct NameChange {
    usage: Option<Arc<Usage>>,
    /// The bytes that were reserved, with one name.
    reserved_bytes: Option<u64>,
    /// What will be created.
    created: Option<(Arc<File>, String)>,
    /// What will lose or gain a name. The call may resolve its path in another way than the kernel does; what counts is
    /// therefore read from the kernel afterwards.
    changed: Option<OwnedFd>,
}

impl NameChange {
    /// Reserves a new name in `folder`.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if there is no room for it.
    pub(crate) fn create(
        usage: &Arc<Usage>,
        folder: &Arc<File>,
        path: &str,
        bytes: u64,
    ) -> Result<Self, Errno> {
        usage.reserve(bytes)?;
        let created = Some((Arc::clone(folder), path.to_owned()));
        Ok(Self { usage: Some(Arc::clone(usage)), reserved_bytes: Some(bytes), created, changed: None })
    }

    /// Remembers what will lose its name, by removal or replacement.
    pub(crate) fn lose(usage: &Arc<Usage>, folder: &File, path: &str) -> Self {
        let changed = named(folder, path);
        Self { usage: Some(Arc::clone(usage)), reserved_bytes: None, created: None, changed }
    }

    /// Reserves another name of a file.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if there is no room for it.
    pub(crate) fn link(usage: &Arc<Usage>, folder: &File, path: &str) -> Result<Self, Errno> {
        usage.reserve(0)?;
        let changed = named(folder, path);
        Ok(Self { usage: Some(Arc::clone(usage)), reserved_bytes: Some(0), created: None, changed })
    }

    /// Counts the change, if the call has made it.
    pub(crate) fn finish(mut self, is_made: bool) {
        let Some(usage) = self.usage.clone().filter(|_| is_made) else { return };
        let created = self.created.take().and_then(|(folder, path)| named(&folder, &path));
        let is_counted = match (created, self.changed.take()) {
            (Some(created), _) => fstat(&created).is_ok_and(|stat| usage.sync(&stat)),
            (None, Some(changed)) => fstat(&changed).is_ok_and(|stat| usage.sync_known(&stat)),
            (None, None) => false,
        };
        if !is_counted {
            // A name that was made and not found keeps its reservation: rather too much is counted than too little.
            self.reserved_bytes = None;
        }
    }
}

impl Drop for NameChange {
    fn drop(&mut self) {
        if let (Some(usage), Some(bytes)) = (&self.usage, self.reserved_bytes) {
            usage.release(bytes);
        }
    }
}

/// Opens what a path names, without access to its contents.
fn named(folder: &File, path: &str) -> Option<OwnedFd> {
    openat(folder, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()
}
