//! The plugins folder as it is now: which files there are, and whether one is still being written.
//!
//! Looked at by the keeper, read by the loader. Follows symlinks, so a link that is swapped is a
//! change of its file. Remembers nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use crate::files::granted::{Identity, granted_identity};
use crate::loader::FILE_BYTES_MAX;
use crate::words;

/// Plugins of one folder; what comes after them in the order of names is left out.
pub(crate) const PLUGINS_MAX: usize = 10_000;

/// What is wrong with a file that is not there though its name is.
pub(crate) const DANGLING: &str = "it is a link that leads nowhere";

/// How long a file must stay the same before it is read.
///
/// A guess: longer than a copy pauses between two writes, shorter than a person waits. A copy that
/// pauses for longer is rejected as cut short, and looked at again when it goes on.
pub(crate) const SETTLE: Duration = Duration::from_millis(300);

/// What the system says of one plugin; two that are equal are the same file, unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    wasm: Stamp,
    /// Of the manifest beside it, if there is one.
    manifest: Option<Stamp>,
    /// The schema that the manifest names, once it was read, and what the system says of it.
    schema: Option<(PathBuf, Option<Stamp>)>,
    /// The folders that the manifest grants, once it was read, and what lies there.
    granted: Vec<(PathBuf, Option<Identity>)>,
}

/// What the system says of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Found(Found),
    /// It says no more than why it cannot say more, by the number of the error: the file is a link to itself,
    /// lies behind a file that is no folder, or may not be looked at. That concerns this file and no other.
    Unreadable(Option<i32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Why a file gave no bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is not the one that was looked at any more.
    Changed,
    /// It cannot be a plugin, for this reason.
    Refused(String),
}

impl Fingerprint {
    /// Looks at a plugin, and at what an earlier look learned that it needs; `None` if there is no such
    /// plugin.
    pub(crate) fn of(path: &Path, earlier: Option<&Self>) -> Option<Self> {
        Self::of_draft(path, path, earlier)
    }

    /// Looks at a draft of a plugin, and at what lies beside its file.
    pub(crate) fn of_draft(draft: &Path, file: &Path, earlier: Option<&Self>) -> Option<Self> {
        let wasm = stamp(draft)?;
        let manifest = stamp(&file.with_extension("toml"));
        let new = Self { wasm, manifest, schema: None, granted: Vec::new() };
        let new = new.with_schema(earlier.and_then(Self::schema));
        Some(match earlier {
            Some(earlier) => new.with_granted(earlier.granted.iter().map(|(path, _)| path.clone())),
            None => new,
        })
    }

    /// Looks at the folders that are granted as well.
    pub(crate) fn with_granted(self, folders: impl Iterator<Item = PathBuf>) -> Self {
        let granted = folders.map(|path| {
            let identity = granted_identity(&path);
            (path, identity)
        });
        Self { granted: granted.collect(), ..self }
    }

    /// Forgets the folders that are granted if they are not to be looked at.
    pub(crate) fn without_granted_if(self, is_far: bool) -> Self {
        if is_far { Self { granted: Vec::new(), ..self } } else { self }
    }

    /// Looks at a schema as well.
    pub(crate) fn with_schema(self, schema: Option<&Path>) -> Self {
        Self { schema: schema.map(|path| (path.to_owned(), stamp(path))), ..self }
    }

    /// Says whether this is a file that was looked at before it got its name, and what lies beside it has
    /// stayed the same since.
    pub(crate) fn is_renamed(&self, draft: &Self) -> bool {
        let unchanged = |stamp| match stamp {
            // A new name is a change of its own.
            Stamp::Found(found) => Stamp::Found(Found { changed: (0, 0), ..found }),
            unreadable @ Stamp::Unreadable(_) => unreadable,
        };
        unchanged(self.wasm) == unchanged(draft.wasm)
            && (&self.manifest, &self.schema, &self.granted)
                == (&draft.manifest, &draft.schema, &draft.granted)
    }

    /// Returns the schema that is known of.
    pub(crate) fn schema(&self) -> Option<&Path> {
        self.schema.as_ref().map(|(path, _)| path.as_path())
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        match self.wasm {
            Stamp::Found(Found { size_bytes, .. }) => size_bytes,
            Stamp::Unreadable(_) => 0,
        }
    }

