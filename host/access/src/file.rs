//! Reads the keys of all sources: the file in the data folder, the file that a setting names, and the environment.
//!
//! An error names the file and the key, never a secret.

mod regular_file;
mod row;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use wasmill_model::{position, without_bom};

pub(crate) use self::regular_file::read;
pub use self::row::ADMIN_KEY_CHARS_MIN;
pub(crate) use self::row::{PersonRow, Row};
use self::row::{is_strong, new_key};
use crate::key::{self, check_key};
use crate::keys::Keys;
use crate::scope::Scope;
use crate::stamp::FileStamp;

/// Maximum size of a file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Id and name of the key in the environment.
const ADMIN: &str = "admin";

/// Why the keys cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file cannot be read.
    #[error("failed to read the keys file {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What went wrong.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("keys file {path}: {why}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong, and where.
        why: String,
    },
    /// The key of the environment is too short.
    #[error(
        "WASMILL_ADMIN_KEY must have at least {ADMIN_KEY_CHARS_MIN} visible characters; `wasmill key create` makes one"
    )]
    AdminKey,
}

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    #[serde(default)]
    pub(crate) key: Vec<Row>,
    #[serde(default)]
    pub(crate) person: Vec<PersonRow>,
}

/// Parses a file.
pub(crate) fn parse(text: &str) -> Result<Document, String> {
    let text = without_bom(text);
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let at = position(text, error.span().map_or(0, |span| span.start));
        format!("{at}: {}", error.message())
    })
}

/// Where keys come from.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// The file that `wasmill key` writes; it may be missing.
    own: PathBuf,
    /// The file of the setting.
    given: Option<PathBuf>,
    admin: Option<Arc<str>>,
}

/// What the files were when they were read: a change of any shows.
pub(crate) type Stamps = Vec<(PathBuf, Option<FileStamp>)>;

impl KeyFiles {
    /// Names the sources; the text of the admin key is that of the environment.
    ///
    /// # Errors
    ///
    /// Fails if the admin key is too short to be safe.
    pub fn new(data: &Path, given: Option<PathBuf>, admin: Option<OsString>) -> Result<Self, KeysError> {
        let admin = admin.map(|text| {
            let text = text.into_string().ok().map(|text| text.trim().to_owned());
            text.filter(|text| is_strong(text)).map(Arc::from).ok_or(KeysError::AdminKey)
        });
        Ok(Self { own: own_file(data), given, admin: admin.transpose()? })
    }

    /// Reads all keys.
    ///
    /// # Errors
    ///
    /// Fails if a file that should be there cannot be read, or if one key of it is invalid.
    pub fn read(&self) -> Result<Keys, KeysError> {
        self.read_stamped().1
    }

    /// Returns all keys, and what each file was before it was read.
    pub(crate) fn read_stamped(&self) -> (Stamps, Result<Keys, KeysError>) {
        let mut stamps = Stamps::new();
        let keys = self.read_all(|path| stamps.push((path.to_owned(), FileStamp::of(path))));
        (stamps, keys)
    }

    /// Reads all keys, and reports each file before it is read.
    fn read_all(&self, mut reading: impl FnMut(&Path)) -> Result<Keys, KeysError> {
        let mut keys = Keys::default();
        if let Some(admin) = &self.admin {
            let (has_id, id) = match check_key(admin) {
                Ok(id) => (true, id),
                Err(_) => (false, ADMIN),
            };
            let scopes = [Scope::Admin].into_iter().collect();
            keys.add(new_key(id, ADMIN, scopes, None, key::hash(admin.as_bytes())), has_id);
        }
        for path in [&self.own].into_iter().chain(&self.given) {
            reading(path);
            let text = match read(path, FILE_BYTES_MAX) {
                // Whether the folder can be one is for the database to say.
                Err(error) if is_missing(&error) && *path == self.own => continue,
                Err(error) => return Err(KeysError::Unreadable { path: shown(path), error }),
                Ok(text) => text,
            };
            let invalid = |why| KeysError::Invalid { path: shown(path), why };
            let Document { key, person } = parse(&text).map_err(invalid)?;
            for (number, row) in (1..).zip(key) {
                let named = |why: String| invalid(format!("key {number} ({:.40}): {why}", row.name));
                row.secret_file.iter().for_each(|path| reading(path));
                let (key, has_id) = row.to_key().map_err(named)?;
                let id = Arc::clone(&key.id);
                if !keys.add(key, has_id) {
                    return Err(named(format!("another key has the id {id}")));
                }
            }
            for (number, row) in (1..).zip(person) {
                let named = |why| invalid(format!("person {number} ({:.40}): {why}", row.name()));
                if !keys.add_person(row.to_person().map_err(named)?) {
                    return Err(named("there is an entry for the same before it".to_owned()));
                }
            }
        }
        Ok(keys)
    }

    /// Returns the file that `wasmill key` writes.
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// Returns the file of the setting.
    pub fn given(&self) -> Option<&Path> {
        self.given.as_deref()
    }
}

/// Returns the file that `wasmill key` writes.
pub(crate) fn own_file(data: &Path) -> PathBuf {
    data.join("keys.toml")
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
