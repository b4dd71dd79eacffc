//! The cache of compiled plugins on disk, so that a restart does not recompile.
//!
//! Used by the loader. Loading an entry means running native code, so it is returned only after its MAC is
//! verified: under a key that only this host has, and including the name of the entry. An invalid entry is deleted
//! and compiled again.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, Mac};
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_NOW, futimens};
use rustix::io::Errno;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};

use crate::config::ARTIFACT_BYTES_MAX;
use crate::error::format;
use crate::files::regular_file;

/// The default size of the cache.
const BYTES_MAX: u64 = 1 << 30;
/// The first bytes of an entry; they change with the layout.
const MAGIC: &[u8; 8] = b"wasmill1";
/// Bytes of the key, and of the MAC.
const KEY_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + KEY_BYTES;
const EXTENSION: &str = "code";
/// The modification time of an entry is its last use.
const USED_NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};

/// Where compiled plugins are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// The data folder, which holds the folder `cache` and the key `cache.key`.
    pub data: PathBuf,
    /// The maximum size of the cache; the least recently used entries are deleted first.
    pub bytes_max: u64,
}

impl CacheConfig {
    /// Creates a config with the default size of 1 GiB.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), bytes_max: BYTES_MAX }
    }
}

/// The cache of compiled plugins, keyed by everything that affects their code.
pub(crate) struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    bytes_max: u64,
}

/// The name of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryName([u8; 32]);

impl EntryName {
    /// Derives a name from a wasm file, the compiler environment, the profile and the version of the server.
    pub(crate) fn new(wasm_digest: &str, environment: &[u8; 32], profile: &str) -> Self {
        let mut sha = Sha256::new();
        for part in [wasm_digest.as_bytes(), environment, profile.as_bytes(), version().as_bytes()] {
            sha.update((part.len() as u64).to_le_bytes());
            sha.update(part);
        }
        Self(sha.finalize().into())
    }
}

impl Cache {
    /// Opens the cache; creates its folder and key if they are missing.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be created, or cannot be restricted to this user.
    pub(crate) fn open(config: &CacheConfig) -> io::Result<Self> {
        let folder = config.data.join("cache");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        let key = key(&config.data.join("cache.key"))?;
        Ok(Self { folder, key, bytes_max: config.bytes_max })
    }

    /// Returns the code of an entry if its MAC is valid; otherwise deletes the entry.
    pub(crate) fn get(&self, name: EntryName) -> Option<Vec<u8>> {
        let path = self.path(name);
        let mut entry = Vec::new();
        let read = regular_file::open(&path).and_then(|file| {
            (&file).take(ARTIFACT_BYTES_MAX + 1_024).read_to_end(&mut entry)?;
            Ok(futimens(&file, &USED_NOW)?)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                let path = path.display();
                tracing::debug!(%path, %error, "failed to read or touch a cached plugin");
            }
            Ok(()) => {}
        }
        let code = self.open_entry(name, entry);
        if code.is_none() {
            tracing::warn!(path = %path.display(), "cached plugin is damaged or has a foreign MAC; \
                                                    compiling it again");
            self.remove(name);
        }
        code
    }

    /// Stores code. If the cache cannot be written, the plugin still loads.
    pub(crate) fn put(&self, name: EntryName, code: &[u8]) {
        let kept = self.write(name, code).and_then(|()| self.prune());
        if let Err(error) = kept {
            tracing::warn!(folder = %self.folder.display(), %error, "failed to write a compiled plugin to \
                                                                     the cache");
        }
    }

    /// Deletes an entry.
    pub(crate) fn remove(&self, name: EntryName) {
        if let Err(error) = fs::remove_file(self.path(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.folder.display(), %error, "failed to delete a cached plugin");
        }
    }

