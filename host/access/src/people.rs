//! Whom a trusted proxy, or an issuer of identities, names. What these people may do is in the keys files.

use sha2::{Digest, Sha256};

/// Maximum bytes of the name of a user or group.
pub const PERSON_BYTES_MAX: usize = 128;

/// Maximum groups of a user that are looked at.
pub const PERSON_GROUPS_MAX: usize = 256;

/// Bytes of the hash that names a realm.
const REALM_BYTES: usize = 8;

/// Stands for an issuer of identities and for this server as its client: a session of another one is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realm(pub(crate) [u8; REALM_BYTES]);

impl Realm {
    /// Returns the realm of an issuer and a client.
    pub fn new(issuer: &str, client: &str) -> Self {
        let hash = Sha256::digest(format!("{issuer}\0{client}"));
        let mut realm = [0; REALM_BYTES];
        realm.copy_from_slice(&hash[..REALM_BYTES]);
        Self(realm)
    }
}

/// Whom a proxy or an issuer names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPerson {
    /// The user.
    pub user: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
}

/// Returns true if a text may name a user or a group.
pub fn is_person(name: &str) -> bool {
    (1..=PERSON_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}
