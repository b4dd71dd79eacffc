//! Refuses a write-ahead log that is not the database's own: SQLite would apply it to whatever it finds.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use wasmill_store::StoreError;

use crate::file::migrations::COPY_ID;

/// Where the header of a database has its application id.
const APPLICATION_ID_AT: usize = 68;

/// Checks the files of a data folder before SQLite opens the database.
///
/// # Errors
///
/// [`StoreError::Refused`] if there is a log without its database, or beside a copy that was put in its place.
pub(crate) fn check(path: &Path) -> Result<(), StoreError> {
    let log = path.with_extension("db-wal");
    if !log.metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let (database, log) = (path.display(), log.display());
    match application_id(path) {
        None => Err(StoreError::Refused {
            message: format!(
                "database {database} is missing or empty, and {log} has changes of it; put the database back, \
                 or move {log} away to start with an empty one"
            ),
        }),
        Some(COPY_ID) => Err(StoreError::Refused {
            message: format!(
                "database {database} is a backup that was put in place, and {log} has changes of the database \
                 before it; move {log} and {} away, then start again",
                path.with_extension("db-shm").display()
            ),
        }),
        Some(_) => Ok(()),
    }
}

/// Reads the application id of a database without SQLite; `None` if the file has no header.
fn application_id(path: &Path) -> Option<i64> {
    let mut header = [0; 100];
    File::open(path).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    let (bytes, _) = header[APPLICATION_ID_AT..].split_first_chunk()?;
    Some(i64::from(i32::from_be_bytes(*bytes)))
}
