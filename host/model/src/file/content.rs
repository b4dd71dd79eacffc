//! The bytes of a file, which a store keeps apart from its name.

use std::fmt;

use uuid::Uuid;

/// Names the bytes of a file in a store: a random UUID. The file of a task and that of its retry may share them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(Uuid);

/// The bytes of a file, as a store has them. They never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Where the store has them.
    pub id: ContentId,
    /// How many they are.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

impl ContentId {
    /// Creates a new id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Returns the 16 bytes of the id, as they are stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Builds an id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl Content {
    /// Returns the SHA-256 in hexadecimal.
    pub fn digest(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Formats it as 32 hexadecimal digits, which is the name of its file in a data folder.
impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
