//! Idempotency keys: stored answers and their expiry.

use async_trait::async_trait;
use wasmill_model::Timestamp;
use wasmill_store::stored::answer;
use wasmill_store::{IdempotencyKey, StoreError, StoredSteps, Submitted, SubmittedTask};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{get, nanos, size};
use crate::writer::batch::{Batch, Operation};

/// How long an answer is kept: 24 hours.
const KEPT_NANOS: i64 = 86_400_000_000_000;

/// Maximum keys that one step removes.
const STEP_MAX: usize = 500;

const FIND: &str = "SELECT digest, created_at, answer FROM idempotency WHERE key = $1";
const STEPS: &str = "
    SELECT key, created_at, answer FROM idempotency WHERE key >= $1 AND key < $2 ORDER BY key";
const KEEP: &str = "
    INSERT INTO idempotency (key, digest, created_at, answer) VALUES ($1, $2, $3, $4)";
const OLDEST: &str = "SELECT created_at FROM idempotency ORDER BY seq LIMIT 1";
const REPLACED: &str = "DELETE FROM idempotency WHERE key = $1";
/// The oldest that have expired, up to the first that has not.
const FORGET: &str = "
    WITH oldest AS (SELECT seq, created_at FROM idempotency ORDER BY seq LIMIT $3),
        kept AS (SELECT min(seq) AS seq FROM oldest WHERE created_at BETWEEN $1 AND $2)
    DELETE FROM idempotency USING oldest, kept
    WHERE idempotency.seq = oldest.seq AND (kept.seq IS NULL OR oldest.seq < kept.seq)";

/// Returns true if an answer from `created_at` has expired, or is from a clock that was far ahead.
fn is_over(created_at: i64, now: i64) -> bool {
    created_at < now.saturating_sub(KEPT_NANOS) || created_at > now.saturating_add(KEPT_NANOS)
}

/// Returns the stored answer of a key.
pub(crate) async fn find(
    connection: &Connection,
    request: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<std::result::Result<Submitted, StoreError>>> {
    let Some(row) = connection.optional(FIND, &[&request.key]).await? else { return Ok(None) };
    if is_over(get(&row, 1)?, nanos(now)) {
        return Ok(None);
    }
    if get::<&[u8]>(&row, 0)? != request.digest {
        return Ok(Some(Err(StoreError::KeyReused { key: request.as_chosen().to_owned() })));
    }
    Ok(Some(Ok(Submitted { tasks: answer::read(get(&row, 2)?), replayed: true })))
}

/// Sums up the answers of keys that start with this one and a line feed.
pub(crate) async fn steps(
    connection: &Connection,
    request: &IdempotencyKey,
    now: Timestamp,
) -> Result<StoredSteps> {
    let (first, behind) = (format!("{}\n", request.key), format!("{}\u{b}", request.key));
    let mut steps = StoredSteps::default();
    for row in connection.query(STEPS, &[&first, &behind]).await? {
        if is_over(get(&row, 1)?, nanos(now)) {
            continue;
        }
        let key: &str = get(&row, 0)?;
        steps.names.push(key[first.len()..].to_owned());
        for task in answer::read(get(&row, 2)?) {
            *if task.holder.is_some() { &mut steps.held } else { &mut steps.stored } += 1;
        }
    }
    Ok(steps)
}

/// Stores the answer to a request in place of an expired one.
pub(crate) async fn keep(
    connection: &Connection,
    request: &IdempotencyKey,
    tasks: &[SubmittedTask],
    now: Timestamp,
) -> Result<()> {
    connection.execute(REPLACED, &[&request.key]).await?;
    let answer = answer::write(tasks);
    connection.execute(KEEP, &[&request.key, &&request.digest[..], &nanos(now), &answer]).await?;
    Ok(())
}

/// Returns true if the oldest answer has expired.
pub(crate) async fn any_over(connection: &Connection, now: Timestamp) -> Result<bool> {
    let row = connection.optional(OLDEST, &[]).await?;
    row.map_or(Ok(false), |row| Ok(is_over(get(&row, 0)?, nanos(now))))
}

/// Removes expired answers, oldest first.
#[derive(Debug)]
pub(crate) struct PruneKeys {
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for PruneKeys {
    type Answer = u64;
    const DURABLE: bool = false;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<u64> {
        let now = nanos(self.now);
        let (from, to) = (now.saturating_sub(KEPT_NANOS), now.saturating_add(KEPT_NANOS));
        batch.connection.execute(FORGET, &[&from, &to, &size(STEP_MAX)]).await
    }
}
