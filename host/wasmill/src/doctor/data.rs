//! The data folder: whether it can be written, how fast, how much room there is, and who has it.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, access, statfs, statvfs};
use wasmill_store::{Holder, Store};

use crate::doctor::report::Check;
use crate::screen::text::bytes;
use crate::settings::Config;

/// Less room than this, and the first busy hour fills it.
const ROOM_LEAST: u64 = 64 << 20;
const ROOM_WANTED: u64 = 1 << 30;
/// Files that compiled plugins and the database need.
const FILES_WANTED: u64 = 1_000;
/// How often it is tried, and what is written each time.
const SYNCS: usize = 20;
const SYNC_BYTES: usize = 4 << 10;
/// A disk that takes longer makes every client wait.
const SYNC_SLOW: Duration = Duration::from_millis(10);

/// Says which running server has the data folder, if one has.
pub(super) fn holder(data: &Path) -> Option<Holder> {
    Store::holder(data)
}

pub(super) fn checks(config: &Config, holder: Option<&Holder>) -> Vec<Check> {
    const NAME: &str = "data folder";
    let data = &config.data;
    let shown = std::path::absolute(data).unwrap_or_else(|_| data.clone()).display().to_string();
    let existing = existing(data);
    let mut checks = Vec::new();
    if let Err(error) = writable(data, &existing) {
        checks.push(Check::fail(
            NAME,
            format!("{shown} cannot be written: {error}"),
            "serve does not start",
            format!("chown -R $(id -u) {shown}, or --data with another folder"),
        ));
        return checks;
    }
    checks.push(match holder {
        Some(Holder { pid }) => {
            let pid = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            Check::warn(
                NAME,
                format!("{shown} is in use by {pid}, a server that runs"),
                "a second server on the same folder does not start",
                "nothing, if that server is the one you mean; else --data with another folder",
            )
        }
        None if existing == *data => Check::ok(NAME, format!("{shown} can be written")),
        None => Check::ok(NAME, format!("{shown} is not there yet and can be made")),
    });
    checks.extend(database(data));
    checks.extend(room(&existing));
    checks.push(disk(&existing));
    checks.extend(network(&existing));
    checks
}

/// Checks the database as `serve` does when it opens it; `None` if there is none.
fn database(data: &Path) -> Option<Check> {
    const NAME: &str = "database";
    let file = data.join("wasmill.db");
    file.exists().then(|| match Store::examine(data) {
        Ok(()) => Check::ok(NAME, format!("{} can be opened", file.display())),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            "serve does not start",
            "put a copy that wasmill backup made in its place, without a wasmill.db-wal beside it; or --data with \
             another folder",
        ),
    })
}

/// Returns the folder itself, or the nearest one above it that is there, in which it would be made.
fn existing(data: &Path) -> PathBuf {
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    if data.exists() {
        return data.to_owned();
    }
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Makes a file without a name, which is gone when it is closed, and looks at the database if there is one.
fn writable(data: &Path, existing: &Path) -> io::Result<()> {
    if !existing.is_dir() {
        return Err(io::Error::other(format!("{} is no folder", existing.display())));
    }
    tempfile::tempfile_in(existing)?;
    for file in ["wasmill.db", "wasmill.db-wal", "wasmill.lock"] {
        let file = data.join(file);
        if file.exists() {
            access(&file, Access::READ_OK | Access::WRITE_OK)
                .map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?;
        }
    }
    Ok(())
}

fn room(folder: &Path) -> Option<Check> {
    const NAME: &str = "disk space";
    let stat = statvfs(folder).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let mut found = format!("{} free", bytes(free));
    // Some file systems have no fixed number of files and say 0 of 0.
    let few_files = stat.f_files > 0 && stat.f_favail < FILES_WANTED;
    if few_files {
        found = format!("{found}, and {} more files", stat.f_favail);
    }
    let fix = "free some, put --data on a larger disk, or keep less: --keep-for 1day --keep-max 100000";
    Some(if free < ROOM_LEAST {
        Check::fail(NAME, found, "tasks are refused with 503 as soon as it is full", fix)
    } else if free < ROOM_WANTED || few_files {
        Check::warn(
            NAME,
            found,
            "a million tasks in history take 200 MiB and more; a full disk refuses tasks",
            fix,
        )
    } else {
        Check::ok(NAME, found)
    })
}

/// Measures what every accepted task waits for.
fn disk(folder: &Path) -> Check {
    const NAME: &str = "disk";
    match syncs(folder) {
        Ok(times) => {
            let (usual, worst) = (times[times.len() / 2], times[times.len() - 1]);
            let found = format!("fsync takes {usual:.1?}, {worst:.1?} at worst of {SYNCS}");
            if usual > SYNC_SLOW {
                let cost = format!("each POST waits at least {usual:.1?}; many at once share one fsync");
                Check::warn(NAME, found, cost, "put --data on a local SSD")
            } else {
                Check::ok(NAME, found)
            }
        }
        Err(error) => Check::fail(
            NAME,
            format!("writing and fsync failed: {error}"),
            "no task can be accepted",
            "see dmesg; put --data on another disk",
        ),
    }
}

/// Writes to a file without a name, as the log of the database is written, and returns the times in order.
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
        "SQLite needs locks and shared memory that such file systems often lack: the database may be damaged",
        "put --data on a local disk, and copy it away with wasmill backup",
    ))
}

/// Names the file system of a folder if it is one whose changes may be made elsewhere.
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
    fn a_folder_that_is_not_there_is_looked_at_where_it_would_be_made() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        assert_eq!(existing(folder.path()), folder.path());
        let before = folder.path().read_dir().unwrap().count();
        writable(folder.path(), folder.path()).unwrap();
        assert_eq!(syncs(folder.path()).unwrap().len(), SYNCS);
        assert_eq!(folder.path().read_dir().unwrap().count(), before, "nothing is left behind");
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = writable(file.path(), &existing(file.path())).unwrap_err();
        assert!(error.to_string().contains("is no folder"), "{error}");
    }
}
