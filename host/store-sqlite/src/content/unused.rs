//! Contents that no task refers to: they begin so, and end so.
//!
//! The bytes of a content go between two commits: after the first nothing may refer to it again, and until the second it
//! is known that they may still be there. So a crash at any moment leaves nothing behind.

use rusqlite::{Connection, OptionalExtension, params};
use wasmill_model::{ContentId, Timestamp};

use crate::read::rows::{nanos, size};
use crate::writer::batch::{Batch, Operation};

/// Maximum contents of one step of a sweep.
const STEP_MAX: usize = 64;

/// How long a content may be unused before a sweep removes it: longer than any upload and any run takes to store it.
const UNUSED_NANOS_MAX: i64 = 86_400_000_000_000;

pub(crate) const BEGIN: &str = "INSERT INTO unused_content (content, at) VALUES (?1, max(?2, 1))";
pub(crate) const USE: &str = "DELETE FROM unused_content WHERE content = ?1 AND at >= 0";
pub(crate) const IS_USED: &str = "SELECT EXISTS (SELECT 1 FROM task_file WHERE content = ?1)";
pub(crate) const EXISTS: &str = "
    SELECT EXISTS (SELECT 1 FROM unused_content WHERE content = ?1 AND at >= 0)
        OR EXISTS (SELECT 1 FROM task_file WHERE content = ?1)";
pub(crate) const IS_UNUSED: &str = "SELECT EXISTS (SELECT 1 FROM unused_content WHERE content = ?1)";
pub(crate) const OLDEST: &str =
    "SELECT content FROM unused_content INDEXED BY unused_content_at WHERE at < ?1 ORDER BY at LIMIT ?2";
pub(crate) const DOOM: &str = "UPDATE unused_content SET at = -1 WHERE content = ?1";
pub(crate) const FORGET: &str = "DELETE FROM unused_content WHERE content = ?1";
/// Nobody is writing a content when a host starts.
pub(crate) const RELEASE_ALL: &str = "UPDATE unused_content SET at = 0 WHERE at > 0";

#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) content: ContentId,
    pub(crate) now: Timestamp,
}

impl Operation for Begin {
    type Answer = ();
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let values = params![self.content.as_bytes(), nanos(self.now)];
        batch.connection.prepare_cached(BEGIN)?.execute(values)?;
        Ok(())
    }
}

/// Marks contents that no task refers to, so that none ever will; returns them.
#[derive(Debug)]
pub(crate) struct Doom {
    pub(crate) contents: Vec<ContentId>,
}

impl Operation for Doom {
    type Answer = Vec<ContentId>;
    // The bytes go next: a task must not come back that refers to them.
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        self.contents.len() as u64
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Vec<ContentId>> {
        let connection = batch.connection;
        let mut doomed = Vec::new();
        for content in &self.contents {
            let is_used: bool =
                connection.prepare_cached(IS_USED)?.query_one([content.as_bytes()], |row| row.get(0))?;
            let sql = if is_used { FORGET } else { DOOM };
            let changed = connection.prepare_cached(sql)?.execute([content.as_bytes()])?;
            if !is_used && changed > 0 {
                doomed.push(*content);
            }
        }
        Ok(doomed)
    }
}

/// Forgets contents whose bytes are gone. Lost in a power cut, it is done again.
#[derive(Debug)]
pub(crate) struct Forget {
    pub(crate) contents: Vec<ContentId>,
}

impl Operation for Forget {
    type Answer = ();
    const DURABLE: bool = false;

    fn cost(&self) -> u64 {
        self.contents.len() as u64
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let mut forget = batch.connection.prepare_cached(FORGET)?;
        for content in &self.contents {
            forget.execute([content.as_bytes()])?;
        }
        Ok(())
    }
}

/// Returns true if a task may refer to a content.
pub(crate) fn exists(connection: &Connection, content: ContentId) -> rusqlite::Result<bool> {
    connection.prepare_cached(EXISTS)?.query_one([content.as_bytes()], |row| row.get(0))
}

/// Records that a task refers to a content.
pub(crate) fn take(connection: &Connection, content: ContentId) -> rusqlite::Result<()> {
    connection.prepare_cached(USE)?.execute([content.as_bytes()])?;
    Ok(())
}

/// Returns those of these contents that may be unused.
pub(crate) fn among(connection: &Connection, contents: &[ContentId]) -> rusqlite::Result<Vec<ContentId>> {
    let mut is_unused = connection.prepare_cached(IS_UNUSED)?;
    let mut unused = Vec::new();
    for content in contents {
        if is_unused.query_one([content.as_bytes()], |row| row.get(0))? {
            unused.push(*content);
        }
    }
    Ok(unused)
}

/// Returns some contents that may be removed by now.
pub(crate) fn oldest(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<ContentId>> {
    let before = nanos(now).saturating_sub(UNUSED_NANOS_MAX).max(1);
    let mut oldest = connection.prepare_cached(OLDEST)?;
    let rows =
        oldest.query_map(params![before, size(STEP_MAX)], |row| Ok(ContentId::from_bytes(row.get(0)?)));
    rows?.collect()
}

/// Returns true if a content is known, in use or not.
pub(crate) fn is_known(connection: &Connection, content: ContentId) -> rusqlite::Result<bool> {
    let is_in = |sql: &str| {
        let found = connection.prepare_cached(sql)?.query_row([content.as_bytes()], |row| row.get(0));
        Ok::<bool, rusqlite::Error>(found.optional()?.unwrap_or(false))
    };
    // In this order: what ceases to be unused while this looks is in use by then.
    Ok(is_in(IS_UNUSED)? || is_in(IS_USED)? || is_in(IS_UNUSED)?)
}
