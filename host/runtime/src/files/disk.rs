//! What one run may write into its folders, and how much stays free on their volumes.
//!
//! Asked before each call that writes. Bytes count however often they are written, and a hole that makes a file
//! longer counts as if it were written: the next reader may fill it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;
use wasmill_model::{LogStream, RunHost};

use crate::files::granted::GrantedFolder;
use crate::plugin::Plugin;

/// What a file, a folder or a link counts for when it is made, which is about what it takes on a disk.
pub(crate) const FILE_BYTES: u64 = 4 << 10;
/// Bytes that a run writes between two looks at how much is free.
const LOOK_BYTES: u64 = 8 << 20;
/// What stays free on a volume: this, or a twentieth of a small one.
const RESERVE_BYTES: u64 = 1 << 30;
const RESERVE_PART: u64 = 20;

/// What one run writes.
pub(crate) struct Disk {
    plugin: Arc<Plugin>,
    host: Arc<dyn RunHost>,
    used_bytes: AtomicU64,
    /// Bytes that may be written before the next look at how much is free.
    looked_for: AtomicU64,
    has_refused: AtomicBool,
}

impl Disk {
    pub(crate) fn new(plugin: &Arc<Plugin>, host: &Arc<dyn RunHost>) -> Self {
        Self {
            plugin: Arc::clone(plugin),
            host: Arc::clone(host),
            used_bytes: AtomicU64::new(0),
            looked_for: AtomicU64::new(0),
            has_refused: AtomicBool::new(false),
        }
    }

    /// Says whether the run ever wanted to write more than its limit.
    pub(crate) fn has_refused(&self) -> bool {
        self.has_refused.load(Relaxed)
    }

    /// Counts bytes that are about to be written to a file in a folder.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if the run may not write so many, or if too little would stay free.
    pub(crate) fn write(&self, folder: usize, bytes: u64) -> io::Result<()> {
        self.charge(folder, bytes)?;
        if let Some(meter) = self.host.meter() {
            meter.add_disk_written_bytes(bytes);
        }
        Ok(())
    }

    /// Counts a file, a folder or a link that is about to be made.
    ///
    /// # Errors
    ///
    /// See [`Disk::write`].
    pub(crate) fn make(&self, folder: usize) -> io::Result<()> {
        self.charge(folder, FILE_BYTES)
    }

    /// Counts one that was made.
    pub(crate) fn made(&self) {
        if let Some(meter) = self.host.meter() {
            meter.add_file_created();
        }
    }

    // One thread at a time works for a guest, so nobody counts in between.
    fn charge(&self, folder: usize, bytes: u64) -> io::Result<()> {
        let used = self.used_bytes.load(Relaxed).saturating_add(bytes);
        if used > self.plugin.terms.limits.disk_bytes {
            if !self.has_refused.swap(true, Relaxed) {
                self.note_refusal();
            }
            return Err(Errno::NOSPC.into());
        }
        let looked_for = self.looked_for.load(Relaxed);
        match looked_for.checked_sub(bytes) {
            Some(rest) => self.looked_for.store(rest, Relaxed),
            None => {
                if let Some(folder) = self.plugin.folders.get(folder) {
                    self.check_free(folder, bytes)?;
                }
                self.looked_for.store(LOOK_BYTES, Relaxed);
            }
        }
        self.used_bytes.store(used, Relaxed);
        Ok(())
    }

    /// Writes into the log of the task what was refused: a guest may see no more than an I/O error, or go on.
    fn note_refusal(&self) {
        let most = crate::words::bytes(self.plugin.terms.limits.disk_bytes);
        let line =
            format!("wasmill: a write was refused: one run may write {most} to its folders (limits.disk)\n");
        self.host.log(LogStream::Stderr, line.as_bytes());
    }

    fn check_free(&self, folder: &GrantedFolder, bytes: u64) -> io::Result<()> {
        // A volume that does not tell is not held against the guest.
        let Ok((free, all)) = folder.volume_bytes() else { return Ok(()) };
        if has_room(free, all, bytes) {
            return Ok(());
        }
        self.plugin.denials.log_full_volume(&self.plugin, &folder.rule.host, free, reserve(all));
        Err(Errno::NOSPC.into())
    }
}

fn reserve(all: u64) -> u64 {
    RESERVE_BYTES.min(all / RESERVE_PART)
}

/// Says whether enough stays free on a volume after so many bytes and those until the next look.
fn has_room(free: u64, all: u64, bytes: u64) -> bool {
    free >= reserve(all).saturating_add(bytes).saturating_add(LOOK_BYTES.min(all / 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_keeps_its_reserve() {
        let (gib, mib) = (1_u64 << 30, 1_u64 << 20);
        assert!(has_room(2 * gib, 100 * gib, 900 * mib));
        assert!(!has_room(2 * gib, 100 * gib, gib));
        assert!(!has_room(gib, 100 * gib, 1));
        assert!(has_room(100 * mib, gib, mib), "of a small one a twentieth");
        assert!(!has_room(51 * mib, gib, mib));
        assert!(!has_room(8 * gib, 100 * gib, u64::MAX), "nor is it told that it has by a number that wraps");
    }
}
