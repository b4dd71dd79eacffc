//! Sessions of browsers: a signed text that stands for a key or a person, which the browser keeps in a cookie.
//!
//! Nothing is stored: a session is in force while its signature is right, its key or the entry of its person is, and its
//! time is not over. So no table grows, a restart signs nobody out, a revoked or rotated key ends its sessions at once,
//! and another signing secret ends all.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha2::Sha256;
use tempfile::NamedTempFile;
use wasmill_model::{TimeDelta, Timestamp};

use crate::key::KeyHash;
use crate::keys::{Key, Keys};
use crate::people::{NamedPerson, Realm};
use crate::scope::Scope;

/// How long a session lasts, however much it is used.
pub const SESSION_MAX: TimeDelta = TimeDelta::hours(12);

/// How long a session of a key that may change the server lasts without a request.
const IDLE_MAX: TimeDelta = TimeDelta::hours(1);

/// How old the time of the last request may be in a session before it is issued again.
const RENEWED_EACH: TimeDelta = TimeDelta::minutes(1);

/// Tolerated lead of the clock that issued it.
const CLOCK_LEAD: TimeDelta = TimeDelta::minutes(1);

/// File of the signing secret in the data folder.
const FILE: &str = "session.key";
const SECRET_BYTES: usize = 32;

/// Bytes of the hash of its key that a session names: another key of the same id is another key.
const HASH_BYTES: usize = 8;

/// What the text of a session begins with: that of a key, and that of a person.
const OF_KEY: &str = "v1";
const OF_PERSON: &str = "p1";

/// The secret that signs sessions. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret([u8; SECRET_BYTES]);

impl SessionSecret {
    /// Creates a secret of 256 random bits.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads the secret of a data folder; makes one, readable by its owner only, if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or made, or is no secret.
    pub fn load(data: &Path) -> io::Result<Self> {
        match Self::read(&session_file(data)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(data),
            read => read,
        }
    }

    /// Returns its bytes, for other hosts that check the same sessions.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Creates the secret of these bytes.
    ///
    /// # Errors
    ///
    /// Fails unless there are 32.
    pub fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        let why = || format!("a secret of sessions has {SECRET_BYTES} bytes");
        bytes.try_into().map(Self).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, why()))
    }

    /// Makes it the secret of a data folder, in place of another one.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn save(&self, data: &Path) -> io::Result<()> {
        self.write(data)?.persist(session_file(data))?;
        Ok(())
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?.take(SECRET_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        let why = || {
            format!(
                "{} is not a file of {SECRET_BYTES} bytes; delete it, and all sign in anew",
                path.display()
            )
        };
        Self::from_bytes(bytes).map_err(|error| io::Error::new(error.kind(), why()))
    }

    fn write(&self, data: &Path) -> io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new_in(data)?;
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&self.0)?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    fn create(data: &Path) -> io::Result<Self> {
        let secret = Self::random();
        match secret.write(data)?.persist_noclobber(session_file(data)) {
            Ok(_) => Ok(secret),
            // Another process was faster.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(&session_file(data))
            }
            Err(error) => Err(error.error),
        }
    }

    pub(crate) fn sign(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac
    }
}

impl std::fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionSecret")
    }
}

/// Returns the file of the signing secret.
pub(crate) fn session_file(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// Returns a text with its signature.
pub(crate) fn sealed(signed: &str, secret: &SessionSecret) -> String {
    let signature = BASE64URL_NOPAD.encode(&secret.sign(signed).finalize().into_bytes());
    format!("{signed}~{signature}")
}

/// Returns the text without its signature; `None` unless this secret has signed it.
pub(crate) fn unsealed<'a>(text: &'a [u8], secret: &SessionSecret) -> Option<&'a str> {
    let text = str::from_utf8(text).ok()?;
    let (signed, signature) = text.rsplit_once('~')?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    // In constant time.
    secret.sign(signed).verify_slice(&signature).ok()?;
    Some(signed)
}

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// That of a key: its id, and a part of its hash.
    Key(String, [u8; HASH_BYTES]),
    /// That of a person whom an issuer has signed in, which the realm stands for.
    Person(NamedPerson, Realm),
}

