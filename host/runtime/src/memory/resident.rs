//! Reads how much private memory this process has resident.
//!
//! Costs 2 µs: it reads `/proc/self/statm`, which exists on Linux only.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// An open file of procfs; each read returns the current value.
#[derive(Debug)]
pub(crate) struct ResidentMemory(Option<File>);

impl ResidentMemory {
    pub(crate) fn open() -> Self {
        Self(File::open("/proc/self/statm").ok())
    }

    /// Returns the resident bytes that are not backed by a file; `None` where the kernel does not report them.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let mut text = [0; 128];
        let length = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = str::from_utf8(&text[..length]).ok()?;
        let mut pages = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
        let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
        Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn only_touched_memory_is_resident() {
        const BYTES: usize = 256 << 20;
        let resident = ResidentMemory::open();
        let before = resident.bytes().unwrap();
        let untouched = black_box(Vec::<u8>::with_capacity(BYTES));
        assert!(resident.bytes().unwrap() < before + BYTES as u64 / 2);
        let touched = black_box(vec![1_u8; BYTES]);
        assert!(resident.bytes().unwrap() > before + BYTES as u64 / 2);
        drop((untouched, touched));
    }
}
