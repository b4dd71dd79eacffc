//! The rows of the files of tasks.

use tokio_postgres::Row;
use uuid::Uuid;
use wasmill_model::{Content, ContentId, FileDirection, TaskFile, TaskId};
use wasmill_store::Claim;
use wasmill_store::rules::submit::files_bytes;

use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::content::parts::uuid;
use crate::content::unused;
use crate::read::rows::{self, get, number, parsed, seq};
use crate::writer::batch::Batch;

const ADD: &str = "
    INSERT INTO task_file (seq, is_output, name, media_type, content, bytes, sha256)
    SELECT $1, * FROM unnest($2::bool[], $3::text[], $4::text[], $5::uuid[], $6::bigint[], $7::bytea[])";
const ADD_OUT_BYTES: &str = "UPDATE task SET files_out = $2 WHERE seq = $1";
const EXISTS: &str = "SELECT seq, files_in IS NOT NULL OR files_out IS NOT NULL FROM task WHERE id = $1";
const LIST: &str = "
    SELECT is_output, name, media_type, content, bytes, sha256 FROM task_file WHERE seq = $1 ORDER BY is_output, name";

/// Returns true if a task may be stored with these files: all contents exist.
pub(crate) async fn exist(batch: &Batch<'_>, files: &[TaskFile]) -> Result<bool> {
    Ok(files.is_empty() || unused::exist(batch.connection, &contents(files)).await?)
}

/// Stores the rows of files whose contents exist.
pub(crate) async fn add(batch: &Batch<'_>, seq: i64, files: &[TaskFile]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let files_of = || files.iter();
    batch
        .connection
        .execute(
            ADD,
            &[
                &seq,
                &files_of().map(|file| file.direction == FileDirection::Output).collect::<Vec<_>>(),
                &files_of().map(|file| file.name.as_str()).collect::<Vec<_>>(),
                &files_of().map(|file| file.media.as_str()).collect::<Vec<_>>(),
                &files_of().map(|file| uuid(file.content.id)).collect::<Vec<_>>(),
                &files_of().map(|file| file.content.bytes.cast_signed()).collect::<Vec<_>>(),
                &files_of().map(|file| &file.content.sha256[..]).collect::<Vec<_>>(),
            ],
        )
        .await?;
    unused::take(batch.connection, &contents(files)).await
}

/// Stores the files that a completed run leaves.
pub(crate) async fn add_outputs(batch: &Batch<'_>, claim: &Claim, outputs: &[TaskFile]) -> Result<()> {
    if outputs.is_empty() {
        return Ok(());
    }
    if !exist(batch, outputs).await? {
        tracing::error!(task = %claim.id, "the files of a run were lost: they waited for a day to be stored");
        return Ok(());
    }
    let seq = seq(claim.task_ref());
    add(batch, seq, outputs).await?;
    batch.connection.execute(ADD_OUT_BYTES, &[&seq, &files_bytes(outputs).cast_signed()]).await?;
    Ok(())
}

/// Reads the files of a task; `None` if it does not exist.
pub(crate) async fn of_task(connection: &Connection, id: TaskId) -> Result<Option<Vec<TaskFile>>> {
    let Some(row) = connection.optional(EXISTS, &[&rows::uuid(id)]).await? else { return Ok(None) };
    let (seq, has_any): (i64, bool) = (get(&row, 0)?, get(&row, 1)?);
    Ok(Some(if has_any { of_row(connection, seq).await? } else { Vec::new() }))
}

/// Reads the files of the task in this row.
pub(crate) async fn of_row(connection: &Connection, seq: i64) -> Result<Vec<TaskFile>> {
    connection.query(LIST, &[&seq]).await?.iter().map(file).collect()
}

fn file(row: &Row) -> Result<TaskFile> {
    let direction = if get(row, 0)? { FileDirection::Output } else { FileDirection::Input };
    let sha256: &[u8] = get(row, 5)?;
    let sha256 = sha256.try_into().map_err(|_| Error::Value("a SHA-256 has 32 bytes".to_owned()))?;
    let id = ContentId::from_bytes(get::<Uuid>(row, 3)?.into_bytes());
    let content = Content { id, bytes: number(row, 4)?, sha256 };
    Ok(TaskFile { direction, name: parsed(row, 1)?, media: parsed(row, 2)?, content })
}

fn contents(files: &[TaskFile]) -> Vec<ContentId> {
    files.iter().map(|file| file.content.id).collect()
}