/// What a session says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) whose: Whose,
    issued: i64,
    /// About when it was last used.
    seen: i64,
}

impl Session {
    /// Begins a session of this key.
    pub(crate) fn begin(key: &Key, now: Timestamp) -> Self {
        Self::of(Whose::Key(key.id.to_string(), part_of(&key.hash)), now)
    }

    /// Begins a session of a person.
    pub(crate) fn of(whose: Whose, now: Timestamp) -> Self {
        let now = now.timestamp();
        Self { whose, issued: now, seen: now }
    }

    /// Reads a session; `None` unless this secret has signed it.
    pub(crate) fn open(text: &[u8], secret: &SessionSecret) -> Option<Self> {
        let mut parts = unsealed(text, secret)?.split('~');
        let (kind, who, mark) = (parts.next()?, parts.next()?, parts.next()?);
        let (issued, seen, None) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next())
        else {
            return None;
        };
        let mark = HEXLOWER.decode(mark.as_bytes()).ok()?.try_into().ok()?;
        let whose = match kind {
            OF_KEY => Whose::Key(who.to_owned(), mark),
            OF_PERSON => {
                let named = BASE64URL_NOPAD.decode(who.as_bytes()).ok()?;
                let (user, groups) = serde_json::from_slice(&named).ok()?;
                Whose::Person(NamedPerson { user, groups }, Realm(mark))
            }
            _ => return None,
        };
        Some(Self { whose, issued, seen })
    }

    /// Returns its text, signed.
    pub(crate) fn seal(&self, secret: &SessionSecret) -> String {
        let Self { whose, issued, seen } = self;
        // Characters of ids, and of base64, never contain the separator.
        let (kind, who, mark) = match whose {
            Whose::Key(id, hash) => (OF_KEY, id.clone(), hash),
            Whose::Person(NamedPerson { user, groups }, realm) => {
                let named = json!([user, groups]).to_string();
                (OF_PERSON, BASE64URL_NOPAD.encode(named.as_bytes()), &realm.0)
            }
        };
        sealed(&format!("{kind}~{who}~{}~{issued}~{seen}", HEXLOWER.encode(mark)), secret)
    }

    /// Returns the key that it is of, or what the person may do that it is of.
    pub(crate) fn key(&self, keys: &Keys, realm: Option<Realm>) -> Option<Arc<Key>> {
        match &self.whose {
            Whose::Key(id, hash) => keys.by_id(id).filter(|key| *hash == part_of(&key.hash)).cloned(),
            Whose::Person(named, own) => keys.person(named).filter(|_| realm == Some(*own)),
        }
    }

    /// Returns the person that it is of.
    pub(crate) fn person(&self) -> Option<&NamedPerson> {
        match &self.whose {
            Whose::Person(named, _) => Some(named),
            Whose::Key(..) => None,
        }
    }

    /// Returns when it ends unless it is used again.
    pub(crate) fn ends(&self, key: &Key) -> Timestamp {
        let at = |seconds| Timestamp::from_timestamp(seconds, 0).unwrap_or_default();
        let latest = at(self.issued) + SESSION_MAX;
        let is_strong = key.scopes.allow(Scope::Admin) || key.scopes.allow(Scope::Plugins);
        if is_strong { latest.min(at(self.seen) + IDLE_MAX) } else { latest }
    }

    /// Returns true while it lasts.
    pub(crate) fn lasts(&self, key: &Key, now: Timestamp) -> bool {
        let is_issued = self.issued.max(self.seen) <= (now + CLOCK_LEAD).timestamp();
        is_issued && now < self.ends(key)
    }

    /// Returns the session as of now, if it is to be issued again.
    pub(crate) fn renewed(&self, now: Timestamp) -> Option<Self> {
        let is_old = now.timestamp() - self.seen >= RENEWED_EACH.num_seconds();
        is_old.then(|| Self { seen: now.timestamp(), ..self.clone() })
    }
}

fn part_of(hash: &KeyHash) -> [u8; HASH_BYTES] {
    let mut part = [0; HASH_BYTES];
    part.copy_from_slice(&hash[..HASH_BYTES]);
    part
}

#[cfg(test)]
mod tests;
