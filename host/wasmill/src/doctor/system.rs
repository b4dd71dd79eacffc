//! The machine: kernel, processors, clock, open files, processes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use wasmill_model::{Clock, SystemClock};
use wasmill_runtime::{CLIENT_DESCRIPTORS, OWN_DESCRIPTORS, guest_descriptors};

use crate::doctor::report::Check;
use crate::settings::Settings;

/// The oldest kernel that reports which pages of a memory were touched.
const KERNEL_RECOMMENDED: (u32, u32) = (6, 7);
/// Below this, `serve` barely works.
const FILES_MIN: u64 = 256;
/// Threads and child processes that `serve` may use.
const PROCESSES_RECOMMENDED: u64 = 128;
/// A clock read without a system call takes a tenth of this.
const CLOCK_READ_MAX: Duration = Duration::from_nanos(300);
/// This program did not exist before 2026; an earlier time is wrong.
const YEAR_2026: i64 = 1_767_225_600;
const YEAR_2100: i64 = 4_102_444_800;

pub(super) fn kernel() -> Check {
    const NAME: &str = "kernel";
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    match version(release) {
        Some(version) if version >= KERNEL_RECOMMENDED => Check::ok(NAME, format!("Linux {release}")),
        Some(_) => Check::warn(
            NAME,
            format!("Linux {release}"),
            "memory is returned to the kernel after each run, at less than half the speed",
            "use Linux 6.7 or later",
        ),
        None => Check::warn(
            NAME,
            "the kernel version is unknown",
            "the capacity of the machine may be misjudged",
            "mount /proc: mount -t proc proc /proc",
        ),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(super) fn cpu() -> Check {
    const NAME: &str = "processors";
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let quota = quota();
    let shown = match quota {
        Some(quota) => format!("{cores}, limited by the control group to {quota:.2}"),
        None => cores.to_string(),
    };
    match quota {
        Some(quota) if quota < 1.0 => Check::warn(
            NAME,
            shown,
            "the whole server pauses for tens of milliseconds whenever its quota is used up",
            "docker run --cpus 2, or CPUQuota=200% in the systemd unit",
        ),
        _ if cores == 1 => Check::warn(
            NAME,
            shown,
            "requests and CPU-bound guests share one core and delay each other",
            "use two cores or more, such as docker run --cpus 2",
        ),
        _ => Check::ok(NAME, shown),
    }
}

/// Returns the CPU quota of the control group (version 2) in cores.
fn quota() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let top = Path::new("/sys/fs/cgroup");
    let files = Path::new(&path).ancestors().map(|group| top.join(group).join("cpu.max"));
    files.filter_map(|file| cores(&fs::read_to_string(file).ok()?)).reduce(f64::min)
}

/// Parses `200000 100000`, quota and period; `max` means no limit.
fn cores(text: &str) -> Option<f64> {
    let (time, period) = text.trim().split_once(' ')?;
    let (time, period): (f64, f64) = (time.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| time / period)
}

pub(super) fn clock() -> Check {
    const NAME: &str = "clock";
    let now = SystemClock.now();
    if !(YEAR_2026..YEAR_2100).contains(&now.timestamp()) {
        return Check::fail(
            NAME,
            format!("it says {now}"),
            "tasks get wrong times, and retries start at wrong times",
            "timedatectl set-ntp true",
        );
    }
    let read = clock_read();
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let source = source.map_or_else(|_| "unknown".to_owned(), |source| source.trim().to_owned());
    let shown =
        format!("{}, source {source}, {} ns to read", now.format("%Y-%m-%dT%H:%M:%SZ"), read.as_nanos());
    if read > CLOCK_READ_MAX {
        return Check::warn(
            NAME,
            shown,
            "each clock read is a system call, and each run does several",
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        );
    }
    Check::ok(NAME, shown)
}

/// Measures the time to read the clock, at best: a busy machine slows down single reads.
fn clock_read() -> Duration {
    const READS: u32 = 1_000;
    let batch = |_| {
        let start = Instant::now();
        for _ in 0..READS {
            std::hint::black_box(Instant::now());
        }
        start.elapsed() / READS
    };
    (0..20).map(batch).min().unwrap_or_default()
}

pub(super) fn open_files(settings: &Settings) -> Check {
    const NAME: &str = "open files";
    let Some(max) = getrlimit(Resource::Nofile).maximum else {
        return Check::ok(NAME, "no limit");
    };
    let slots = u64::from(settings.slots_wanted());
    // A connection and a file for each task.
    let wanted = CLIENT_DESCRIPTORS + 2 * slots + OWN_DESCRIPTORS;
    let guests = guest_descriptors(max);
    let shown = format!(
        "{max} at most; {wanted} for all clients and for a connection and a file of each task; tasks may hold \
         {guests} files together"
    );
    let fix = format!(
        "ulimit -Hn {wanted}, or LimitNOFILE={wanted} in the systemd unit, or docker run --ulimit nofile={wanted}"
    );
    if max < FILES_MIN {
        Check::fail(NAME, shown, "neither the database nor clients can be served", fix)
    } else if max < wanted {
        let clients = max.saturating_sub(OWN_DESCRIPTORS + guests);
        Check::warn(
            NAME,
            shown,
            format!(
                "beyond {clients} connections, clients wait and HTTP calls of tasks fail; beyond {guests} open \
                 files, tasks cannot open more"
            ),
            fix,
        )
    } else {
        Check::ok(NAME, shown)
    }
}

pub(super) fn processes() -> Check {
    const NAME: &str = "processes";
    let user = getrlimit(Resource::Nproc).current;
    let group = fs::read_to_string("/sys/fs/cgroup/pids.max").ok().and_then(|text| text.trim().parse().ok());
    let Some(max) = user.into_iter().chain(group).min() else { return Check::ok(NAME, "no limit") };
    let shown = format!("{max} threads and processes at most");
    if max < PROCESSES_RECOMMENDED {
        return Check::warn(
            NAME,
            shown,
            "threads for file operations and the compiler may fail to start",
            format!("ulimit -u {PROCESSES_RECOMMENDED}, or docker run --pids-limit 1000"),
        );
    }
    Check::ok(NAME, shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_parsed() {
        for (release, read) in [
            ("6.18.5", Some((6, 18))),
            ("6.7-rc1", Some((6, 7))),
            ("5.15.0-91-generic", Some((5, 15))),
            ("odd", None),
        ] {
            assert_eq!(version(release), read, "{release}");
        }
    }

    #[test]
    fn a_quota_is_parsed_in_cores() {
        assert_eq!(cores("50000 100000\n"), Some(0.5));
        assert_eq!(cores("max 100000\n"), None);
    }
}
