//! The file with the times of last use: counted in memory, and written to the data folder at most once a minute.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use tempfile::NamedTempFile;
use wasmill_model::Timestamp;

use crate::keys::Keys;

/// Name of the file in the data folder; each line is an id, a time and an address.
const FILE: &str = "keys.used";

const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// The times of last use, by id of the key.
type Uses = HashMap<String, (Timestamp, IpAddr)>;

/// Reads when keys were last used; an unreadable line is skipped.
///
/// # Errors
///
/// Fails if the file exists and cannot be read.
pub fn read_last_used(data: &Path) -> io::Result<Uses> {
    let text = match std::fs::read_to_string(data.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (id, time, peer) = (words.next()?, words.next()?, words.next()?);
        Some((id.to_owned(), (time.parse().ok()?, peer.parse().ok()?)))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Gives keys the times of last use of before a restart.
pub(crate) fn restore(data: &Path, keys: &Keys) {
    let uses = read_last_used(data).unwrap_or_default();
    for key in keys.list() {
        if let Some((time, peer)) = uses.get(&*key.id) {
            key.last_used.set(*time, *peer);
        }
    }
}

/// Writes the times of last use when some have changed.
#[derive(Debug)]
pub(crate) struct LastUsedFile {
    data: PathBuf,
    written: Uses,
    written_at: Option<Instant>,
}

impl LastUsedFile {
    pub(crate) fn new(data: PathBuf) -> Self {
        let written = read_last_used(&data).unwrap_or_default();
        Self { data, written, written_at: None }
    }

    /// Writes the file if a key was used since the last write, which is a minute ago. Keys that are gone are left out.
    pub(crate) fn write_if_due(&mut self, keys: &Keys) -> io::Result<()> {
        if self.written_at.is_some_and(|written_at| written_at.elapsed() < WRITE_INTERVAL) {
            return Ok(());
        }
        let mut uses = Uses::new();
        for key in keys.list() {
            let last = key.last_used.get().or_else(|| self.written.get(&*key.id).copied());
            uses.extend(last.map(|last| (key.id.to_string(), last)));
        }
        if uses == self.written {
            return Ok(());
        }
        self.written_at = Some(Instant::now());
        let mut text = String::new();
        for (id, (time, peer)) in &uses {
            let _ = writeln!(text, "{id} {} {peer}", time.to_rfc3339_opts(SecondsFormat::Secs, true));
        }
        let mut file = NamedTempFile::new_in(&self.data)?;
        file.write_all(text.as_bytes())?;
        file.persist(self.data.join(FILE))?;
        self.written = uses;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::KeyFiles;

    #[test]
    fn a_key_that_is_used_shows_when() {
        let folder = tempfile::tempdir().unwrap();
        let secret = "0123456789abcdef0123456789abcdef";
        let keys = KeyFiles::new(folder.path(), None, Some(secret.into())).unwrap().read().unwrap();
        let mut file = LastUsedFile::new(folder.path().to_owned());
        file.write_if_due(&keys).unwrap();
        assert!(read_last_used(folder.path()).unwrap().is_empty());
        let (now, peer) = ("2026-11-29T15:00:00Z".parse().unwrap(), "10.1.2.3".parse().unwrap());
        keys.list()[0].last_used.set(now, peer);
        file.write_if_due(&keys).unwrap();
        assert_eq!(read_last_used(folder.path()).unwrap()["admin"], (now, peer));
        keys.list()[0].last_used.set("2026-11-29T15:00:30Z".parse().unwrap(), peer);
        file.write_if_due(&keys).unwrap();
        assert_eq!(read_last_used(folder.path()).unwrap()["admin"], (now, peer), "once a minute");
        // A restart remembers it.
        let unused = KeyFiles::new(folder.path(), None, Some(secret.into())).unwrap().read().unwrap();
        let mut file = LastUsedFile::new(folder.path().to_owned());
        file.write_if_due(&unused).unwrap();
        assert_eq!(read_last_used(folder.path()).unwrap()["admin"], (now, peer));
    }
}
