//! Detects swap that is enabled after pools were created that rely on its absence.
//!
//! Checked by the runtime before guests start. The kernel does not report touched pages that were swapped out, so
//! the next guest in a slot could read what the previous one left there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::memory_reset::MemoryReset;

/// The interval between checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Returns true if the host has swap; a missing file means a kernel without swap support.
pub(crate) fn is_on(swaps: &Path) -> bool {
    std::fs::read_to_string(swaps).is_ok_and(|swaps| swaps.lines().nth(1).is_some())
}

/// Returns the file in which the kernel lists its swap devices.
pub(crate) fn swaps() -> PathBuf {
    PathBuf::from("/proc/swaps")
}

/// Detects swap, permanently: the content of used slots stays unknown.
pub(crate) struct SwapMonitor {
    /// `None` if the pools work with swap.
    swaps: Option<PathBuf>,
    start: Instant,
    /// The time of the next check, in milliseconds since the start.
    next_check_ms: AtomicU64,
    is_enabled_since_start: AtomicBool,
}

impl SwapMonitor {
    /// Creates a monitor for pools that reset memory this way.
    pub(crate) fn new(reset: MemoryReset, swaps: PathBuf) -> Self {
        Self {
            swaps: (reset == MemoryReset::ClearTouched).then_some(swaps),
            start: Instant::now(),
            next_check_ms: AtomicU64::new(0),
            is_enabled_since_start: AtomicBool::new(false),
        }
    }

    /// Returns true if swap was enabled since the start, as of the last check.
    pub(crate) fn is_enabled_since_start(&self) -> bool {
        let Some(swaps) = &self.swaps else { return false };
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let next_check_ms = self.next_check_ms.load(Ordering::Relaxed);
        if now_ms >= next_check_ms {
            let next_ms = now_ms.saturating_add(CHECK_INTERVAL.as_millis() as u64);
            let is_mine = self
                .next_check_ms
                .compare_exchange(next_check_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
            if is_mine && is_on(swaps) && !self.is_enabled_since_start.swap(true, Ordering::SeqCst) {
                tracing::error!(
                    "swap was enabled while the server runs: no more pooled guests start, because one could \
                     read what the previous one left in memory; disable swap and restart the server"
                );
            }
        }
        self.is_enabled_since_start.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const HEAD: &str = "Filename\tType\tSize\tUsed\tPriority\n";

    fn watch(reset: MemoryReset) -> (TempDir, SwapMonitor) {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("swaps"), HEAD).unwrap();
        let watch = SwapMonitor::new(reset, folder.path().join("swaps"));
        (folder, watch)
    }

    fn switch_on(folder: &TempDir) {
        std::fs::write(folder.path().join("swaps"), format!("{HEAD}/dev/zram0 partition 1 0 100\n")).unwrap();
    }

    #[test]
    fn swap_enabled_later_is_detected_permanently() {
        let (folder, watch) = watch(MemoryReset::ClearTouched);
        assert!(!watch.is_enabled_since_start());
        switch_on(&folder);
        // Simulates that the check interval has passed.
        watch.next_check_ms.store(0, Ordering::Relaxed);
        assert!(watch.is_enabled_since_start());
        std::fs::write(folder.path().join("swaps"), HEAD).unwrap();
        watch.next_check_ms.store(0, Ordering::Relaxed);
        assert!(watch.is_enabled_since_start());
    }

    #[test]
    fn pools_that_decommit_work_with_swap() {
        let (folder, watch) = watch(MemoryReset::Decommit);
        switch_on(&folder);
        assert!(!watch.is_enabled_since_start());
    }

    #[test]
    fn a_kernel_without_swap_support_has_no_swap() {
        assert!(
            !SwapMonitor::new(MemoryReset::ClearTouched, PathBuf::from("/nowhere/swaps"))
                .is_enabled_since_start()
        );
    }
}
