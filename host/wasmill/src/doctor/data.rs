//! The data folder: access, speed, free space, and whether a server uses it.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, access, statfs, statvfs};
use rustix::process::geteuid;
use wasmill_api::{DISK_FREE_MIN, DISK_FREE_RECOMMENDED};
use wasmill_store::StoreError;
use wasmill_store_sqlite::{ExaminedFiles, LockHolder, MissingFile};

use crate::doctor::report::Check;
use crate::settings::Settings;
use crate::terminal::text::{format_bytes, sanitize};

/// Free files needed by compiled plugins and the database.
const FILES_RECOMMENDED: u64 = 1_000;
/// Number of fsyncs measured, and bytes written before each.
const SYNCS: usize = 20;
const SYNC_BYTES: usize = 4 << 10;
/// A slower disk delays every client noticeably.
const SYNC_SLOW: Duration = Duration::from_millis(10);

const ELSEWHERE: &str = "use another folder with --data";

/// Returns the running server that uses the data folder, if any.
pub(super) fn holder(data: &Path) -> Option<LockHolder> {
    wasmill_store_sqlite::holder(data)
}

pub(super) fn checks(settings: &Settings, holder: Option<&LockHolder>) -> Vec<Check> {
    const NAME: &str = "data folder";
    let data = &settings.data;
    let shown = std::path::absolute(data).unwrap_or_else(|_| data.clone()).display().to_string();
    let fail = |found, fix| vec![Check::fail(NAME, found, "serve does not start", fix)];
    if let Err(error) = wasmill_store_sqlite::check_folder(data) {
        return fail(error.to_string(), ELSEWHERE.to_owned());
    }
    let existing = existing(data);
    if let Err(error) = writable(data, &existing) {
        let fix = match (may_chown(&error, &existing), existing == *data) {
            (false, _) => ELSEWHERE.to_owned(),
            (true, true) => format!("chown -R $(id -u) {shown}, or {ELSEWHERE}"),
            (true, false) => format!("sudo install -d -o $(id -u) {shown}, or {ELSEWHERE}"),
        };
        return fail(format!("{shown} is not writable: {error}"), fix);
    }
    let mut checks = Vec::new();
    let is_embedded = settings.database.is_none();
    checks.push(match holder.filter(|_| is_embedded) {
        Some(LockHolder { pid }) => {
            let pid = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            Check::warn(
                NAME,
                format!("{shown} is in use by {pid}, a running server"),
                "a second server on the same folder does not start",
                "nothing, if that is the server you mean; else use another folder with --data",
            )
        }
        None if existing == *data => Check::ok(NAME, format!("{shown} is writable")),
        None => Check::ok(NAME, format!("{shown} does not exist yet and can be created")),
    });
    if is_embedded {
        checks.extend(database(data));
        checks.extend(files(data));
    }
    checks.extend(disk_space(&existing));
    if is_embedded {
        checks.push(disk(&existing));
        checks.extend(network(&existing));
    }
    checks
}

/// Checks the database the way `serve` does when it opens one; `None` if there is none.
fn database(data: &Path) -> Option<Check> {
    const NAME: &str = "database";
    let file = data.join("wasmill.db");
    file.exists().then(|| match wasmill_store_sqlite::examine(data) {
        Ok(()) => Check::ok(NAME, format!("{} can be opened", file.display())),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            "serve does not start",
            match error {
                StoreError::Corrupt { .. } => {
                    "replace it with a copy made by wasmill backup and delete wasmill.db-wal, or use another folder \
                     with --data"
                }
                _ => ELSEWHERE,
            },
        ),
    })
}

/// Checks that the files of tasks are there; `None` without any.
fn files(data: &Path) -> Option<Check> {
    const NAME: &str = "files of tasks";
    // What is wrong with the database stands beside it.
    let examined = wasmill_store_sqlite::examine_files(data).ok()?;
    let ExaminedFiles { files, bytes, missing, newest_missing } = examined;
    if let Some(MissingFile { task, name }) = newest_missing {
        let name = sanitize(&name);
        return Some(Check::fail(
            NAME,
            format!("{missing} of {files} are missing or cut, such as '{name}' of task {task}"),
            "tasks that have not run fail, and nobody gets these files",
            format!("put the copy of {} back that belongs to the database", data.join("files").display()),
        ));
    }
    (files > 0).then(|| Check::ok(NAME, format!("{files} files, {}", format_bytes(bytes))))
}

