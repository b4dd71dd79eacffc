//! Scans the plugins folder: which files exist, and whether they are still being written.
//!
//! Used by the watcher and the loader. Follows symlinks, so replacing a link counts as a change of its file.
//! Stateless.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::config::FILE_BYTES_MAX;
use crate::error::format;
use crate::files::regular_file::{self, DANGLING};
use crate::folders::granted::{Identity, granted_identity};
use crate::load::ignored_files::IgnoredFiles;
use crate::trust::VoucherFiles;

/// The maximum number of plugins of a folder, in the order of names; further files are ignored.
pub(crate) const PLUGINS_MAX: usize = 10_000;

/// How long a file must stay unchanged before it is read.
///
/// A guess: longer than the pauses of a copy, shorter than a person's patience. A copy that pauses for longer is
/// rejected as truncated, and loaded again when it continues.
pub(crate) const DEBOUNCE: Duration = Duration::from_millis(300);

/// The metadata of a plugin's files. Equal fingerprints mean unchanged files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    wasm: FileStamp,
    /// Of the manifest, if there is one.
    manifest: Option<FileStamp>,
    /// The schema named by the manifest, once that was read.
    schema: Option<(PathBuf, Option<FileStamp>)>,
    /// The folders granted by the manifest, once that was read.
    granted: Vec<(PathBuf, Option<Identity>)>,
    /// The files of secrets that the manifest names, once that was read.
    secrets: Vec<(PathBuf, SecretFile)>,
    /// The files that vouch for these.
    vouchers: Vec<Option<FileStamp>>,
    voucher_files: VoucherFiles,
}

