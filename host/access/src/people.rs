//! Whom a trusted proxy names. What these people may do is in the keys files.

/// Maximum bytes of the name of a user or group.
pub const PERSON_BYTES_MAX: usize = 128;

/// Maximum groups of a user that are looked at.
pub const PERSON_GROUPS_MAX: usize = 256;

/// Whom a proxy names.
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
