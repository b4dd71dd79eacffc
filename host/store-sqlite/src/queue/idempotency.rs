//! Idempotency keys: stored answers and their expiry.
//!
//! The insert and the readers call it.

use rusqlite::{Connection, OptionalExtension, params};
use wasmill_model::Timestamp;
use wasmill_store::stored::answer;
use wasmill_store::{IdempotencyKey, StoreError, StoredSteps, Submitted, SubmittedTask};

use crate::read::rows::{nanos, size};
use crate::writer::batch::{Batch, Operation};

/// How long an answer is kept: 24 hours.
const KEPT_NANOS: i64 = 86_400_000_000_000;

/// Maximum keys that one step removes, and bytes of answers after which it ends early: a few milliseconds
/// that other writes wait for.
const STEP_MAX: usize = 500;
const STEP_BYTES_MAX: i64 = 4 << 20;

pub(crate) const FIND: &str = "SELECT seq, digest, created_at, answer FROM idempotency WHERE key = ?1";
pub(crate) const STEPS: &str =
    "SELECT key, created_at, answer FROM idempotency WHERE key >= ?1 AND key < ?2 ORDER BY key";
pub(crate) const KEEP: &str =
    "INSERT INTO idempotency (key, digest, created_at, answer) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const OLDEST: &str =
    "SELECT seq, created_at, octet_length(answer) FROM idempotency ORDER BY seq LIMIT ?1";
pub(crate) const FORGET: &str = "DELETE FROM idempotency WHERE seq = ?1";

/// Returns true if an answer from `created_at` has expired, or is from a clock that was far ahead.
fn is_over(created_at: i64, now: i64) -> bool {
    created_at < now.saturating_sub(KEPT_NANOS) || created_at > now.saturating_add(KEPT_NANOS)
}

/// Returns the stored answer of a key.
pub(crate) fn find(
    connection: &Connection,
    request: &IdempotencyKey,
    now: Timestamp,
) -> rusqlite::Result<Option<Result<Submitted, StoreError>>> {
    let mut find = connection.prepare_cached(FIND)?;
    let found = find.query_row([&request.key], |row| {
        Ok((row.get::<_, [u8; 32]>(1)?, row.get::<_, i64>(2)?, row.get::<_, Vec<u8>>(3)?))
    });
    let Some((digest, created_at, answer)) = found.optional()? else { return Ok(None) };
    if is_over(created_at, nanos(now)) {
        return Ok(None);
    }
    if digest != request.digest {
        return Ok(Some(Err(StoreError::KeyReused { key: request.as_chosen().to_owned() })));
    }
    Ok(Some(Ok(Submitted { tasks: answer::read(&answer), replayed: true })))
}

/// Sums up the answers of keys that start with this one and a line feed.
pub(crate) fn steps(
    connection: &Connection,
    request: &IdempotencyKey,
    now: Timestamp,
) -> rusqlite::Result<StoredSteps> {
    let (first, behind) = (format!("{}\n", request.key), format!("{}\u{b}", request.key));
    let mut statement = connection.prepare_cached(STEPS)?;
    let mut rows = statement.query([&first, &behind])?;
    let mut steps = StoredSteps::default();
    while let Some(row) = rows.next()? {
        if is_over(row.get(1)?, nanos(now)) {
            continue;
        }
        let key: String = row.get(0)?;
        steps.names.push(key[first.len()..].to_owned());
        for task in answer::read(row.get_ref(2)?.as_blob()?) {
            *if task.holder.is_some() { &mut steps.held } else { &mut steps.stored } += 1;
        }
    }
    Ok(steps)
}

/// Stores the answer to a request in place of an expired one.
pub(crate) fn keep(
    connection: &Connection,
    request: &IdempotencyKey,
    tasks: &[SubmittedTask],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut find = connection.prepare_cached(FIND)?;
    if let Some(over) = find.query_row([&request.key], |row| row.get::<_, i64>(0)).optional()? {
        connection.prepare_cached(FORGET)?.execute([over])?;
    }
    let mut keep = connection.prepare_cached(KEEP)?;
    keep.execute(params![request.key, request.digest, nanos(now), answer::write(tasks)])?;
    Ok(())
}

/// Returns true if the oldest answer has expired.
pub(crate) fn any_over(connection: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    let mut oldest = connection.prepare_cached(OLDEST)?;
    let created_at = oldest.query_row([1], |row| row.get::<_, i64>(1)).optional()?;
    Ok(created_at.is_some_and(|created_at| is_over(created_at, nanos(now))))
}

/// Removes expired answers, oldest first.
#[derive(Debug)]
pub(crate) struct PruneKeys {
    pub(crate) now: Timestamp,
}

impl Operation for PruneKeys {
    type Answer = u64;
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<u64> {
        let mut oldest = batch.connection.prepare_cached(OLDEST)?;
        let mut rows = oldest.query([size(STEP_MAX)])?;
        let (mut over, mut bytes) = (Vec::new(), 0);
        while bytes < STEP_BYTES_MAX
            && let Some(row) = rows.next()?
            && is_over(row.get(1)?, nanos(self.now))
        {
            over.push(row.get::<_, i64>(0)?);
            bytes += row.get::<_, i64>(2)?;
        }
        drop(rows);
        let mut forget = batch.connection.prepare_cached(FORGET)?;
        for seq in &over {
            forget.execute([seq])?;
        }
        Ok(over.len() as u64)
    }
}
