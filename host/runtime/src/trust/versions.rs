//! The newest version of each signed file that was in service, in a file of the data folder: an older one may not come
//! back after a restart either.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use crate::files::regular_file;
use crate::trust::version::{FileVersion, Version};

/// The maximum size of the file.
const FILE_BYTES_MAX: u64 = 4 << 20;

const HEAD: &str =
    "# The newest versions of signed plugins that this server has run; --allow-older lets an older one in.\n";

/// The newest versions.
#[derive(Debug)]
pub(crate) struct Versions {
    file: Option<PathBuf>,
    known: Mutex<Result<BTreeMap<String, Version>, String>>,
}

impl Versions {
    /// Reads the file, which may be missing.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        let known = match &file {
            None => Ok(BTreeMap::new()),
            Some(path) => read(path).map_err(|why| {
                format!("{}, which holds the newest versions, is not valid: {why}", path.display())
            }),
        };
        Self { file, known: Mutex::new(known) }
    }

    /// Checks that a file does not go back.
    ///
    /// # Errors
    ///
    /// Names both versions.
    pub(crate) fn check(&self, file: &str, version: Option<&Version>) -> Result<(), String> {
        let known = self.known();
        let known = known.as_ref().map_err(Clone::clone)?;
        let Some(newest) = known.get(file) else { return Ok(()) };
        match version {
            Some(version) if version >= newest => Ok(()),
            Some(version) => Err(format!(
                "{file} is of version {version}, and version {newest} has been in service; --allow-older lets it in"
            )),
            None => Err(format!(
                "the signature of {file} names no version, and version {newest} has been in service; --allow-older \
                 lets it in"
            )),
        }
    }

    /// Records what came into service. The newest versions stay, unless older ones are allowed.
    pub(crate) fn record(&self, versions: &[FileVersion], allow_older: bool) {
        let mut known = self.known();
        if known.is_err() && allow_older {
            *known = Ok(BTreeMap::new());
        }
        let Ok(all) = &mut *known else { return };
        let mut has_changed = false;
        for FileVersion { file, version } in versions {
            let is_next =
                all.get(file).is_none_or(|newest| version > newest || (allow_older && version != newest));
            if is_next {
                all.insert(file.clone(), version.clone());
                has_changed = true;
            }
        }
        if let Some(path) = self.file.as_deref().filter(|_| has_changed)
            && let Err(error) = write(path, all)
        {
            let path = path.display();
            tracing::warn!(%path, %error, "failed to record the versions of signed plugins; after a restart, older ones may come back");
        }
    }

    fn known(&self) -> MutexGuard<'_, Result<BTreeMap<String, Version>, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Version>, String> {
    let text = match regular_file::read_text(path, FILE_BYTES_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.map_err(|error| error.to_string())?,
    };
    let texts: BTreeMap<String, String> =
        toml::from_str(&text).map_err(|error| error.message().to_owned())?;
    texts.into_iter().map(|(file, version)| Ok((file, version.parse()?))).collect()
}

fn write(path: &Path, versions: &BTreeMap<String, Version>) -> io::Result<()> {
    let mut text = HEAD.to_owned();
    // A text of JSON is one of TOML.
    for (file, version) in versions {
        text.push_str(&format!("{} = \"{version}\"\n", serde_json::Value::from(file.as_str())));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(file: &str, version: &str) -> Vec<FileVersion> {
        vec![FileVersion { file: file.to_owned(), version: version.parse().unwrap() }]
    }

    #[test]
    fn a_version_may_not_go_back_after_a_restart_either() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin-versions.toml");
        let versions = Versions::new(Some(path.clone()));
        assert_eq!(versions.check("a b.wasm", None), Ok(()));
        versions.record(&of("a b.wasm", "1.9"), false);
        versions.record(&of("a b.wasm", "1.10"), false);
        versions.record(&of("a b.wasm", "1.2"), false);
        for versions in [versions, Versions::new(Some(path.clone()))] {
            for (version, is_allowed) in [("1.10", true), ("1.10.0", true), ("2", true), ("1.9", false)] {
                let version = version.parse().unwrap();
                assert_eq!(versions.check("a b.wasm", Some(&version)).is_ok(), is_allowed, "{version}");
            }
            assert!(versions.check("a b.wasm", None).unwrap_err().contains("names no version"));
            assert_eq!(versions.check("b.wasm", None), Ok(()));
        }
        Versions::new(Some(path.clone())).record(&of("a b.wasm", "1.2"), true);
        assert_eq!(Versions::new(Some(path)).check("a b.wasm", Some(&"1.2".parse().unwrap())), Ok(()));
    }

    #[test]
    fn a_damaged_file_lets_nothing_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin-versions.toml");
        for text in ["a", "a = 1", "a = \"x\""] {
            std::fs::write(&path, text).unwrap();
            let versions = Versions::new(Some(path.clone()));
            assert!(versions.check("b", None).unwrap_err().contains("plugin-versions.toml"), "{text}");
            versions.record(&of("b", "1"), false);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
