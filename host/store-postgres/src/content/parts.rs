//! The bytes of contents, a part in each row. They are written and removed without the turn: nothing refers to them yet, or
//! ever again.

use uuid::Uuid;
use wasmill_model::ContentId;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::get;

const WRITE: &str = "INSERT INTO content_part (content, part, body) VALUES ($1, $2, $3) ON CONFLICT (content, part) DO NOTHING";
const READ: &str = "SELECT body FROM content_part WHERE content = $1 AND part = $2";
const EXISTS: &str = "
    SELECT EXISTS (SELECT FROM task_file WHERE content = $1) OR EXISTS (SELECT FROM unused_content WHERE content = $1)";
/// A few at once: each is a MiB.
const REMOVE: &str = "
    DELETE FROM content_part WHERE content = $1 AND part IN (SELECT part FROM content_part WHERE content = $1 LIMIT 16)";

/// Returns a content in stored form.
pub(crate) fn uuid(content: ContentId) -> Uuid {
    Uuid::from_bytes(*content.as_bytes())
}

/// Writes a part.
pub(crate) async fn write(
    connection: &Connection,
    content: ContentId,
    part: u64,
    bytes: &[u8],
) -> Result<()> {
    connection.execute(WRITE, &[&uuid(content), &part.cast_signed(), &bytes]).await?;
    Ok(())
}

/// Reads a part, empty after the end; `None` if there is no such content.
pub(crate) async fn read(connection: &Connection, content: ContentId, part: u64) -> Result<Option<Vec<u8>>> {
    if let Some(row) = connection.optional(READ, &[&uuid(content), &part.cast_signed()]).await? {
        return Ok(Some(get(&row, 0)?));
    }
    let exists: bool = get(&connection.one(EXISTS, &[&uuid(content)]).await?, 0)?;
    Ok(exists.then(Vec::new))
}

/// Removes the parts of contents.
pub(crate) async fn remove(connection: &Connection, contents: &[ContentId]) -> Result<()> {
    for content in contents {
        while connection.execute(REMOVE, &[&uuid(*content)]).await? > 0 {}
    }
    Ok(())
}
