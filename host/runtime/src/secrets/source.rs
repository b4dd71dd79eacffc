//! The secrets that the operator names, where each is, and who may use it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use wasmill_model::PluginName;
use zeroize::Zeroizing;

use crate::files::regular_file;

/// The maximum size of a value.
const VALUE_BYTES_MAX: u64 = 16 << 10;
/// The maximum length of a name.
const NAME_BYTES_MAX: usize = 64;
/// How often a file that changes while it is read is read again.
const READS_MAX: usize = 3;

/// A value. It is overwritten when it is dropped.
pub(super) type SecretValue = Arc<Zeroizing<String>>;

/// The secrets of the operator, by name. Clones share them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<BTreeMap<String, Arc<Secret>>>);

/// A secret as the operator configures it.
#[derive(Clone, Debug)]
pub struct SecretConfig {
    /// Where its value is.
    pub source: SecretSource,
    /// The plugins that may use it; `None` for all.
    pub plugins: Option<Vec<PluginName>>,
    /// The SHA-256 of the plugin files that may use it, in hexadecimal; `None` for all.
    pub digests: Option<Vec<String>>,
}

/// Where a value is.
#[derive(Clone)]
pub enum SecretSource {
    /// In a file, whose last line break does not count.
    File(PathBuf),
    /// In an environment variable: its name, and its value if it was set at the start.
    Variable(String, Option<Zeroizing<String>>),
}

impl SecretSource {
    /// A variable that has this value at the start.
    pub fn variable(name: String, value: Option<String>) -> Self {
        Self::Variable(name, value.map(Zeroizing::new))
    }
}

/// One secret.
pub(super) struct Secret {
    config: SecretConfig,
    read: Mutex<Option<(Stamp, SecretValue)>>,
}

/// The metadata of a file. Equal stamps mean an unchanged file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: [(i64, i64); 2],
}

/// Returns true for a name of letters, digits and underscores that begins with no digit, as variables have.
pub fn is_secret_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Secrets {
    /// Creates the secrets. Reads nothing.
    pub fn new(secrets: impl IntoIterator<Item = (String, SecretConfig)>) -> Self {
        let secret = |(name, config)| (name, Arc::new(Secret { config, read: Mutex::default() }));
        Self(Arc::new(secrets.into_iter().map(secret).collect()))
    }

    /// Returns their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the files of those that are in files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.values().filter_map(|secret| secret.file())
    }

    /// Returns the files of these secrets.
    pub(crate) fn files_of<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = PathBuf> + 'a {
        names.iter().filter_map(|name| Some(self.0.get(name)?.file()?.to_owned()))
    }

    /// Checks that the value of a secret can be read.
    ///
    /// # Errors
    ///
    /// Says why not.
    pub fn check(&self, name: &str) -> Result<(), String> {
        self.0.get(name).map_or_else(|| Err(undefined(name)), |secret| secret.value().map(drop))
    }

    /// Finds a secret for a plugin.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or if this plugin or this file may not use it.
    pub(super) fn find(&self, name: &str, plugin: &PluginName, digest: &str) -> Result<Arc<Secret>, String> {
        let secret = self.0.get(name).ok_or_else(|| undefined(name))?;
        let SecretConfig { plugins, digests, .. } = &secret.config;
        if plugins.as_ref().is_some_and(|plugins| !plugins.contains(plugin)) {
            return Err(format!(
                "the secret {name} is for other plugins: its `plugins` do not name {plugin}"
            ));
        }
        if digests.as_ref().is_some_and(|digests| !digests.iter().any(|pinned| pinned == digest)) {
            return Err(format!(
                "the secret {name} is pinned to other files: its `digests` do not name sha256:{digest}"
            ));
        }
        Ok(Arc::clone(secret))
    }
}

fn undefined(name: &str) -> String {
    format!("there is no secret {name}; name it in [secrets] of the settings file")
}

impl Secret {
    fn file(&self) -> Option<&Path> {
        match &self.config.source {
            SecretSource::File(path) => Some(path),
            SecretSource::Variable(..) => None,
        }
    }

