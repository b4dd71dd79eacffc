//! Maps errors of PostgreSQL to the kinds of [`StoreError`].

use std::{fmt, io};

use tokio_postgres::error::SqlState;
use wasmill_store::StoreError;

use crate::address::Address;

/// What to do if a pooler lends sessions for a transaction.
pub(crate) const NO_POOLER: &str = "a pooler in between lends sessions for a transaction, as pgbouncer does with \
    pool_mode=transaction; set pool_mode=session for this database, or name the server itself";

/// Why a statement failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// The server or the connection to it.
    Database(tokio_postgres::Error),
    /// The server cannot be reached, or lets nobody in.
    Connecting(tokio_postgres::Error),
    /// A row holds a value that no version of this code has written.
    Value(String),
    /// The database cannot be used as it is: why, and what to do.
    Refused(String),
    /// The server did not answer in time.
    Silent,
    /// The change was committed, and whether a standby has it is unknown: nobody waits for that any more.
    NotReplicated,
    /// It could not be found out whether the transaction was committed.
    Unknown,
    /// Another host has taken this one for dead; it registers anew.
    Fenced,
    /// Other hosts have filled the queue since this one looked.
    Full,
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
            Self::Database(error) | Self::Connecting(error) => {
                match (error.as_db_error(), std::error::Error::source(error)) {
                    (Some(error), _) => write!(f, "{} ({})", error.message(), error.code().code()),
                    (None, Some(cause)) => write!(f, "{error}: {cause}"),
                    (None, None) => write!(f, "{error}"),
                }
            }
            Self::Value(message) | Self::Refused(message) => f.write_str(message),
            Self::Silent => f.write_str("the server does not answer"),
            Self::NotReplicated => f.write_str("a commit was cancelled while it waited for a standby"),
            Self::Unknown => {
                f.write_str("the connection was lost, and it is unknown whether the change was stored")
            }
            Self::Fenced => f.write_str("another wasmill has taken this one for dead"),
            Self::Full => f.write_str("other hosts have filled the queue"),
        }
    }
}

impl Error {
    /// Returns true if a row holds a value that no version of this code has written.
    pub(crate) fn is_of_value(&self) -> bool {
        matches!(self, Self::Value(_))
    }

    /// Returns true if the connection is gone, or of no use any more: the server ends, or has become a standby.
    pub(crate) fn is_lost(&self) -> bool {
        let error = match self {
            Self::Database(error) => error,
            Self::Connecting(_) | Self::Silent | Self::NotReplicated | Self::Fenced => return true,
            Self::Value(_) | Self::Refused(_) | Self::Unknown | Self::Full => return false,
        };
        let Some(code) = error.code() else {
            // Of the connection, unless a value was of another type than its column.
            return error.is_closed() || !is_of_value(error);
        };
        class(code) == "08"
            || [
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::CANNOT_CONNECT_NOW,
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                SqlState::READ_ONLY_SQL_TRANSACTION,
            ]
            .contains(code)
    }

    /// Returns true if the server is a standby, which accepts no writes.
    pub(crate) fn is_of_standby(&self) -> bool {
        let (Self::Database(error) | Self::Connecting(error)) = self else { return false };
        // The client looks before anything is sent.
        let denied = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
        denied.is_some_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
            || error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Returns true if the transaction failed because of others, as while somebody changes tables: the same again may
    /// succeed.
    pub(crate) fn is_of_conflict(&self) -> bool {
        let Self::Database(error) = self else { return matches!(self, Self::Full) };
        error.code().is_some_and(|code| class(code) == "40" || *code == SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Returns true if nothing can be written right now; otherwise the failed command is at fault.
    pub(crate) fn is_of_machine(&self) -> bool {
        match self {
            // Conflicts, insufficient resources, a limit of time, intervention of an operator, errors of the system.
            Self::Database(error) => {
                self.is_lost()
                    || error
                        .code()
                        .is_some_and(|code| matches!(class(code), "40" | "53" | "55" | "57" | "58"))
            }
            Self::Connecting(_)
            | Self::Silent
            | Self::NotReplicated
            | Self::Unknown
            | Self::Fenced
            | Self::Full => true,
            Self::Value(_) | Self::Refused(_) => false,
        }
    }

    /// Maps the error to what callers match.
    pub(crate) fn of_store(&self, database: &str) -> StoreError {
        match self {
            Self::Database(_)
            | Self::Connecting(_)
            | Self::Silent
            | Self::NotReplicated
            | Self::Unknown
            | Self::Fenced
            | Self::Full => StoreError::Unavailable { message: format!("database {database}: {self}") },
            Self::Value(message) => {
                StoreError::Corrupt { database: database.to_owned(), message: message.clone() }
            }
            Self::Refused(message) => {
                StoreError::Refused { message: format!("database {database}: {message}") }
            }
        }
    }

    /// Says why the database cannot be opened, and what to do.
    pub(crate) fn of_open(&self, address: &Address) -> StoreError {
        let (Self::Database(error) | Self::Connecting(error)) = self else {
            return self.of_store(&address.to_string());
        };
        let (user, database) = (address.user(), address.database());
        let advice = match error.code() {
            Some(code) if class(code) == "28" => {
                format!("check user {user} and its password in database_password_file or the URL")
            }
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                format!("create it, as with createdb --owner {user} {database}, or correct the URL")
            }
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                format!("grant the right to user {user}, or run wasmill database migrate as the owner")
            }
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
                "raise max_connections of the server, or end other clients".to_owned()
            }
            Some(code)
                if [SqlState::DUPLICATE_PSTATEMENT, SqlState::INVALID_SQL_STATEMENT_NAME].contains(code) =>
            {
                NO_POOLER.to_owned()
            }
            _ if self.is_of_standby() => {
                "it is a standby, or set to read only; name the primary, or all servers: postgres://user@a,b/database"
                    .to_owned()
            }
            Some(_) => "see the log of the server".to_owned(),
            None if is_of_tls(error) => {
                "name the certificate of its authority with database_ca, or set sslmode in the URL".to_owned()
            }
            None if self.to_string().contains("password missing") => {
                format!("give the password of user {user} in database_password_file or the URL")
            }
            None => "check that the server is up and the address is right".to_owned(),
        };
        StoreError::Refused { message: format!("database {address}: {self}; {advice}") }
    }
}

fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}

/// The kinds of errors of the client are private; their texts are not.
fn is_of_value(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    ["parameter", "column", "rows"].iter().any(|word| text.contains(word))
}

fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string().contains("TLS")
}
