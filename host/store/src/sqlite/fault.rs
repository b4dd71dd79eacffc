//! Turns errors of SQLite and of the file system into kinds that callers match.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};

use crate::StoreError;

/// Says what an error of SQLite means for the database at `path`.
pub(super) fn fault(path: &Path, error: &rusqlite::Error) -> StoreError {
    let damaged = match error {
        // A value that no version of this code has written.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) => true,
        error => matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)),
    };
    if damaged {
        StoreError::Corrupt { path: path.to_owned(), message: error.to_string() }
    } else {
        StoreError::Unavailable { message: format!("database {}: {error}", path.display()) }
    }
}

/// Says that this could not be done to the file or folder at `path`.
pub(super) fn io_fault(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable { message: format!("failed to {what} {}: {error}", path.display()) }
}
