//! Reads the keys of all sources: the file in the data folder, the file that a setting names, and the environment.
//!
//! An error names the file and the key, never a secret.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytesize::ByteSize;
use chrono::DateTime;
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use toml::value::Datetime;
use wasmill_model::{KeyLimits, KeySpace, LimitedKey, Rate, Reach, Timestamp, position, without_bom};

use crate::key::{self, InvalidKey, KeyHash, check_key};
use crate::keys::{Key, Keys};
use crate::limits;
use crate::reach;
use crate::scope::{InvalidScope, Scope, Scopes};
use crate::stamp::FileStamp;

/// Minimum length of a secret that is no key of ours.
pub const ADMIN_KEY_CHARS_MIN: usize = 32;

/// Maximum size of a file, and of a secret.
const FILE_BYTES_MAX: u64 = 4 << 20;
const SECRET_BYTES_MAX: u64 = 4 << 10;

/// Maximum length of a name, and of an id.
const NAME_CHARS_MAX: usize = 64;
const ID_CHARS_MAX: usize = 16;

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

/// One `[[key]]` of a file. Keys of later versions are refused: ignoring a limit would grant more than was meant.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) secret_env: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) plugins: Option<Vec<String>>,
    pub(crate) groups: Option<Vec<String>>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) expires: Option<Datetime>,
    pub(crate) rate: Option<String>,
    pub(crate) waiting: Option<u64>,
    pub(crate) running: Option<u64>,
    pub(crate) stored: Option<ByteSize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    key: Vec<Row>,
}

/// Parses a file.
pub(crate) fn parse(text: &str) -> Result<Vec<Row>, String> {
    let text = without_bom(text);
    let document: Document = toml::from_str(text).map_err(|error: toml::de::Error| {
        let at = position(text, error.span().map_or(0, |span| span.start));
        format!("{at}: {}", error.message())
    })?;
    Ok(document.key)
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
            for (number, row) in (1..).zip(parse(&text).map_err(invalid)?) {
                let named = |why: String| invalid(format!("key {number} ({:.40}): {why}", row.name));
                row.secret_file.iter().for_each(|path| reading(path));
                let (key, has_id) = row.to_key().map_err(named)?;
                let id = Arc::clone(&key.id);
                if !keys.add(key, has_id) {
                    return Err(named(format!("another key has the id {id}")));
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

impl Row {
    /// Returns the key, and whether its text has its id.
    pub(crate) fn to_key(&self) -> Result<(Key, bool), String> {
        let is_name =
            |name: &str, max| !name.is_empty() && name.len() <= max && name.bytes().all(is_name_byte);
        if !is_name(&self.name, NAME_CHARS_MAX) {
            return Err(format!(
                "its name must be 1 to {NAME_CHARS_MAX} letters, digits, '.', '_', '@' and '-'"
            ));
        }
        let scopes = self.scopes.iter().map(|name| name.parse()).collect::<Result<Scopes, InvalidScope>>();
        let scopes = scopes.map_err(|error| error.to_string())?;
        if scopes.is_empty() {
            return Err("it has no scopes".to_owned());
        }
        let Self { plugins, groups, tags, .. } = self;
        let reach = reach::read(plugins.as_deref(), groups.as_deref(), tags.as_deref(), scopes)?;
        let expires = self.expires.map(time).transpose()?;
        let rate = self.rate.as_deref().map(str::parse::<Rate>).transpose();
        let rate = rate.map_err(|error| format!("its rate is invalid: {error}"))?;
        let limits = limits::read(self.waiting, self.running, self.stored, &reach)?;
        let (hash, own_id) = self.secret()?;
        let has_own_id = own_id.is_some();
        let id = match (&self.id, own_id) {
            (Some(id), Some(own)) if *id != own => {
                return Err(format!("its secret has the id {own}, not {id}"));
            }
            (_, Some(own)) => own,
            (Some(id), None) if is_name(id, ID_CHARS_MAX) => id.clone(),
            (Some(_), None) => {
                return Err(format!(
                    "its id must be 1 to {ID_CHARS_MAX} letters, digits, '.', '_', '@' and '-'"
                ));
            }
            (None, None) => return Err("it needs an id, since its secret has none".to_owned()),
        };
        // A hash with the id of a key is that of a key.
        let has_id = has_own_id || (self.sha256.is_some() && key::is_id(&id));
        let space = reach::space(&reach);
        let is_counted = limits.waiting_max.is_some() || limits.stored_bytes_max.is_some();
        let limited = is_counted.then(|| Arc::new(LimitedKey { name: self.name.as_str().into(), limits }));
        Ok((
            Key { rate, reach, space, limits, limited, ..new_key(&id, &self.name, scopes, expires, hash) },
            has_id,
        ))
    }

    /// Returns the hash of the secret, and its id if it has one.
    fn secret(&self) -> Result<(KeyHash, Option<String>), String> {
        let text = match (&self.sha256, &self.secret_file, &self.secret_env) {
            (Some(hash), None, None) => {
                let hash =
                    HEXLOWER_PERMISSIVE.decode(hash.as_bytes()).ok().and_then(|hash| hash.try_into().ok());
                return Ok((hash.ok_or("its sha256 must be 64 hexadecimal digits")?, None));
            }
            (None, Some(path), None) => read(path, SECRET_BYTES_MAX)
                .map_err(|error| format!("failed to read its secret_file {}: {error}", path.display()))?,
            (None, None, Some(name)) => {
                std::env::var(name).map_err(|_| format!("its variable {name} is not set or not UTF-8"))?
            }
            _ => return Err("it needs one of sha256, secret_file and secret_env".to_owned()),
        };
        let text = text.trim();
        match check_key(text) {
            Ok(id) => Ok((key::hash(text.as_bytes()), Some(id.to_owned()))),
            Err(error @ InvalidKey::Checksum) => Err(format!("its secret is damaged: {error}")),
            Err(InvalidKey::Shape) if is_strong(text) => Ok((key::hash(text.as_bytes()), None)),
            Err(InvalidKey::Shape) => Err(format!(
                "its secret must have at least {ADMIN_KEY_CHARS_MIN} visible characters, without spaces"
            )),
        }
    }
}

fn new_key(id: &str, name: &str, scopes: Scopes, expires: Option<Timestamp>, hash: KeyHash) -> Key {
    Key {
        id: id.into(),
        name: name.to_owned(),
        scopes,
        expires,
        rate: None,
        reach: Reach::default(),
        space: KeySpace::default(),
        limits: KeyLimits::default(),
        limited: None,
        hash,
        last_used: Arc::default(),
        meter: Arc::default(),
    }
}

/// Returns true if a secret is long enough, and can be sent in a header.
fn is_strong(text: &str) -> bool {
    text.len() >= ADMIN_KEY_CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._@-".contains(&byte)
}

/// Reads a date and time with an offset.
fn time(datetime: Datetime) -> Result<Timestamp, String> {
    let time = DateTime::parse_from_rfc3339(&datetime.to_string());
    time.map(Into::into).map_err(|_| {
        format!("expires must be a time with a zone, such as 2027-03-01T00:00:00Z, not {datetime}")
    })
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Reads a regular file of bounded size.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<String> {
    // Opening a pipe would block.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {bytes_max} bytes"),
        ));
    }
    Ok(text)
}

pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