/// The metadata of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileStamp {
    Present(FileMetadata),
    /// The metadata cannot be read, with the error number: the file is a dangling link or a link loop, lies behind a
    /// file, or permission is denied. This affects this file only.
    Unreadable(Option<i32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileMetadata {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The file of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecretFile {
    Missing,
    /// A plugin that runs reads its secrets again when they change, and is not loaded again for it.
    There,
    /// One that was rejected may have been so for the value.
    Stamped(FileStamp),
}

impl SecretFile {
    /// Looks at a file of which this is known.
    fn of(path: &Path, earlier: Self) -> Self {
        match file_stamp(path) {
            None => Self::Missing,
            Some(_) if earlier == Self::There => Self::There,
            Some(stamp) => Self::Stamped(stamp),
        }
    }
}

/// Why a file could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// It has changed since it was scanned.
    Changed,
    /// It cannot be a plugin, for this reason.
    Unusable(String),
}

impl Fingerprint {
    /// Takes the fingerprint of a plugin, including the dependencies known from an earlier one; `None` if the file
    /// does not exist.
    pub(crate) fn of(path: &Path, earlier: Option<&Self>) -> Option<Self> {
        Self::with_vouchers(path, earlier, earlier.map(|earlier| earlier.voucher_files).unwrap_or_default())
    }

    /// Takes the fingerprint of a plugin together with the files that vouch for it.
    pub(crate) fn with_vouchers(
        path: &Path,
        earlier: Option<&Self>,
        voucher_files: VoucherFiles,
    ) -> Option<Self> {
        Self::with_draft(path, path, earlier, voucher_files)
    }

    /// Takes the fingerprint of a draft, together with the files beside its target.
    pub(crate) fn with_draft(
        draft: &Path,
        file: &Path,
        earlier: Option<&Self>,
        voucher_files: VoucherFiles,
    ) -> Option<Self> {
        let wasm = file_stamp(draft)?;
        let manifest = file_stamp(&file.with_extension("toml"));
        let new = Self {
            wasm,
            manifest,
            schema: None,
            granted: Vec::new(),
            secrets: Vec::new(),
            vouchers: Vec::new(),
            voucher_files,
        };
        let new = new.with_schema(file, earlier.and_then(Self::schema));
        Some(match earlier {
            Some(earlier) => new
                .with_granted(earlier.granted.iter().map(|(path, _)| path.clone()))
                .with_secrets(earlier.secrets.iter().cloned()),
            None => new,
        })
    }

    /// Adds the granted folders.
    pub(crate) fn with_granted(self, folders: impl Iterator<Item = PathBuf>) -> Self {
        let granted = folders.map(|path| {
            let identity = granted_identity(&path);
            (path, identity)
        });
        Self { granted: granted.collect(), ..self }
    }

    /// Adds the files of secrets.
    pub(crate) fn with_secret_files(self, files: impl Iterator<Item = PathBuf>) -> Self {
        self.with_secrets(files.map(|path| (path, SecretFile::Missing)))
    }

    fn with_secrets(self, files: impl Iterator<Item = (PathBuf, SecretFile)>) -> Self {
        let secrets = files.map(|(path, earlier)| {
            let current = SecretFile::of(&path, earlier);
            (path, current)
        });
        Self { secrets: secrets.collect(), ..self }
    }

    /// Removes what no longer matters once the plugin is ready: the values of its secrets, and its granted folders if they
    /// are remote.
    pub(crate) fn of_ready(mut self, is_remote: bool) -> Self {
        for (_, file) in &mut self.secrets {
            *file = SecretFile::There;
        }
        if is_remote {
            self.granted = Vec::new();
        }
        self
    }

    /// Adds the schema of the plugin file at `file`, and what vouches for both.
    pub(crate) fn with_schema(self, file: &Path, schema: Option<&Path>) -> Self {
        let vouchers = self.voucher_files.of(file, schema).iter().map(|path| file_stamp(path)).collect();
        Self { schema: schema.map(|path| (path.to_owned(), file_stamp(path))), vouchers, ..self }
    }

    /// Returns true if this is the draft after its rename, with unchanged dependencies.
    pub(crate) fn is_renamed(&self, draft: &Self) -> bool {
        let unchanged = |file_stamp| match file_stamp {
            // A rename updates the change time.
            FileStamp::Present(metadata) => FileStamp::Present(FileMetadata { changed: (0, 0), ..metadata }),
            unreadable @ FileStamp::Unreadable(_) => unreadable,
        };
        unchanged(self.wasm) == unchanged(draft.wasm)
            && (&self.manifest, &self.schema, &self.granted, &self.secrets, &self.vouchers)
                == (&draft.manifest, &draft.schema, &draft.granted, &draft.secrets, &draft.vouchers)
    }

    /// Returns the known schema.
    pub(crate) fn schema(&self) -> Option<&Path> {
        self.schema.as_ref().map(|(path, _)| path.as_path())
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        match self.wasm {
            FileStamp::Present(FileMetadata { size_bytes, .. }) => size_bytes,
            FileStamp::Unreadable(_) => 0,
        }
    }

    /// Returns true if the last change is older than [`DEBOUNCE`] by the clock of this host. If the clock of a
    /// remote file system is ahead, the file must be observed for a while instead.
    pub(crate) fn is_stable(&self) -> bool {
        let schema = self.schema.as_ref().and_then(|(_, file_stamp)| *file_stamp);
        let vouchers = self.vouchers.iter().copied();
        let newest = [Some(self.wasm), self.manifest, schema].into_iter().chain(vouchers).flatten();
        let metadata = newest.filter_map(|file_stamp| match file_stamp {
            FileStamp::Present(metadata) => Some(metadata),
            FileStamp::Unreadable(_) => None,
        });
        metadata.flat_map(|metadata| [metadata.modified, metadata.changed]).all(|(s, ns)| {
            let at = u64::try_from(s).ok().zip(u64::try_from(ns).ok());
            let at =
                at.map(|(s, ns)| SystemTime::UNIX_EPOCH + Duration::new(s, 0) + Duration::from_nanos(ns));
            at.is_some_and(|at| at.elapsed().is_ok_and(|age| age >= DEBOUNCE))
        })
    }
}

/// The plugins of a folder at one moment.
#[derive(Default)]
pub(crate) struct Scan {
    /// Every `*.wasm` by its stem: at most [`PLUGINS_MAX`], the first in the order of names.
    pub(crate) files: BTreeMap<String, (PathBuf, Fingerprint)>,
    /// Further files were ignored.
    pub(crate) is_cut: bool,
    /// Other files that look like plugins.
    pub(crate) ignored: IgnoredFiles,
}

/// Lists every `*.wasm` of a folder with its fingerprint; a missing folder counts as empty.
///
/// # Errors
///
/// Fails if the folder cannot be listed. A file whose metadata cannot be read is listed all the same.
pub(crate) fn scan<'a>(
    folder: &Path,
    voucher_files: VoucherFiles,
    earlier: impl Fn(&str) -> Option<&'a Fingerprint>,
) -> io::Result<Scan> {
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Scan::default()),
        entries => entries?,
    };
    let (mut paths, mut is_cut) = (BTreeMap::<String, PathBuf>::new(), false);
    let mut ignored = IgnoredFiles::default();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            ignored.add(&path);
            continue;
        }
        // Two names that are not UTF-8 can collide here; the first path stands for both.
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match paths.entry(name) {
            Entry::Occupied(mut other) if *other.get() > path => drop(other.insert(path)),
            Entry::Occupied(_) => {}
            Entry::Vacant(slot) => drop(slot.insert(path)),
        }
        if paths.len() > PLUGINS_MAX {
            paths.pop_last();
            is_cut = true;
        }
    }
    let files = paths.into_iter().filter_map(|(name, path)| {
        let fingerprint = Fingerprint::with_vouchers(&path, earlier(&name), voucher_files)?;
        Some((name, (path, fingerprint)))
    });
    Ok(Scan { files: files.collect(), is_cut, ignored })
}

