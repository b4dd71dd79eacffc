//! Changes the keys file in the data folder: creates, rotates and revokes keys. Used by `wasmill key`.
//!
//! It edits the text block by block, so that comments and other keys stay as they are, and replaces the file as a whole.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, fchown};
use std::path::{Path, PathBuf};

use chrono::SecondsFormat;
use data_encoding::HEXLOWER;
use rustix::process::geteuid;
use tempfile::NamedTempFile;
use wasmill_model::{KeyLimits, Rate, Reach, Timestamp};

use crate::file::{self, Row};
use crate::key::SecretKey;
use crate::keys::Key;
use crate::limits;
use crate::reach;
use crate::scope::Scopes;

const BLOCK: &str = "[[key]]";
const PERSON: &str = "[[person]]";
const EXPIRES: &str = "expires";

const HEAD: &str = "\
# Keys of this server, written by `wasmill key`. It holds hashes only; the server notices each change.

";

/// Why the keys file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It cannot be read or written.
    #[error("failed to {what} {path}: {error}")]
    Io {
        /// What failed.
        what: &'static str,
        /// The file or folder.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It is invalid, or no text of `wasmill key`.
    #[error("keys file {path}: {why}; correct it first")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The new key would be invalid.
    #[error("the key is refused: {0}")]
    Refused(String),
    /// A key has this name already.
    #[error(
        "there is a key of the name {0} already; `wasmill key rotate {0}` replaces it, `wasmill key revoke {0}` ends it"
    )]
    Exists(String),
    /// No key has this name or id.
    #[error("there is no key of the name or id {name} in {path}")]
    Unknown {
        /// The name or id.
        name: String,
        /// The file.
        path: String,
    },
    /// The key has its secret elsewhere.
    #[error("the secret of {0} is in a file or a variable; replace it there")]
    Elsewhere(String),
}

/// A key to create.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends; `None` for never.
    pub expires: Option<Timestamp>,
    /// How many requests it may send; `None` for any number.
    pub rate: Option<Rate>,
    /// The tasks and plugins that it may see and touch.
    pub reach: Reach,
    /// How much it may have at once.
    pub limits: KeyLimits,
}

/// The keys file of a data folder.
#[derive(Clone, Debug)]
pub struct KeyFile {
    data: PathBuf,
    path: PathBuf,
}

/// The text of a file, block by block.
struct Blocks {
    head: String,
    keys: Vec<(String, Row)>,
}

impl KeyFile {
    /// Names the file, which may be missing, as may the folder.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), path: file::own_file(data) }
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a key.
    ///
    /// # Errors
    ///
    /// Fails if the name is taken or invalid, or if the file cannot be changed.
    pub fn create(&self, new: &NewKey) -> Result<SecretKey, EditError> {
        self.change(|blocks| {
            if blocks.keys.iter().any(|(_, row)| row.name == new.name) {
                return Err(EditError::Exists(new.name.clone()));
            }
            self.append(blocks, new)
        })
    }

    /// Creates another key of the same name, scopes, reach, rate and limits; the earlier ones end after the overlap. The new key ends when
    /// `expires` says, or never if that is `None` and the newest one never ends.
    ///
    /// # Errors
    ///
    /// Fails if there is no such key, or if the file cannot be changed.
    pub fn rotate(
        &self,
        name: &str,
        ends: Timestamp,
        expires: impl Fn(bool) -> Option<Timestamp>,
    ) -> Result<(SecretKey, NewKey), EditError> {
        self.change(|blocks| {
            let invalid = |why| self.invalid(why);
            let mut newest: Option<Key> = None;
            for (text, row) in blocks.keys.iter_mut().filter(|(_, row)| row.name == name) {
                if row.sha256.is_none() {
                    return Err(EditError::Elsewhere(name.to_owned()));
                }
                let (key, _) = row.to_key().map_err(invalid)?;
                if key.expires.is_none_or(|expires| expires > ends) {
                    *text = with_expiry(text, ends);
                }
                newest = Some(key);
            }
            let newest = newest.ok_or_else(|| self.unknown(name))?;
            let expires = expires(newest.expires.is_none());
            let Key { scopes, rate, reach, limits, .. } = newest;
            let new = NewKey { name: name.to_owned(), scopes, expires, rate, reach, limits };
            Ok((self.append(blocks, &new)?, new))
        })
    }

    /// Removes the key of an id, or all of a name, and returns their ids.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or if the file cannot be changed.
    pub fn revoke(&self, name: &str) -> Result<Vec<String>, EditError> {
        self.change(|blocks| {
            let (gone, kept): (Vec<_>, _) = std::mem::take(&mut blocks.keys)
                .into_iter()
                .partition(|(_, row)| row.name == name || row.id.as_deref() == Some(name));
            blocks.keys = kept;
            if gone.is_empty() {
                return Err(self.unknown(name));
            }
            Ok(gone.into_iter().map(|(_, row)| row.id.unwrap_or(row.name)).collect())
        })
    }

