//! Maps errors of SQLite and of the file system to the kinds of [`StoreError`].

use std::io;
use std::path::Path;

use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
use wasmill_store::StoreError;

/// Maps an SQLite error of the database at `path`.
pub(crate) fn fault(path: &Path, error: &rusqlite::Error) -> StoreError {
    let damaged =
        is_of_value(error) || matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase));
    if damaged {
        StoreError::Corrupt { database: path.display().to_string(), message: error.to_string() }
    } else {
        StoreError::Unavailable { message: format!("database {}: {error}", path.display()) }
    }
}

/// Returns true if a row holds a value that no version of this code has written.
pub(crate) fn is_of_value(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Returns true if nothing can be written right now; otherwise the failed command is at fault.
pub(crate) fn is_of_machine(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OperationInterrupted,
        OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
    };
    matches!(
        error.sqlite_error_code(),
        Some(
            CannotOpen
                | DatabaseBusy
                | DatabaseLocked
                | DiskFull
                | FileLockingProtocolFailed
                | NotADatabase
                | OperationInterrupted
                | OutOfMemory
                | PermissionDenied
                | ReadOnly
                | SystemIoFailure
        )
    )
}

/// Builds the error of a failed file operation on `path`.
pub(crate) fn io_fault(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable { message: format!("failed to {what} {}: {error}", path.display()) }
}