    /// Says whether the last change was long enough ago, by the clock of this host. If the clock of
    /// a remote file system is ahead, it is not, and the file has to be watched for a while.
    pub(crate) fn is_settled(&self) -> bool {
        let schema = self.schema.as_ref().and_then(|(_, stamp)| *stamp);
        let newest = [Some(self.wasm), self.manifest, schema].into_iter().flatten();
        let found = newest.filter_map(|stamp| match stamp {
            Stamp::Found(found) => Some(found),
            Stamp::Unreadable(_) => None,
        });
        found.flat_map(|found| [found.modified, found.changed]).all(|(s, ns)| {
            let at = u64::try_from(s).ok().zip(u64::try_from(ns).ok());
            let at =
                at.map(|(s, ns)| SystemTime::UNIX_EPOCH + Duration::new(s, 0) + Duration::from_nanos(ns));
            at.is_some_and(|at| at.elapsed().is_ok_and(|age| age >= SETTLE))
        })
    }
}

/// The plugins of a folder as they are now.
#[derive(Default)]
pub(crate) struct Scan {
    /// Every `*.wasm` by its stem, no more than [`PLUGINS_MAX`], the first ones in the order of their names.
    pub(crate) files: BTreeMap<String, (PathBuf, Fingerprint)>,
    /// There are more.
    pub(crate) is_cut: bool,
}

/// Lists every `*.wasm` of a folder, each with what an earlier look learned of it; a folder that is not
/// there is an empty one.
///
/// # Errors
///
/// Fails if the folder cannot be listed. A file of it that cannot be looked at is listed all the same.
pub(crate) fn scan<'a>(folder: &Path, earlier: impl Fn(&str) -> Option<&'a Fingerprint>) -> io::Result<Scan> {
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Scan::default()),
        entries => entries?,
    };
    let (mut paths, mut is_cut) = (BTreeMap::<String, PathBuf>::new(), false);
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // Two names that are no UTF-8 can become one here, of which the first path stands for both.
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match paths.entry(name) {
            Entry::Occupied(mut other) if *other.get() > path => drop(other.insert(path)),
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => drop(place.insert(path)),
        }
        if paths.len() > PLUGINS_MAX {
            paths.pop_last();
            is_cut = true;
        }
    }
    let files = paths.into_iter().filter_map(|(name, path)| {
        let fingerprint = Fingerprint::of(&path, earlier(&name))?;
        Some((name, (path, fingerprint)))
    });
    Ok(Scan { files: files.collect(), is_cut })
}

/// Tells one folder from another in its place; `None` if it is not there.
pub(crate) fn identity(folder: &Path) -> Option<(u64, u64)> {
    folder.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Reads the whole file that was looked at.
///
/// # Errors
///
/// Tells whether it changed before or while it was read, or cannot be a plugin.
pub(crate) fn read(path: &Path, looked_at: &Fingerprint) -> Result<Vec<u8>, Unread> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound if is_dangling(path) => Unread::Refused(DANGLING.to_owned()),
        io::ErrorKind::NotFound => Unread::Changed,
        _ => Unread::Refused(format!("failed to read the file: {error}")),
    };
    let file = open(path).map_err(failed)?;
    if looked_at.size_bytes() > FILE_BYTES_MAX {
        let limit = words::bytes(FILE_BYTES_MAX);
        return Err(Unread::Refused(format!("the file is larger than {limit}")));
    }
    if stamp_of(&file.metadata().map_err(failed)?) != looked_at.wasm {
        return Err(Unread::Changed);
    }
    let mut bytes = Vec::new();
    (&file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let is_whole = bytes.len() as u64 == looked_at.size_bytes();
    let is_same = Fingerprint::of(path, Some(looked_at)).as_ref() == Some(looked_at);
    if is_whole && is_same { Ok(bytes) } else { Err(Unread::Changed) }
}

