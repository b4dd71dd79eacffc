//! Task ids.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Bytes of a UUID with hyphens.
const HYPHENATED_BYTES: usize = 36;

/// A task id: a UUIDv7, so ids sort by creation time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Uuid);

impl TaskId {
    /// Creates a new id.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
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

impl Default for TaskId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for TaskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.hyphenated().serialize(serializer)
    }
}

impl FromStr for TaskId {
    type Err = InvalidTaskId;

    fn from_str(text: &str) -> Result<Self, InvalidTaskId> {
        // Of the spellings of a UUID, only the hyphenated one, which is used everywhere.
        let hyphenated = Some(text).filter(|text| text.len() == HYPHENATED_BYTES);
        hyphenated.and_then(|text| Uuid::try_parse(text).ok()).map(Self).ok_or(InvalidTaskId)
    }
}

/// The text is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task id is a UUID such as 0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061")]
pub struct InvalidTaskId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_parsed_with_hyphens_only() {
        let id = "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061";
        assert_eq!(id.parse::<TaskId>().map(|id| id.to_string()).as_deref(), Ok(id));
        assert!(id.to_uppercase().parse::<TaskId>().is_ok());
        let others = [id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}"), format!("{id} ")];
        assert!(others.iter().all(|other| other.parse::<TaskId>().is_err()));
    }

    #[test]
    fn ids_sort_by_creation_time() {
        let ids: Vec<_> = (0..1_000).map(|_| TaskId::new()).collect();
        assert!(ids.is_sorted());
    }
}
