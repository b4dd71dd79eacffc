//! The rows of the files of tasks.

use rusqlite::{Connection, OptionalExtension, Row, params};
use wasmill_model::{Content, ContentId, FileDirection, TaskFile, TaskId};
use wasmill_store::Claim;
use wasmill_store::rules::submit::files_bytes;

use crate::content::unused;
use crate::read::rows::{parsed, seq};
use crate::writer::batch::Batch;

pub(crate) const ADD: &str = "
    INSERT INTO task_file (seq, direction, name, media_type, content, bytes, sha256)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
pub(crate) const ADD_OUT_BYTES: &str = "UPDATE task SET files_out = ?2 WHERE seq = ?1";
pub(crate) const EXISTS: &str =
    "SELECT seq, files_in IS NOT NULL OR files_out IS NOT NULL FROM task WHERE id = ?1";
pub(crate) const LIST: &str = "
    SELECT direction, name, media_type, content, bytes, sha256 FROM task_file WHERE seq = ?1
    ORDER BY direction, name";

/// Returns true if a task may be stored with these files: all contents exist.
pub(crate) fn exist(batch: &Batch<'_>, files: &[TaskFile]) -> rusqlite::Result<bool> {
    for file in files {
        if !unused::exists(batch.connection, file.content.id)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Stores the rows of files whose contents exist.
pub(crate) fn add(batch: &Batch<'_>, seq: i64, files: &[TaskFile]) -> rusqlite::Result<()> {
    for file in files {
        let TaskFile { direction, name, media, content } = file;
        batch.connection.prepare_cached(ADD)?.execute(params![
            seq,
            *direction == FileDirection::Output,
            name.as_str(),
            media.as_str(),
            content.id.as_bytes(),
            content.bytes.cast_signed(),
            content.sha256,
        ])?;
        unused::take(batch.connection, content.id)?;
    }
    Ok(())
}

/// Stores the files that a completed run leaves.
pub(crate) fn add_outputs(batch: &Batch<'_>, claim: &Claim, outputs: &[TaskFile]) -> rusqlite::Result<()> {
    if outputs.is_empty() {
        return Ok(());
    }
    if !exist(batch, outputs)? {
        tracing::error!(task = %claim.id, "the files of a run were lost: they waited for a day to be stored");
        return Ok(());
    }
    let seq = seq(claim.task_ref());
    add(batch, seq, outputs)?;
    let bytes = files_bytes(outputs).cast_signed();
    batch.connection.prepare_cached(ADD_OUT_BYTES)?.execute([seq, bytes])?;
    Ok(())
}

/// Reads the files of a task; `None` if it does not exist.
pub(crate) fn of_task(connection: &Connection, id: TaskId) -> rusqlite::Result<Option<Vec<TaskFile>>> {
    // Both statements need the same snapshot.
    let snapshot = connection.unchecked_transaction()?;
    let found = snapshot
        .prepare_cached(EXISTS)?
        .query_row([id.as_bytes()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))
        .optional()?;
    found.map(|(seq, has_any)| if has_any { of_row(&snapshot, seq) } else { Ok(Vec::new()) }).transpose()
}

/// Reads the files of the task in this row.
pub(crate) fn of_row(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<TaskFile>> {
    let mut list = connection.prepare_cached(LIST)?;
    let rows = list.query_map([seq], file)?;
    rows.collect()
}

fn file(row: &Row<'_>) -> rusqlite::Result<TaskFile> {
    let direction = if row.get(0)? { FileDirection::Output } else { FileDirection::Input };
    let bytes = row.get::<_, i64>(4)?.cast_unsigned();
    let content = Content { id: ContentId::from_bytes(row.get(3)?), bytes, sha256: row.get(5)? };
    Ok(TaskFile { direction, name: parsed(row, 1)?, media: parsed(row, 2)?, content })
}
