//! The disk limit of one run, and the reserve of free space on each volume.
//!
//! Checked before each write. What a scratch folder may hold is its own limit, of `scratch`. Bytes count each time they are written. A hole that extends a file counts as written,
//! because the next reader may fill it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;
use wasmill_model::{LogStream, RunHost};

use crate::error::format;
use crate::folders::scratch::folder::RunScratch;
use crate::folders::scratch::usage::OpenInode;
use crate::plugin::context::PluginContext;

/// The size counted for creating a file, a folder or a link; roughly what it takes on disk.
pub(crate) const FILE_BYTES: u64 = 4 << 10;
/// Bytes that a run may write between two checks of free space.
const CHECK_INTERVAL_BYTES: u64 = 8 << 20;
/// The free space kept on a volume: this, or a twentieth of a small one.
const RESERVE_BYTES: u64 = 1 << 30;
const RESERVE_PART: u64 = 20;

/// The disk usage of one run.
pub(crate) struct Disk {
    plugin: Arc<PluginContext>,
    host: Arc<dyn RunHost>,
    scratch: Option<Arc<RunScratch>>,
    used_bytes: AtomicU64,
    /// Bytes that may be written before the next check of free space.
    unchecked_bytes: AtomicU64,
    has_refused: AtomicBool,
    has_filled_scratch: AtomicBool,
}

impl Disk {
    pub(crate) fn new(
        plugin: &Arc<PluginContext>,
        host: &Arc<dyn RunHost>,
        scratch: Option<&Arc<RunScratch>>,
    ) -> Self {
        Self {
            scratch: scratch.cloned(),
            plugin: Arc::clone(plugin),
            host: Arc::clone(host),
            used_bytes: AtomicU64::new(0),
            unchecked_bytes: AtomicU64::new(0),
            has_refused: AtomicBool::new(false),
            has_filled_scratch: AtomicBool::new(false),
        }
    }

    /// Says which limit the run ever exceeded, if any.
    pub(crate) fn refusal(&self) -> Option<String> {
        if self.has_refused.load(Relaxed) {
            let limit = format::bytes(self.plugin.config.limits.disk_bytes);
            return Some(format!(
                "wrote more to its folders than its limit `disk` of {limit} (limits.disk of the manifest, else the \
                 setting disk)"
            ));
        }
        self.scratch.as_ref().filter(|_| self.has_filled_scratch.load(Relaxed)).map(|scratch| {
            let limit = scratch_limit(scratch);
            format!("filled its scratch folder, which holds {limit} (allow.scratch of the manifest)")
        })
    }

    /// Logs that the scratch folder is full, once, because the guest may see only an I/O error, or ignore it.
    pub(crate) fn note_full_scratch(&self) {
        let Some(scratch) = &self.scratch else { return };
        if !self.has_filled_scratch.swap(true, Relaxed) {
            let limit = scratch_limit(scratch);
            let line = format!(
                "wasmill: a write was refused: the scratch folder of a run holds {limit} (allow.scratch)\n"
            );
            self.host.log(LogStream::Stderr, line.as_bytes());
        }
    }

    /// Counts bytes before they are written to a file of the scratch folder, at a position or at its end.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if they exceed what the folder holds or the reserve of the volume.
    pub(crate) fn write_scratch(
        &self,
        folder: usize,
        inode: &OpenInode,
        position: Option<u64>,
        bytes: u64,
    ) -> io::Result<()> {
        inode.check_write(position, bytes).inspect_err(|_| self.note_full_scratch())?;
        self.write(folder, bytes)
    }

    /// Counts bytes before they are written to a file in a folder.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if they exceed the limit of the run or the reserve of the volume.
    pub(crate) fn write(&self, folder: usize, bytes: u64) -> io::Result<()> {
        self.charge(folder, bytes)?;
        if let Some(meter) = self.host.meter() {
            meter.add_disk_written_bytes(bytes);
        }
        Ok(())
    }

    /// Counts a file, a folder or a link before it is created.
    ///
    /// # Errors
    ///
    /// See [`Disk::write`].
    pub(crate) fn create(&self, folder: usize) -> io::Result<()> {
        self.charge(folder, FILE_BYTES)
    }

    /// Counts a file that was created.
    pub(crate) fn created(&self) {
        if let Some(meter) = self.host.meter() {
            meter.add_file_created();
        }
    }

    // Only one thread at a time runs a guest, so these steps need not be atomic.
    fn charge(&self, folder: usize, bytes: u64) -> io::Result<()> {
        if folder >= self.plugin.folders.len() {
            // The scratch folder.
            return self.charge_volume(folder, bytes);
        }
        let used = self.used_bytes.load(Relaxed).saturating_add(bytes);
        if used > self.plugin.config.limits.disk_bytes {
            if !self.has_refused.swap(true, Relaxed) {
                self.log_refusal();
            }
            return Err(Errno::NOSPC.into());
        }
        self.charge_volume(folder, bytes)?;
        self.used_bytes.store(used, Relaxed);
        Ok(())
    }

    fn charge_volume(&self, folder: usize, bytes: u64) -> io::Result<()> {
        let unchecked_bytes = self.unchecked_bytes.load(Relaxed);
        match unchecked_bytes.checked_sub(bytes) {
            Some(rest) => self.unchecked_bytes.store(rest, Relaxed),
            None => {
                self.check_free(folder, bytes)?;
                self.unchecked_bytes.store(CHECK_INTERVAL_BYTES, Relaxed);
            }
        }
        Ok(())
    }

    /// Logs the first refused write to the log of the task, because the guest may see only an I/O error, or ignore
    /// it.
    fn log_refusal(&self) {
        let limit = format::bytes(self.plugin.config.limits.disk_bytes);
        let line = format!(
            "wasmill: a write was refused: one run may write at most {limit} to its folders (limits.disk)\n"
        );
        self.host.log(LogStream::Stderr, line.as_bytes());
    }

    fn check_free(&self, folder: usize, bytes: u64) -> io::Result<()> {
        let (path, volume) = match (self.plugin.folders.get(folder), &self.scratch) {
            (Some(folder), _) => (folder.rule.host.as_path(), folder.volume_bytes()),
            (None, Some(scratch)) => (Path::new(&scratch.rule().guest), scratch.volume_bytes()),
            (None, None) => return Ok(()),
        };
        // If the free space is unknown, the write is allowed.
        let Ok((free, all)) = volume else { return Ok(()) };
        if has_room(free, all, bytes) {
            return Ok(());
        }
        self.plugin.denial_log.log_full_volume(path, free, reserve(all));
        Err(Errno::NOSPC.into())
    }
}

/// Says how much a scratch folder holds.
fn scratch_limit(scratch: &RunScratch) -> String {
    let rule = scratch.rule();
    format!("at most {} in {} files", format::bytes(rule.bytes_max), rule.files_max)
}

fn reserve(all: u64) -> u64 {
    RESERVE_BYTES.min(all / RESERVE_PART)
}

/// Returns true if a volume keeps its reserve after these bytes and those until the next check.
fn has_room(free: u64, all: u64, bytes: u64) -> bool {
    free >= reserve(all).saturating_add(bytes).saturating_add(CHECK_INTERVAL_BYTES.min(all / 100))
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
        assert!(has_room(100 * mib, gib, mib), "a twentieth of a small volume");
        assert!(!has_room(51 * mib, gib, mib));
        assert!(!has_room(8 * gib, 100 * gib, u64::MAX), "a sum that overflows does not count as room");
    }
}
