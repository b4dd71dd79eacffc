//! Contents that no task refers to: they begin so, and end so.
//!
//! The bytes of a content go between two commits: after the first nothing may refer to it again, and until the second it
//! is known that they may still be there. So a crash at any moment leaves nothing behind.

use async_trait::async_trait;
use uuid::Uuid;
use wasmill_model::{ContentId, Timestamp};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::content::parts::uuid;
use crate::read::rows::{get, nanos, size};
use crate::writer::batch::{Batch, Operation};

/// Maximum contents of one step of a sweep.
const STEP_MAX: usize = 64;

/// How long a content may be unused before a sweep removes it: longer than any upload and any run takes to store it.
const UNUSED_NANOS_MAX: i64 = 86_400_000_000_000;

const BEGIN: &str = "
    INSERT INTO unused_content (content, at, host) VALUES ($1, greatest($2::bigint, 1), $3) ON CONFLICT (content) DO NOTHING";
const TAKE: &str = "DELETE FROM unused_content WHERE content = ANY ($1::uuid[]) AND at >= 0";
const EXISTING: &str = "
    SELECT count(*) FROM unnest($1::uuid[]) AS asked (content)
    WHERE EXISTS (SELECT FROM unused_content u WHERE u.content = asked.content AND u.at >= 0)
        OR EXISTS (SELECT FROM task_file f WHERE f.content = asked.content)";
const AMONG: &str = "SELECT content FROM unused_content WHERE content = ANY ($1::uuid[])";
const OLDEST: &str = "SELECT content FROM unused_content WHERE at < $1 ORDER BY at LIMIT $2";
/// In use after all.
const FORGET_USED: &str = "
    DELETE FROM unused_content u
    WHERE content = ANY ($1::uuid[]) AND EXISTS (SELECT FROM task_file f WHERE f.content = u.content)";
const DOOM: &str = "UPDATE unused_content SET at = -1 WHERE content = ANY ($1::uuid[]) RETURNING content";
const FORGET: &str = "DELETE FROM unused_content WHERE content = ANY ($1::uuid[])";
/// What a dead host was writing will not be finished.
const RELEASE: &str = "
    UPDATE unused_content SET at = 0
    WHERE at > 0 AND NOT EXISTS (SELECT FROM host WHERE host.id = unused_content.host AND host.is_live)";

#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) content: ContentId,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for Begin {
    type Answer = ();
    const DURABLE: bool = false;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<()> {
        batch.connection.execute(BEGIN, &[&uuid(self.content), &nanos(self.now), &batch.host]).await?;
        Ok(())
    }
}

/// Marks contents that no task refers to, so that none ever will; returns them.
#[derive(Debug)]
pub(crate) struct Doom {
    pub(crate) contents: Vec<ContentId>,
}

#[async_trait]
impl Operation for Doom {
    type Answer = Vec<ContentId>;
    // The bytes go next: a task must not come back that refers to them.
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        self.contents.len() as u64
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Vec<ContentId>> {
        let contents = uuids(&self.contents);
        batch.connection.execute(FORGET_USED, &[&contents]).await?;
        read(&batch.connection.query(DOOM, &[&contents]).await?)
    }
}

/// Forgets contents whose bytes are gone. Lost in a crash of the server, it is done again.
#[derive(Debug)]
pub(crate) struct Forget {
    pub(crate) contents: Vec<ContentId>,
}

#[async_trait]
impl Operation for Forget {
    type Answer = ();
    const DURABLE: bool = false;

    fn cost(&self) -> u64 {
        self.contents.len() as u64
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<()> {
        batch.connection.execute(FORGET, &[&uuids(&self.contents)]).await?;
        Ok(())
    }
}

/// Returns true if a task may refer to these contents, no two of which are the same.
pub(crate) async fn exist(connection: &Connection, contents: &[ContentId]) -> Result<bool> {
    let found: i64 = get(&connection.one(EXISTING, &[&uuids(contents)]).await?, 0)?;
    Ok(found == size(contents.len()))
}

/// Records that a task refers to contents.
pub(crate) async fn take(connection: &Connection, contents: &[ContentId]) -> Result<()> {
    connection.execute(TAKE, &[&uuids(contents)]).await?;
    Ok(())
}

/// Lets the next sweep have what dead hosts were writing.
pub(crate) async fn release(connection: &Connection) -> Result<()> {
    connection.execute(RELEASE, &[]).await?;
    Ok(())
}

/// Returns those of these contents that may be unused.
pub(crate) async fn among(connection: &Connection, contents: &[ContentId]) -> Result<Vec<ContentId>> {
    read(&connection.query(AMONG, &[&uuids(contents)]).await?)
}

/// Returns some contents that may be removed by now.
pub(crate) async fn oldest(connection: &Connection, now: Timestamp) -> Result<Vec<ContentId>> {
    let before = nanos(now).saturating_sub(UNUSED_NANOS_MAX).max(1);
    read(&connection.query(OLDEST, &[&before, &size(STEP_MAX)]).await?)
}

fn uuids(contents: &[ContentId]) -> Vec<Uuid> {
    contents.iter().map(|content| uuid(*content)).collect()
}

fn read(rows: &[tokio_postgres::Row]) -> Result<Vec<ContentId>> {
    rows.iter().map(|row| Ok(ContentId::from_bytes(get::<Uuid>(row, 0)?.into_bytes()))).collect()
}
