//! The text of a key: `wmk_`, an id, `_`, a secret and a checksum.
//!
//! The prefix lets scanners of secrets find it, the id is public, and the checksum tells a typo without a server.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

const PREFIX: &str = "wmk_";
const ID_CHARS: usize = 8;
const SECRET_BYTES: usize = 32;
/// Base64 of the secret and of a CRC-32.
const SECRET_CHARS: usize = 43;
const SUM_CHARS: usize = 6;
const KEY_CHARS: usize = PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + SUM_CHARS;

/// Characters of an id: no i, l, o and u, which are easily misread.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// SHA-256 of the whole text. A secret of 256 random bits needs no salt and no slow hash.
pub(crate) type KeyHash = [u8; 32];

pub(crate) fn hash(text: &[u8]) -> KeyHash {
    Sha256::digest(text).into()
}

/// A new key, shown once. `Debug` shows its id only.
pub struct SecretKey(String);

impl SecretKey {
    /// Creates a key of 256 random bits.
    pub fn random() -> Self {
        let id: String = rand::random::<[u8; ID_CHARS]>()
            .map(|byte| char::from(ID_ALPHABET[usize::from(byte) % ID_ALPHABET.len()]))
            .iter()
            .collect();
        let secret = BASE64URL_NOPAD.encode(&rand::random::<[u8; SECRET_BYTES]>());
        let unsummed = format!("{PREFIX}{id}_{secret}");
        let sum = sum(&unsummed);
        Self(unsummed + &sum)
    }

    /// Returns the public part.
    pub fn id(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + ID_CHARS]
    }

    /// Returns the whole text, the secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> KeyHash {
        hash(self.0.as_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id())
    }
}

/// The text is not a whole key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It has another length or alphabet.
    #[error("it is not a key: one begins with wmk_ and has {KEY_CHARS} characters")]
    Shape,
    /// It has been changed.
    #[error("it is not a whole key: its checksum is wrong, so a character is missing or mistyped")]
    Checksum,
}

fn sum(unsummed: &str) -> String {
    BASE64URL_NOPAD.encode(&crc32fast::hash(unsummed.as_bytes()).to_be_bytes())
}

/// Returns the id of a text that has the shape of a key.
pub(crate) fn id_of(text: &[u8]) -> Option<&str> {
    let is_key = text.len() == KEY_CHARS && text.starts_with(PREFIX.as_bytes());
    let rest = text.get(PREFIX.len()..).filter(|rest| is_key && rest[ID_CHARS] == b'_')?;
    str::from_utf8(&rest[..ID_CHARS]).ok().filter(|id| is_id(id))
}

/// Returns true if a text has the shape of an id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID_CHARS && text.bytes().all(|byte| ID_ALPHABET.contains(&byte))
}

/// Checks the shape and the checksum of a key, and returns its id.
///
/// # Errors
///
/// Fails if it was cut off or mistyped.
pub fn check_key(text: &str) -> Result<&str, InvalidKey> {
    let id = id_of(text.as_bytes()).ok_or(InvalidKey::Shape)?;
    let (unsummed, given) = text.split_at_checked(KEY_CHARS - SUM_CHARS).ok_or(InvalidKey::Shape)?;
    if sum(unsummed) == given { Ok(id) } else { Err(InvalidKey::Checksum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_an_id_a_secret_and_a_checksum() {
        let (one, other) = (SecretKey::random(), SecretKey::random());
        assert_eq!(one.reveal().len(), 62);
        assert_eq!(check_key(one.reveal()), Ok(one.id()));
        assert_ne!(one.reveal(), other.reveal());
        assert!(!format!("{one:?}").contains(&one.reveal()[13..]));
    }

    #[test]
    fn a_typo_is_told_without_a_server() {
        let key = SecretKey::random();
        for at in 13..key.reveal().len() {
            let mut typo = key.reveal().to_owned().into_bytes();
            typo[at] = if typo[at] == b'A' { b'B' } else { b'A' };
            let typo = String::from_utf8(typo).unwrap();
            assert_eq!(check_key(&typo), Err(InvalidKey::Checksum), "{at}");
        }
        for other in ["", "wmk_", &key.reveal()[1..], &key.reveal().to_uppercase(), &"ä".repeat(31)] {
            assert_eq!(check_key(other), Err(InvalidKey::Shape), "{other}");
        }
    }
}