    /// Returns the value; reads the file again if it has changed.
    ///
    /// # Errors
    ///
    /// Says why there is none, and never quotes it.
    pub(super) fn value(&self) -> Result<SecretValue, String> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.config.source {
            SecretSource::File(path) => {
                let failed = |error| format!("its file {} cannot be read: {error}", path.display());
                for _ in 0..READS_MAX {
                    let stamp = stamp(&path.metadata().map_err(failed)?);
                    if let Some((known, value)) = &*read
                        && *known == stamp
                    {
                        return Ok(Arc::clone(value));
                    }
                    let text =
                        Zeroizing::new(regular_file::read_text(path, VALUE_BYTES_MAX).map_err(failed)?);
                    // One that is being written may be half of a value.
                    if self::stamp(&path.metadata().map_err(failed)?) == stamp {
                        let value = checked(&text)?;
                        *read = Some((stamp, Arc::clone(&value)));
                        return Ok(value);
                    }
                }
                Err(format!("its file {} changes all the time", path.display()))
            }
            SecretSource::Variable(name, value) => {
                let text =
                    value.as_ref().ok_or_else(|| format!("the variable {name} was not set at the start"))?;
                let value = match read.take() {
                    Some((_, value)) => value,
                    None => checked(text)?,
                };
                *read = Some((Stamp { file: (0, 0), size: 0, changed: [(0, 0); 2] }, Arc::clone(&value)));
                Ok(value)
            }
        }
    }
}

/// Returns a value without its last line break.
fn checked(text: &str) -> Result<SecretValue, String> {
    let value = text.strip_suffix('\n').unwrap_or(text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err("it is empty".to_owned());
    }
    if value.contains('\0') {
        return Err("it has a NUL in it".to_owned());
    }
    Ok(Arc::new(Zeroizing::new(value.to_owned())))
}

fn stamp(metadata: &Metadata) -> Stamp {
    Stamp {
        file: (metadata.dev(), metadata.ino()),
        size: metadata.size(),
        changed: [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())],
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("source", &self.config.source).finish_non_exhaustive()
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Variable(name, _) => f.debug_tuple("Variable").field(name).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(source: SecretSource) -> Secrets {
        Secrets::new([("KEY".to_owned(), SecretConfig { source, plugins: None, digests: None })])
    }

    fn value(secrets: &Secrets) -> Result<String, String> {
        let secret = secrets.find("KEY", &"p".parse().unwrap(), "00")?;
        secret.value().map(|value| value.to_string())
    }

    #[test]
    fn a_file_is_read_again_once_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let secrets = secret(SecretSource::File(file.clone()));
        assert!(value(&secrets).unwrap_err().contains("cannot be read"));
        for (text, expected) in [("one\n", "one"), ("two\r\n", "two"), (" three\n\n", " three\n")] {
            std::fs::write(&file, text).unwrap();
            for _ in 0..2 {
                assert_eq!(value(&secrets).unwrap(), expected);
            }
        }
        for (bytes, said) in
            [(&b"\n"[..], "empty"), (b"a\0b", "NUL"), (b"\xff\xfe", "UTF-8"), (&[b'x'; 17 << 10], "larger")]
        {
            std::fs::write(&file, bytes).unwrap();
            let why = value(&secrets).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(value(&secrets).is_err(), "a secret that is taken away is gone");
    }

    #[test]
    fn a_variable_has_the_value_of_the_start() {
        let set = |value: Option<&str>| {
            secret(SecretSource::Variable(
                "V".to_owned(),
                value.map(|value| Zeroizing::new(value.to_owned())),
            ))
        };
        assert_eq!(value(&set(Some("one"))).unwrap(), "one");
        assert!(value(&set(None)).unwrap_err().contains("V was not set"));
        assert!(value(&set(Some(""))).unwrap_err().contains("empty"));
    }

    #[test]
    fn a_secret_is_for_its_plugins_and_its_files() {
        let config = SecretConfig {
            source: SecretSource::Variable("V".to_owned(), Some(Zeroizing::new("hunter2!".to_owned()))),
            plugins: Some(vec!["p".parse().unwrap()]),
            digests: Some(vec!["aa".to_owned()]),
        };
        let secrets = Secrets::new([("KEY".to_owned(), config)]);
        let find =
            |name: &str, plugin: &str, digest: &str| secrets.find(name, &plugin.parse().unwrap(), digest);
        assert!(find("KEY", "p", "aa").is_ok());
        for (name, plugin, digest, said) in [
            ("OTHER", "p", "aa", "[secrets]"),
            ("KEY", "q", "aa", "other plugins"),
            ("KEY", "p", "bb", "pinned"),
        ] {
            let why = find(name, plugin, digest).unwrap_err();
            assert!(why.contains(said) && why.contains(name), "{why}");
        }
        assert!(!format!("{secrets:?} {:?}", find("KEY", "p", "aa")).contains("hunter2"));
    }

    #[test]
    fn names_are_those_of_variables() {
        assert!(is_secret_name("STRIPE_KEY") && is_secret_name("_a1"));
        for name in ["", "1A", "A-B", "A=B", "Ä", &"A".repeat(65)] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
