//! Looks for files of tasks whose bytes are gone or cut.

use std::path::Path;

use rusqlite::{Connection, params};
use wasmill_model::{ContentId, TaskId};
use wasmill_store::StoreError;

use crate::config::{ExaminedFiles, MissingFile};
use crate::content::folder::ContentFolder;
use crate::file::examine;
use crate::file::fault::fault;

/// Maximum files that are looked at.
const FILES_MAX: usize = 100_000;

/// Looks for the bytes of the newest 100,000 files of tasks; a host may be using the data folder. Blocks the thread.
///
/// # Errors
///
/// [`StoreError::Unavailable`] or another error of the database if it cannot be read.
pub fn examine_files(dir: &Path) -> Result<ExaminedFiles, StoreError> {
    let path = &dir.join("wasmill.db");
    if !path.metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(ExaminedFiles::default());
    }
    let connection = examine::reader(dir, path)?;
    find(&connection, &ContentFolder::new(dir)).map_err(|error| fault(path, &error))
}

fn find(connection: &Connection, folder: &ContentFolder) -> rusqlite::Result<ExaminedFiles> {
    let mut examined = ExaminedFiles::default();
    let mut statement = connection.prepare(
        "SELECT task.id, name, content, bytes FROM task_file JOIN task USING (seq)
        ORDER BY task_file.seq DESC, direction DESC, name DESC LIMIT ?1",
    )?;
    let mut still_has = connection.prepare(
        "SELECT EXISTS (SELECT 1 FROM task_file JOIN task USING (seq) WHERE content = ?1 AND task.id = ?2)",
    )?;
    let mut rows = statement.query([crate::read::rows::size(FILES_MAX)])?;
    while let Some(row) = rows.next()? {
        let task = TaskId::from_bytes(row.get(0)?);
        let content = ContentId::from_bytes(row.get(2)?);
        let bytes = row.get::<_, i64>(3)?.cast_unsigned();
        examined.files += 1;
        examined.bytes += bytes;
        if folder.sealed(content).metadata().is_ok_and(|found| found.is_file() && found.len() == bytes) {
            continue;
        }
        // Its task may have been deleted meanwhile.
        let values = params![content.as_bytes(), task.as_bytes()];
        if still_has.query_one(values, |row| row.get(0))? {
            examined.missing += 1;
            examined.newest_missing.get_or_insert(MissingFile { task, name: row.get(1)? });
        }
    }
    Ok(examined)
}