    fn open_entry(&self, name: EntryName, mut entry: Vec<u8>) -> Option<Vec<u8>> {
        let mac_at = entry.len().checked_sub(KEY_BYTES).filter(|&at| at >= HEADER_BYTES)?;
        let (signed, mac) = entry.split_at(mac_at);
        self.mac().chain_update(signed).verify_slice(mac).ok()?;
        let (magic, named) = signed[..HEADER_BYTES].split_at(MAGIC.len());
        if magic != MAGIC || named != name.0 {
            return None;
        }
        entry.truncate(mac_at);
        entry.drain(..HEADER_BYTES);
        Some(entry)
    }

    fn write(&self, name: EntryName, code: &[u8]) -> io::Result<()> {
        let mac = self.mac().chain_update(MAGIC).chain_update(name.0).chain_update(code).finalize();
        let entry = draft(&self.folder, &[MAGIC.as_slice(), &name.0, code, &mac.into_bytes()])?;
        Ok(entry.persist(self.path(name))?)
    }

    /// Deletes the least recently used entries until the rest fits.
    fn prune(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in self.folder.read_dir()? {
            let entry = entry?;
            // Another loader may have deleted or renamed it.
            let Ok(metadata) = entry.metadata() else { continue };
            entries.push((
                metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                metadata.len(),
                entry.path(),
            ));
        }
        entries.sort();
        let mut bytes: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in entries {
            if bytes <= self.bytes_max {
                break;
            }
            match fs::remove_file(path) {
                // Another process that shares the cache may have deleted it.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => bytes -= size,
            }
        }
        Ok(())
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.key).expect("HMAC takes keys of any length")
    }

    fn path(&self, name: EntryName) -> PathBuf {
        self.folder.join(format::hex(&name.0)).with_extension(EXTENSION)
    }
}

/// Writes a file that only this user can read, under a name of its own; it is deleted unless it gets another one.
fn draft(folder: &Path, parts: &[&[u8]]) -> io::Result<TempPath> {
    let mut file = NamedTempFile::with_prefix_in("draft-", folder)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.as_file().sync_all()?;
    Ok(file.into_temp_path())
}

/// Returns true if only this user can have written or read a file. Root can open files of other users, who with
/// their key could inject code into this process.
fn is_of_one_user(file: &fs::Metadata, user: u32) -> bool {
    file.is_file() && file.permissions().mode() & 0o077 == 0 && file.uid() == user
}

/// Reads the key; `None` if it is not private to this user.
fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(None),
        file => file?,
    };
    if !is_of_one_user(&file.metadata()?, geteuid().as_raw()) {
        return Ok(None);
    }
    let mut key = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    Ok(key.try_into().ok())
}

