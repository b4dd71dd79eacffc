//! CPU time of each thread of this process, from `/proc/self/task`.
//!
//! Read before and after a profile. Without that folder, no threads are known.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Nanoseconds per clock tick of `/proc/…/stat`: USER_HZ is 100 on every Linux that wasmtime supports.
const TICK_NANOS: u64 = 10_000_000;

/// All threads at one time, by thread id.
#[derive(Debug, Default)]
pub(super) struct Threads {
    threads: BTreeMap<u64, Thread>,
    /// User and kernel time of the process, including finished threads.
    process_ticks: u64,
}

#[derive(Clone, Debug)]
struct Thread {
    name: String,
    nanos: u64,
    user_ticks: u64,
    kernel_ticks: u64,
}

/// CPU time of all threads of one name between two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTime {
    pub(super) user: Duration,
    pub(super) kernel: Duration,
}

impl Threads {
    /// Takes a snapshot of all threads.
    pub(super) fn snapshot() -> Self {
        let folder = fs::read_dir("/proc/self/task");
        let paths = folder.into_iter().flatten().flatten().map(|entry| entry.path());
        let threads = paths.filter_map(|path| {
            let number = path.file_name()?.to_str()?.parse().ok()?;
            Some((number, Thread::read(&path)?))
        });
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let process_ticks = ticks(&stat).map_or(0, |(user, kernel)| user + kernel);
        Self { threads: threads.collect(), process_ticks }
    }

    /// Returns the CPU time per thread name since an earlier snapshot; finished threads have no name.
    pub(super) fn since(&self, before: &Self) -> HashMap<Option<String>, CpuTime> {
        let mut cpu_time = HashMap::<_, CpuTime>::new();
        let mut known_ticks = 0;
        for (number, thread) in &self.threads {
            let earlier = before.threads.get(number);
            let (nanos, user, kernel) = earlier.map_or((0, 0, 0), Thread::times);
            let nanos = thread.nanos.saturating_sub(nanos);
            let user = thread.user_ticks.saturating_sub(user);
            let kernel = thread.kernel_ticks.saturating_sub(kernel);
            known_ticks += user + kernel;
            // The sum is in nanoseconds, but user and kernel time are only known in ticks, so the sum is
            // split in their ratio.
            let kernel = match user + kernel {
                0 => 0,
                all => u64::try_from(u128::from(nanos) * u128::from(kernel) / u128::from(all)).unwrap_or(0),
            };
            let sum = cpu_time.entry(Some(thread.name.clone())).or_default();
            sum.user += Duration::from_nanos(nanos - kernel);
            sum.kernel += Duration::from_nanos(kernel);
        }
        let ended = self.process_ticks.saturating_sub(before.process_ticks).saturating_sub(known_ticks);
        cpu_time.entry(None).or_default().user = Duration::from_nanos(ended * TICK_NANOS);
        cpu_time
    }
}

impl Thread {
    fn read(folder: &Path) -> Option<Self> {
        let read = |file| fs::read_to_string(folder.join(file)).ok();
        let (user_ticks, kernel_ticks) = ticks(&read("stat")?)?;
        let nanos = read("schedstat").and_then(|text| text.split(' ').next()?.parse().ok());
        let nanos = nanos.unwrap_or((user_ticks + kernel_ticks) * TICK_NANOS);
        Some(Self { name: read("comm")?.trim_end().to_owned(), nanos, user_ticks, kernel_ticks })
    }

    fn times(&self) -> (u64, u64, u64) {
        (self.nanos, self.user_ticks, self.kernel_ticks)
    }
}

/// Parses user and kernel time from a line of `stat`, whose second field, in parentheses, may contain
/// anything.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn times_are_parsed_whatever_the_thread_name_is() {
        let stat = "12 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 77 33 0 0";
        assert_eq!(ticks(stat), Some((77, 33)));
        assert_eq!(ticks("12 (cut"), None);
    }

    #[test]
    fn cpu_time_is_attributed_to_the_thread_name() {
        let before = Threads::snapshot();
        let thread = std::thread::Builder::new().name("computes".to_owned()).spawn(move || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(50) {
                std::hint::spin_loop();
            }
            // Taken within the thread, while it exists.
            Threads::snapshot().since(&before)
        });
        let cpu_time = thread.expect("a thread").join().expect("the thread does not panic");
        let cpu_time = cpu_time[&Some("computes".to_owned())];
        assert!(cpu_time.user + cpu_time.kernel > Duration::from_millis(1), "{cpu_time:?}");
    }
}