/// Opens a regular file. Opening a pipe would wait for somebody to write to it, and opening a device can set
/// something off.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let check = |metadata: &Metadata| {
        if metadata.is_file() { Ok(()) } else { Err(io::Error::other("it is not a regular file")) }
    };
    check(&path.metadata()?)?;
    // Should a pipe have come in its place.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// Returns true if a path is a link that leads nowhere.
pub(crate) fn is_dangling(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
        && path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Looks at a file; `None` if it is not there. A link that leads nowhere is there.
fn stamp(path: &Path) -> Option<Stamp> {
    match path.metadata() {
        Ok(metadata) => Some(stamp_of(&metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => None,
        Err(error) => Some(Stamp::Unreadable(error.raw_os_error())),
    }
}

fn stamp_of(metadata: &Metadata) -> Stamp {
    Stamp::Found(Found {
        device: metadata.dev(),
        inode: metadata.ino(),
        size_bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use tempfile::TempDir;

    use super::*;

    fn file() -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.wasm");
        fs::write(&path, b"whole").unwrap();
        (folder, path)
    }

    fn look(path: &Path) -> Fingerprint {
        Fingerprint::of(path, None).unwrap()
    }

    #[test]
    fn a_file_that_stayed_the_same_is_read() {
        let (_folder, path) = file();
        assert_eq!(read(&path, &look(&path)).unwrap(), b"whole");
    }

    #[test]
    fn a_file_that_changed_since_it_was_looked_at_is_not_read() {
        let (_folder, path) = file();
        let looked_at = look(&path);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
        assert_eq!(read(&path, &looked_at), Err(Unread::Changed));
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&path, &looked_at), Err(Unread::Changed));
    }

    #[test]
    fn a_manifest_that_comes_changes_or_goes_is_a_change() {
        let (_folder, path) = file();
        let mut seen = vec![look(&path)];
        let manifest = path.with_extension("toml");
        fs::write(&manifest, b"").unwrap();
        seen.push(look(&path));
        fs::write(&manifest, b"output = \"json\"").unwrap();
        seen.push(look(&path));
        assert!(seen[0] != seen[1] && seen[1] != seen[2]);
        fs::remove_file(manifest).unwrap();
        assert_eq!(look(&path), seen[0]);
    }

    #[test]
    fn a_file_is_not_settled_when_it_was_just_written_and_is_later() {
        let (_folder, path) = file();
        let file = File::options().append(true).open(&path).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written + Duration::from_secs(3_600)).unwrap();
        assert!(!look(&path).is_settled());
        let mut old = look(&path);
        let Stamp::Found(found) = &mut old.wasm else { panic!("it can be looked at") };
        (found.modified, found.changed) = ((1_000_000_000, 0), (1_000_000_000, 0));
        assert!(old.is_settled());
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let (_folder, path) = file();
        File::options().append(true).open(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        let refusal = read(&path, &look(&path)).unwrap_err();
        assert_eq!(refusal, Unread::Refused("the file is larger than 128 MiB".to_owned()));
    }

    #[test]
    fn a_link_to_nowhere_is_a_file_that_is_refused_and_other_files_are_no_plugins() {
        let (folder, path) = file();
        let dangling = folder.path().join("b.wasm");
        std::os::unix::fs::symlink("missing", &dangling).unwrap();
        fs::write(folder.path().join("c.txt"), b"").unwrap();
        let found = scan(folder.path(), |_| None).unwrap().files;
        assert_eq!(found.into_values().map(|(path, _)| path).collect::<Vec<_>>(), [path, dangling.clone()]);
        let looked_at = look(&dangling);
        assert_eq!(read(&dangling, &looked_at), Err(Unread::Refused(DANGLING.to_owned())));
        fs::write(folder.path().join("missing"), b"whole").unwrap();
        assert_eq!(read(&dangling, &looked_at), Err(Unread::Changed));
        assert_eq!(read(&dangling, &look(&dangling)).unwrap(), b"whole");
    }

    #[test]
    fn a_manifest_that_becomes_a_link_to_nowhere_is_a_change() {
        let (_folder, path) = file();
        let before = look(&path);
        std::os::unix::fs::symlink("missing", path.with_extension("toml")).unwrap();
        assert_ne!(look(&path), before);
    }
}