    fn append(&self, blocks: &mut Blocks, new: &NewKey) -> Result<SecretKey, EditError> {
        let key = SecretKey::random();
        let scopes: Vec<_> = new.scopes.iter().map(|scope| format!("\"{}\"", scope.as_str())).collect();
        let hash = HEXLOWER.encode(&key.hash());
        let mut text = format!(
            "{BLOCK}\nname = {:?}\nid = \"{}\"\nsha256 = \"{hash}\"\nscopes = [{}]\n",
            new.name,
            key.id(),
            scopes.join(", ")
        );
        text.push_str(&reach::lines(&new.reach));
        if let Some(expires) = new.expires {
            text.push_str(&format!("{EXPIRES} = {}\n", shown_time(expires)));
        }
        if let Some(rate) = new.rate {
            text.push_str(&format!("rate = \"{rate}\"\n"));
        }
        text.push_str(&limits::lines(new.limits));
        let mut rows = file::parse(&text).map_err(|why| self.invalid(why))?.key;
        let row = rows.pop().ok_or_else(|| self.invalid("the new key is missing".to_owned()))?;
        row.to_key().map_err(EditError::Refused)?;
        blocks.keys.push((text, row));
        Ok(key)
    }

    /// Changes the file while no other process does.
    fn change<T>(&self, change: impl FnOnce(&mut Blocks) -> Result<T, EditError>) -> Result<T, EditError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.data)
            .map_err(|error| failed("create", &self.data, error))?;
        let folder = File::open(&self.data).map_err(|error| failed("open", &self.data, error))?;
        folder.lock().map_err(|error| failed("lock", &self.data, error))?;
        let mut blocks = self.read()?;
        let answer = change(&mut blocks)?;
        let texts = blocks.keys.iter().map(|(text, _)| text.trim_end());
        let text = format!("{}{}\n", blocks.head, texts.collect::<Vec<_>>().join("\n\n"));
        self.write(&text, &folder).map_err(|error| failed("write", &self.path, error))?;
        Ok(answer)
    }

    fn read(&self) -> Result<Blocks, EditError> {
        let text = match file::read(&self.path, u64::MAX - 1) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => HEAD.to_owned(),
            text => text.map_err(|error| failed("read", &self.path, error))?,
        };
        let rows = file::parse(&text).map_err(|why| self.invalid(why))?.key;
        let mut blocks = Blocks { head: String::new(), keys: Vec::new() };
        // People belong to no key: they stand before the first one from now on.
        let mut is_of_person = false;
        for line in text.split_inclusive('\n') {
            let start = line.trim_start();
            is_of_person = start.starts_with(PERSON) || (is_of_person && !start.starts_with(BLOCK));
            if is_of_person {
                blocks.head.push_str(line);
                continue;
            }
            if start.starts_with(BLOCK) {
                let row = rows.get(blocks.keys.len()).cloned();
                let row = row.ok_or_else(|| self.unusual())?;
                blocks.keys.push((String::new(), row));
            }
            blocks.keys.last_mut().map_or(&mut blocks.head, |(text, _)| text).push_str(line);
        }
        // Each block alone is the key that the whole file has there.
        let is_usual = blocks.keys.len() == rows.len()
            && blocks
                .keys
                .iter()
                .all(|(text, row)| file::parse(text).is_ok_and(|alone| alone.key == [row.clone()]));
        if is_usual { Ok(blocks) } else { Err(self.unusual()) }
    }

    fn write(&self, text: &str, folder: &File) -> io::Result<()> {
        // Created with mode 0600.
        let mut file = NamedTempFile::new_in(&self.data)?;
        file.write_all(text.as_bytes())?;
        let owner = folder.metadata()?;
        if geteuid().is_root() {
            // Of the server, which may run as another user.
            fchown(file.as_file(), Some(owner.uid()), Some(owner.gid()))?;
        }
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        folder.sync_all()
    }

    fn invalid(&self, why: String) -> EditError {
        EditError::Invalid { path: file::shown(&self.path), why }
    }

    fn unusual(&self) -> EditError {
        self.invalid(format!("each key must begin with a line {BLOCK}"))
    }

    fn unknown(&self, name: &str) -> EditError {
        EditError::Unknown { name: name.to_owned(), path: file::shown(&self.path) }
    }
}

fn failed(what: &'static str, path: &Path, error: io::Error) -> EditError {
    EditError::Io { what, path: file::shown(path), error }
}

/// Sets when the key of a block ends.
fn with_expiry(block: &str, ends: Timestamp) -> String {
    let is_expiry = |line: &str| {
        let rest = line.trim_start().strip_prefix(EXPIRES);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let line = format!("{EXPIRES} = {}\n", shown_time(ends));
    let mut lines: Vec<_> = block.split_inclusive('\n').collect();
    match lines.iter_mut().find(|line| is_expiry(line)) {
        Some(found) => *found = &line,
        None => lines.insert(1, &line),
    }
    lines.concat()
}

fn shown_time(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests;
