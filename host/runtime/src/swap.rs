//! Looks whether the host has begun to swap after pools were made that rely on it never doing so.
//!
//! Asked by the runtime before guests start. The kernel does not tell of pages that it has swapped out, so the
//! next guest in a slot could read what the one before it left there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::pool::MemoryReset;

/// How old a look may be.
const LOOK_AGE_MAX: Duration = Duration::from_secs(2);

/// Says whether the host swaps; a file that is not there means a kernel that cannot.
pub(crate) fn is_on(swaps: &Path) -> bool {
    std::fs::read_to_string(swaps).is_ok_and(|swaps| swaps.lines().nth(1).is_some())
}

/// Where the kernel lists what it swaps to.
pub(crate) fn swaps() -> PathBuf {
    PathBuf::from("/proc/swaps")
}

/// Notices swap that comes, and never forgets it: what a slot holds then stays unknown.
pub(crate) struct SwapWatch {
    /// `None` if pools work with swap as well.
    swaps: Option<PathBuf>,
    start: Instant,
    /// When to look next, in milliseconds after the start.
    look_at_ms: AtomicU64,
    has_come: AtomicBool,
}

impl SwapWatch {
    /// Watches for pools that are made clean in this way.
    pub(crate) fn new(reset: MemoryReset, swaps: PathBuf) -> Self {
        Self {
            swaps: (reset == MemoryReset::ClearTouched).then_some(swaps),
            start: Instant::now(),
            look_at_ms: AtomicU64::new(0),
            has_come: AtomicBool::new(false),
        }
    }

    /// Says whether swap has come since the pools were made, as of the last seconds.
    pub(crate) fn has_come(&self) -> bool {
        let Some(swaps) = &self.swaps else { return false };
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let look_at_ms = self.look_at_ms.load(Ordering::Relaxed);
        if now_ms >= look_at_ms {
            let next_ms = now_ms.saturating_add(LOOK_AGE_MAX.as_millis() as u64);
            let is_mine = self
                .look_at_ms
                .compare_exchange(look_at_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
            if is_mine && is_on(swaps) && !self.has_come.swap(true, Ordering::SeqCst) {
                tracing::error!(
                    "swap was switched on while the server runs: no more small guests start, since one could read \
                     what the one before it left in memory; switch swap off for the server, and restart it"
                );
            }
        }
        self.has_come.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const HEAD: &str = "Filename\tType\tSize\tUsed\tPriority\n";

    fn watch(reset: MemoryReset) -> (TempDir, SwapWatch) {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("swaps"), HEAD).unwrap();
        let watch = SwapWatch::new(reset, folder.path().join("swaps"));
        (folder, watch)
    }

    fn switch_on(folder: &TempDir) {
        std::fs::write(folder.path().join("swaps"), format!("{HEAD}/dev/zram0 partition 1 0 100\n")).unwrap();
    }

    #[test]
    fn swap_that_comes_later_is_noticed_and_never_forgotten() {
        let (folder, watch) = watch(MemoryReset::ClearTouched);
        assert!(!watch.has_come());
        switch_on(&folder);
        // As if the last look were older.
        watch.look_at_ms.store(0, Ordering::Relaxed);
        assert!(watch.has_come());
        std::fs::write(folder.path().join("swaps"), HEAD).unwrap();
        watch.look_at_ms.store(0, Ordering::Relaxed);
        assert!(watch.has_come());
    }

    #[test]
    fn pools_that_give_memory_back_do_not_mind_swap() {
        let (folder, watch) = watch(MemoryReset::Decommit);
        switch_on(&folder);
        assert!(!watch.has_come());
    }

    #[test]
    fn a_kernel_without_swap_has_none() {
        assert!(!SwapWatch::new(MemoryReset::ClearTouched, PathBuf::from("/nowhere/swaps")).has_come());
    }
}