/// Reads a file whose fingerprint is known.
///
/// # Errors
///
/// Fails if the file changed before or while it was read, or cannot be a plugin.
pub(crate) fn read(path: &Path, expected: &Fingerprint) -> Result<Vec<u8>, ReadError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound if regular_file::is_dangling(path) => {
            ReadError::Unusable(DANGLING.to_owned())
        }
        io::ErrorKind::NotFound => ReadError::Changed,
        _ => ReadError::Unusable(format!("failed to read the file: {error}")),
    };
    let file = regular_file::open(path).map_err(failed)?;
    if expected.size_bytes() > FILE_BYTES_MAX {
        let limit = format::bytes(FILE_BYTES_MAX);
        return Err(ReadError::Unusable(format!("the file is larger than {limit}")));
    }
    if stamp_from(&file.metadata().map_err(failed)?) != expected.wasm {
        return Err(ReadError::Changed);
    }
    let mut bytes = Vec::new();
    (&file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let is_whole = bytes.len() as u64 == expected.size_bytes();
    let is_same = Fingerprint::of(path, Some(expected)).as_ref() == Some(expected);
    if is_whole && is_same { Ok(bytes) } else { Err(ReadError::Changed) }
}

/// Reads the metadata of a file; `None` if it does not exist. A dangling link exists.
fn file_stamp(path: &Path) -> Option<FileStamp> {
    match path.metadata() {
        Ok(metadata) => Some(stamp_from(&metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => None,
        Err(error) => Some(FileStamp::Unreadable(error.raw_os_error())),
    }
}

fn stamp_from(metadata: &Metadata) -> FileStamp {
    FileStamp::Present(FileMetadata {
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
    use std::fs::{File, OpenOptions};
    use std::io::Write;

    use tempfile::TempDir;

    use super::*;

    fn file() -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.wasm");
        fs::write(&path, b"whole").unwrap();
        (folder, path)
    }

    fn fingerprint(path: &Path) -> Fingerprint {
        Fingerprint::of(path, None).unwrap()
    }

    #[test]
    fn an_unchanged_file_is_read() {
        let (_folder, path) = file();
        assert_eq!(read(&path, &fingerprint(&path)).unwrap(), b"whole");
    }

    #[test]
    fn a_file_changed_since_its_fingerprint_is_not_read() {
        let (_folder, path) = file();
        let expected = fingerprint(&path);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
        assert_eq!(read(&path, &expected), Err(ReadError::Changed));
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&path, &expected), Err(ReadError::Changed));
    }

    #[test]
    fn adding_changing_or_removing_a_manifest_is_a_change() {
        let (_folder, path) = file();
        let mut fingerprints = vec![fingerprint(&path)];
        let manifest = path.with_extension("toml");
        fs::write(&manifest, b"").unwrap();
        fingerprints.push(fingerprint(&path));
        fs::write(&manifest, b"result = \"json\"").unwrap();
        fingerprints.push(fingerprint(&path));
        assert!(fingerprints[0] != fingerprints[1] && fingerprints[1] != fingerprints[2]);
        fs::remove_file(manifest).unwrap();
        assert_eq!(fingerprint(&path), fingerprints[0]);
    }

    #[test]
    fn a_file_is_stable_only_some_time_after_its_last_change() {
        let (_folder, path) = file();
        let file = File::options().append(true).open(&path).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written + Duration::from_secs(3_600)).unwrap();
        assert!(!fingerprint(&path).is_stable());
        let mut old = fingerprint(&path);
        let FileStamp::Present(metadata) = &mut old.wasm else { panic!("its metadata is readable") };
        (metadata.modified, metadata.changed) = ((1_000_000_000, 0), (1_000_000_000, 0));
        assert!(old.is_stable());
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let (_folder, path) = file();
        File::options().append(true).open(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        let refusal = read(&path, &fingerprint(&path)).unwrap_err();
        assert_eq!(refusal, ReadError::Unusable("the file is larger than 128 MiB".to_owned()));
    }

    #[test]
    fn dangling_links_are_rejected_and_other_files_are_ignored() {
        let (folder, path) = file();
        let dangling = folder.path().join("b.wasm");
        std::os::unix::fs::symlink("missing", &dangling).unwrap();
        fs::write(folder.path().join("c.txt"), b"").unwrap();
        let found = scan(folder.path(), VoucherFiles::None, |_| None).unwrap().files;
        assert_eq!(found.into_values().map(|(path, _)| path).collect::<Vec<_>>(), [path, dangling.clone()]);
        let expected = fingerprint(&dangling);
        assert_eq!(read(&dangling, &expected), Err(ReadError::Unusable(DANGLING.to_owned())));
        fs::write(folder.path().join("missing"), b"whole").unwrap();
        assert_eq!(read(&dangling, &expected), Err(ReadError::Changed));
        assert_eq!(read(&dangling, &fingerprint(&dangling)).unwrap(), b"whole");
    }

    #[test]
    fn a_manifest_that_becomes_a_dangling_link_is_a_change() {
        let (_folder, path) = file();
        let before = fingerprint(&path);
        std::os::unix::fs::symlink("missing", path.with_extension("toml")).unwrap();
        assert_ne!(fingerprint(&path), before);
    }
}
