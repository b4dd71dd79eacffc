//! The URL of a database, which may hold its password.

use std::fmt;

/// A URL that is shown nowhere. It is checked when it is used, since the parser of options quotes what it refuses.
#[derive(Clone)]
pub(crate) struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Returns the URL with its password.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl")
    }
}
