//! How much memory this process may use: that of the machine, or the limit of its cgroup.
//!
//! The binary derives the default memory budget from it. Reads only `/proc` and `/sys`.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the bytes of memory of the machine, or of the tightest cgroup around this process; `None` if neither is
/// known.
pub fn machine_memory_bytes() -> Option<u64> {
    under(Path::new("/"))
}

fn under(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total(&text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let groups = groups.lines().flat_map(|line| limit_files(root, line));
    groups.filter_map(|file| limit(&file)).chain(machine).min()
}

/// Parses the line `MemTotal:  24683520 kB`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

/// Returns the limit files of a cgroup and its ancestors, from a line such as `0::/a/b` (version 2) or
/// `4:memory:/a/b` (version 1). In a container the path may be the host's and not exist; the container's limit is
/// then at the root.
fn limit_files(root: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (top, file) = if controllers.is_empty() {
        (root.join("sys/fs/cgroup"), "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    Path::new(path.trim_start_matches('/')).ancestors().map(|group| top.join(group).join(file)).collect()
}

/// Reads a limit; `max` means no limit.
fn limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        under(root.path())
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n");

    #[test]
    fn without_a_cgroup_limit_it_is_the_memory_of_the_machine() {
        assert_eq!(memory(&[MACHINE]), Some(2 << 20));
        let unlimited = [MACHINE, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")];
        assert_eq!(memory(&unlimited), Some(2 << 20));
        assert_eq!(memory(&[]), None);
    }

    #[test]
    fn the_tightest_cgroup_limit_wins() {
        let nested = [
            MACHINE,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "2000\n"),
        ];
        assert_eq!(memory(&nested), Some(1_000));
    }

    #[test]
    fn cgroups_of_version_1_and_of_a_container_are_read() {
        let container = [
            MACHINE,
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000\n"),
        ];
        assert_eq!(memory(&container), Some(3_000));
        // What cgroup version 1 reports for no limit.
        let unlimited = [container[0], container[1], (container[2].0, "9223372036854771712\n")];
        assert_eq!(memory(&unlimited), Some(2 << 20));
    }

    #[test]
    fn this_machine_reports_its_memory() {
        assert!(machine_memory_bytes().is_some_and(|bytes| bytes > 64 << 20));
    }
}
