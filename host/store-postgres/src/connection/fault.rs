//! Maps errors of PostgreSQL to the kinds of [`StoreError`].

use std::fmt;

use tokio_postgres::error::SqlState;
use wasmill_store::StoreError;

/// Why a statement failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// The server or the connection to it.
    Database(tokio_postgres::Error),
    /// A row holds a value that no version of this code has written.
    Value(String),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => match error.as_db_error() {
                Some(error) => write!(f, "{} ({})", error.message(), error.code().code()),
                None => write!(f, "{error}"),
            },
            Self::Value(message) => f.write_str(message),
        }
    }
}

impl Error {
    /// Returns true if a row holds a value that no version of this code has written.
    pub(crate) fn is_of_value(&self) -> bool {
        matches!(self, Self::Value(_))
    }

    /// Returns true if the connection is gone.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Database(error) => {
                error.is_closed() || error.as_db_error().is_none_or(|error| class(error.code()) == "57")
            }
            Self::Value(_) => false,
        }
    }

    /// Returns true if nothing can be written right now; otherwise the failed command is at fault.
    pub(crate) fn is_of_machine(&self) -> bool {
        let Self::Database(error) = self else { return false };
        // Insufficient resources, intervention of an operator, errors of the system, a standby.
        self.is_lost()
            || error.code().is_some_and(|code| {
                matches!(class(code), "08" | "53" | "57" | "58")
                    || *code == SqlState::READ_ONLY_SQL_TRANSACTION
            })
    }

    /// Maps the error to what callers match.
    pub(crate) fn of_store(&self, database: &str) -> StoreError {
        match self {
            Self::Database(_) => StoreError::Unavailable { message: format!("database {database}: {self}") },
            Self::Value(message) => {
                StoreError::Corrupt { database: database.to_owned(), message: message.clone() }
            }
        }
    }
}

fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}
