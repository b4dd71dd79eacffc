//! One entry of a keys file: a key, or what a person may do.

use std::path::PathBuf;
use std::sync::Arc;

use bytesize::ByteSize;
use chrono::DateTime;
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use toml::value::Datetime;
use wasmill_model::{KeyLimits, KeySpace, LimitedKey, Rate, Reach, Timestamp};

use super::regular_file::read;
use crate::key::{self, InvalidKey, KeyHash, check_key};
use crate::keys::{Key, Person, Whom};
use crate::limits;
use crate::people::{PERSON_BYTES_MAX, is_person};
use crate::reach;
use crate::scope::{InvalidScope, Scopes};

/// Minimum length of a secret that is no key of ours.
pub const ADMIN_KEY_CHARS_MIN: usize = 32;

/// Maximum size of a file with a secret.
const SECRET_BYTES_MAX: u64 = 4 << 10;

/// Maximum length of a name, and of an id.
const NAME_CHARS_MAX: usize = 64;
const ID_CHARS_MAX: usize = 16;

/// One `[[key]]` of a file. Keys of later versions are refused: ignoring a limit would grant more than was meant.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
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

/// One `[[person]]` of a file: what a user, or each member of a group, may do.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonRow {
    user: Option<String>,
    member_of: Option<String>,
    scopes: Vec<String>,
    plugins: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    rate: Option<String>,
    waiting: Option<u64>,
    running: Option<u64>,
    stored: Option<ByteSize>,
}

/// What a key or a person may do.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    scopes: Scopes,
    reach: Reach,
    rate: Option<Rate>,
    limits: KeyLimits,
}

impl Rights {
    /// Returns a key with these rights.
    pub(crate) fn key(&self, id: &str, name: &str, expires: Option<Timestamp>, hash: KeyHash) -> Key {
        let Self { scopes, reach, rate, limits } = self.clone();
        let is_counted = limits.waiting_max.is_some() || limits.stored_bytes_max.is_some();
        let limited = is_counted.then(|| Arc::new(LimitedKey { name: name.into(), limits }));
        let space = reach::space(&reach);
        Key { rate, reach, space, limits, limited, ..new_key(id, name, scopes, expires, hash) }
    }
}

impl Row {
    /// Returns a key of this name that may do nothing.
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Returns what the key may do.
    pub(crate) fn rights(&self) -> Result<Rights, String> {
        let scopes = self.scopes.iter().map(|name| name.parse()).collect::<Result<Scopes, InvalidScope>>();
        let scopes = scopes.map_err(|error| error.to_string())?;
        if scopes.is_empty() {
            return Err("it has no scopes".to_owned());
        }
        let Self { plugins, groups, tags, .. } = self;
        let reach = reach::read(plugins.as_deref(), groups.as_deref(), tags.as_deref(), scopes)?;
        let rate = self.rate.as_deref().map(str::parse::<Rate>).transpose();
        let rate = rate.map_err(|error| format!("its rate is invalid: {error}"))?;
        let limits = limits::read(self.waiting, self.running, self.stored, &reach)?;
        Ok(Rights { scopes, reach, rate, limits })
    }

    /// Returns the key, and whether its text has its id.
    pub(crate) fn to_key(&self) -> Result<(Key, bool), String> {
        let is_name =
            |name: &str, max| !name.is_empty() && name.len() <= max && name.bytes().all(is_name_byte);
        if !is_name(&self.name, NAME_CHARS_MAX) {
            return Err(format!(
                "its name must be 1 to {NAME_CHARS_MAX} letters, digits, '.', '_', '@' and '-'"
            ));
        }
        let rights = self.rights()?;
        let expires = self.expires.map(time).transpose()?;
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
        Ok((rights.key(&id, &self.name, expires, hash), has_id))
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

impl PersonRow {
    /// Returns the entry.
    pub(crate) fn to_person(&self) -> Result<Person, String> {
        let whom = match (&self.user, &self.member_of) {
            (Some(user), None) => Whom::User(user.clone()),
            (None, Some(group)) => Whom::Group(group.clone()),
            _ => return Err("it needs one of user and member_of".to_owned()),
        };
        let (Whom::User(name) | Whom::Group(name)) = &whom;
        if !is_person(name) {
            return Err(format!(
                "user and member_of must be 1 to {PERSON_BYTES_MAX} visible characters of ASCII, without commas"
            ));
        }
        let row = Row {
            scopes: self.scopes.clone(),
            plugins: self.plugins.clone(),
            groups: self.groups.clone(),
            tags: self.tags.clone(),
            rate: self.rate.clone(),
            waiting: self.waiting,
            running: self.running,
            stored: self.stored,
            ..Row::named(name)
        };
        // Nobody has its secret: it is found by the name alone.
        let template = row.rights()?.key(name, name, None, [0; 32]);
        Ok(Person { whom, template })
    }

    /// Returns whom it is about, for an error.
    pub(crate) fn name(&self) -> &str {
        self.user.as_deref().or(self.member_of.as_deref()).unwrap_or_default()
    }
}

/// Returns a key without rate, reach and limits.
pub(super) fn new_key(
    id: &str,
    name: &str,
    scopes: Scopes,
    expires: Option<Timestamp>,
    hash: KeyHash,
) -> Key {
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
pub(super) fn is_strong(text: &str) -> bool {
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