/// Reads the key, or creates a new one if there is none that is private to this user.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut is_missing = false;
    match read_key(path) {
        Ok(Some(key)) => return Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => is_missing = true,
        // It belongs to another user and is not readable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error),
        Ok(None) => {}
    }
    let key: [u8; KEY_BYTES] = rand::random();
    let file = draft(path.parent().unwrap_or(Path::new(".")), &[&key])?;
    if !is_missing {
        file.persist(path)?;
        return Ok(key);
    }
    // If two processes start concurrently, both use the key that was created first.
    match file.persist_noclobber(path).map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_key(path)?.ok_or_else(|| io::Error::other("the cache key is not private to this user"))
        }
        persisted => persisted.map(|()| key),
    }
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn cache(data: &Path) -> Cache {
        Cache::open(&CacheConfig::new(data)).unwrap()
    }

    fn name(of: &str) -> EntryName {
        EntryName::new(of, &[7; 32], "pooled")
    }

    #[test]
    fn concurrent_openers_of_a_new_cache_share_one_key() {
        let data = TempDir::new().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| cache(data.path()).key)).collect();
            openers.into_iter().map(|opener| opener.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(data.path().read_dir().unwrap().count(), 2, "the key and the folder");
    }

    #[test]
    fn an_entry_survives_a_restart() {
        let data = TempDir::new().unwrap();
        cache(data.path()).put(name("a"), b"code");
        assert_eq!(cache(data.path()).get(name("a")), Some(b"code".to_vec()));
        assert_eq!(cache(data.path()).get(name("b")), None);
    }

    #[test]
    fn an_entry_changed_at_any_byte_is_deleted_and_never_returned() {
        let data = TempDir::new().unwrap();
        let cache = cache(data.path());
        cache.put(name("a"), b"code");
        let path = cache.path(name("a"));
        let whole = fs::read(&path).unwrap();
        for offset in 0..whole.len() {
            let mut changed = whole.clone();
            changed[offset] ^= 1;
            fs::write(&path, changed).unwrap();
            assert_eq!(cache.get(name("a")), None, "byte {offset}");
            assert!(!path.exists());
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(cache.get(name("a")), None, "{length} bytes");
        }
        fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert_eq!(cache.get(name("a")), None);
    }

    #[test]
    fn a_renamed_entry_is_not_returned() {
        let data = TempDir::new().unwrap();
        let cache = cache(data.path());
        cache.put(name("a"), b"code");
        fs::rename(cache.path(name("a")), cache.path(name("b"))).unwrap();
        assert_eq!(cache.get(name("b")), None);
    }

    #[test]
    fn an_entry_of_another_host_is_not_returned() {
        let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (cache, other) = (cache(here.path()), cache(there.path()));
        other.put(name("a"), b"foreign");
        fs::copy(other.path(name("a")), cache.path(name("a"))).unwrap();
        assert_eq!(cache.get(name("a")), None);
    }

    #[test]
    fn a_key_that_others_could_read_is_replaced() {
        let data = TempDir::new().unwrap();
        cache(data.path()).put(name("a"), b"code");
        fs::set_permissions(data.path().join("cache.key"), Permissions::from_mode(0o644)).unwrap();
        assert_eq!(cache(data.path()).get(name("a")), None);
        let mode = |path: &str| data.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("cache.key"), mode("cache")), (0o600, 0o700));
    }

    #[test]
    fn a_key_of_another_user_or_behind_a_link_is_replaced() {
        let data = TempDir::new().unwrap();
        let own = cache(data.path()).key;
        let path = data.path().join("cache.key");
        let (file, user) = (path.metadata().unwrap(), geteuid().as_raw());
        assert!(is_of_one_user(&file, user) && !is_of_one_user(&file, user + 1));
        let elsewhere = data.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_ne!(cache(data.path()).key, own);
        assert!(path.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn the_name_covers_everything_that_affects_the_code() {
        let names = [
            name("a"),
            name("b"),
            EntryName::new("a", &[8; 32], "pooled"),
            EntryName::new("a", &[7; 32], "on-demand"),
        ];
        for (index, one) in names.iter().enumerate() {
            assert!(names[index + 1..].iter().all(|other| one != other));
        }
    }

    #[test]
    fn the_least_recently_used_entry_is_deleted_first() {
        let data = TempDir::new().unwrap();
        let config = CacheConfig { bytes_max: 3 * 1_100, ..CacheConfig::new(data.path()) };
        let cache = Cache::open(&config).unwrap();
        let age = |of: &str, s: u64| {
            let file = OpenOptions::new().append(true).open(cache.path(name(of))).unwrap();
            let written = file.metadata().unwrap().modified().unwrap();
            file.set_modified(written - std::time::Duration::from_secs(s)).unwrap();
        };
        for (of, s) in [("a", 300), ("b", 200), ("c", 100)] {
            cache.put(name(of), &[0; 1_000]);
            age(of, s);
        }
        assert!(cache.get(name("a")).is_some());
        cache.put(name("d"), &[0; 1_000]);
        assert!(cache.get(name("b")).is_none());
        assert!(["a", "c", "d"].iter().all(|of| cache.get(name(of)).is_some()));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_error() {
        let data = TempDir::new().unwrap();
        let cache = cache(data.path());
        fs::remove_dir(&cache.folder).unwrap();
        cache.put(name("a"), b"code");
        assert_eq!(cache.get(name("a")), None);
    }
}