/// Returns the folder, or the nearest existing one above it, where it would be created.
fn existing(data: &Path) -> PathBuf {
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    if data.exists() {
        return data.to_owned();
    }
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Checks access with an unnamed file, which vanishes on close, and checks the database if there is one.
fn writable(data: &Path, existing: &Path) -> io::Result<()> {
    tempfile::tempfile_in(existing)?;
    for file in ["wasmill.db", "wasmill.db-wal", "wasmill.lock"] {
        let file = data.join(file);
        if file.exists() {
            access(&file, Access::READ_OK | Access::WRITE_OK)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
        }
    }
    Ok(())
}

/// Returns true if another owner of a folder would allow what failed: not for root, nor where the kernel makes the files.
pub(super) fn may_chown(error: &io::Error, folder: &Path) -> bool {
    // Of statfs(2): /proc, /sys, control groups.
    const KERNEL: [u64; 4] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270];
    let is_kernel = statfs(folder).is_ok_and(|found| KERNEL.contains(&(found.f_type as u64 & 0xffff_ffff)));
    error.kind() == io::ErrorKind::PermissionDenied && !geteuid().is_root() && !is_kernel
}

pub(super) fn disk_space(folder: &Path) -> Option<Check> {
    const NAME: &str = "disk space";
    let stat = statvfs(folder).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let mut found = format!("{} free", format_bytes(free));
    // Some file systems have no fixed number of files and report 0 of 0.
    let few_files = stat.f_files > 0 && stat.f_favail < FILES_RECOMMENDED;
    if few_files {
        found = format!("{found}, and {} more files", stat.f_favail);
    }
    let fix =
        "free some space, move --data to a larger disk, or keep less: --keep-for 1day --keep-max 100000";
    Some(if free < DISK_FREE_MIN {
        Check::fail(NAME, found, "tasks are rejected with 503 once it is full", fix)
    } else if free < DISK_FREE_RECOMMENDED || few_files {
        Check::warn(
            NAME,
            found,
            "a million finished tasks take 200 MiB and more; a full disk rejects tasks",
            fix,
        )
    } else {
        Check::ok(NAME, found)
    })
}

/// Measures the delay that every accepted task has.
fn disk(folder: &Path) -> Check {
    const NAME: &str = "disk";
    match syncs(folder) {
        Ok(times) => {
            let (usual, worst) = (times[times.len() / 2], times[times.len() - 1]);
            let found = format!("fsync takes {usual:.1?}, {worst:.1?} at worst of {SYNCS}");
            if usual > SYNC_SLOW {
                let cost = format!("each POST takes at least {usual:.1?}; concurrent ones share an fsync");
                Check::warn(NAME, found, cost, "move --data to a local SSD")
            } else {
                Check::ok(NAME, found)
            }
        }
        Err(error) => Check::fail(
            NAME,
            format!("writing and fsync failed: {error}"),
            "no task can be accepted",
            "see dmesg; move --data to another disk",
        ),
    }
}

/// Writes to an unnamed file the way the database log is written; returns the sorted times.
fn syncs(folder: &Path) -> io::Result<Vec<Duration>> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(SYNCS);
    file.write_all(&[0; SYNC_BYTES * SYNCS])?;
    file.rewind()?;
    file.sync_all()?;
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[1; SYNC_BYTES])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times)
}

/// Warns of file systems whose locks or shared memory SQLite cannot trust.
fn network(folder: &Path) -> Option<Check> {
    let name = network_name(folder)?;
    Some(Check::warn(
        "data on network",
        format!("the file system is {name}"),
        "SQLite needs file locks and shared memory, which such file systems often lack: the database may get corrupted",
        "move --data to a local disk, and copy it with wasmill backup",
    ))
}

/// Returns the name of the file system if others may change its files.
pub(super) fn network_name(folder: &Path) -> Option<&'static str> {
    // Of statfs(2).
    match statfs(folder).ok()?.f_type as u64 & 0xffff_ffff {
        0x6969 => Some("NFS"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x6573_5546 => Some("FUSE"),
        0x00c3_6400 => Some("Ceph"),
        0x7375_7245 => Some("Coda"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_checked_where_it_would_be_created() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        assert_eq!(existing(folder.path()), folder.path());
        let before = folder.path().read_dir().unwrap().count();
        writable(folder.path(), folder.path()).unwrap();
        assert_eq!(syncs(folder.path()).unwrap().len(), SYNCS);
        assert_eq!(folder.path().read_dir().unwrap().count(), before, "nothing is left behind");
    }
}
