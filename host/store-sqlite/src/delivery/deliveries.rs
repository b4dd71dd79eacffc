//! Deliveries: made due when a task finishes, found by origin, and recorded attempt by attempt.
//!
//! Insert, finish and cancel call it within their batch. A task without a webhook costs nothing.

use chrono::DateTime;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use wasmill_model::{TaskId, TaskState, Timestamp, Webhook};
use wasmill_store::{
    AttemptOutcome, Delivery, DeliveryAttempt, DeliveryBacklog, DeliveryState, DueDeliveries, DueQuery,
    Redelivery, WebhookStatus,
};

use crate::read::rows::{millis, nanos, outcome_bit, seq, size, state, task_ref, timeout};
use crate::writer::batch::{Batch, Operation};

/// Attempts kept per delivery, the newest.
const ATTEMPTS_KEPT: u32 = 20;

/// Maximum pending deliveries counted: a few milliseconds of a reader.
const COUNTED_MAX: usize = 100_000;

/// Maximum origins per query: a few milliseconds of a reader. The next query continues there.
const ORIGINS_MAX: usize = 1_000;

/// Maximum wait for the next attempt: 30 days in nanoseconds. A longer one was set while the clock was ahead.
const WAIT_NANOS_MAX: i64 = 30 * 86_400_000_000_000;

pub(crate) const ADD: &str = "INSERT INTO webhook (seq, url, origin) VALUES (?1, ?2, ?3)";
pub(crate) const BEGIN: &str = "
    UPDATE webhook SET state = 'pending', pending_since = ?2, next_attempt_at = ?2
    WHERE seq = ?1 AND (SELECT webhook_on & ?3 FROM task WHERE task.seq = ?1)";
pub(crate) const ORIGIN: &str = "
    SELECT origin FROM webhook INDEXED BY webhook_pending
    WHERE state = 'pending' AND origin > ?1 ORDER BY origin LIMIT 1";
pub(crate) const DUE: &str = "
    SELECT webhook.seq, task.id, url, attempts, attempts_before, round
    FROM webhook INDEXED BY webhook_pending CROSS JOIN task ON task.seq = webhook.seq
    WHERE webhook.state = 'pending' AND origin = ?1 AND next_attempt_at <= ?2
    ORDER BY next_attempt_at LIMIT ?3";
pub(crate) const NEXT: &str = "
    SELECT min(next_attempt_at) FROM webhook INDEXED BY webhook_pending
    WHERE state = 'pending' AND origin = ?1 AND next_attempt_at > ?2";
/// An attempt that started before a redelivery request must not decide what comes next.
pub(crate) const TRIED: &str = "
    UPDATE webhook SET state = iif(round = ?5, ?3, 'pending'),
        next_attempt_at = iif(round = ?5, ?4, next_attempt_at), attempts = attempts + 1
    WHERE seq = ?1 AND attempts = ?2 AND state = 'pending'";
pub(crate) const ADD_ATTEMPT: &str = "
    INSERT OR REPLACE INTO webhook_attempt (seq, number, at, took_ms, status, error)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(crate) const DROP_ATTEMPTS: &str = "DELETE FROM webhook_attempt WHERE seq = ?1 AND number <= ?2";
pub(crate) const FIND: &str = "
    SELECT task.seq, task.state, webhook_on, url, webhook.state, next_attempt_at, attempts
    FROM task LEFT JOIN webhook ON webhook.seq = task.seq WHERE id = ?1";
pub(crate) const ATTEMPTS: &str = "
    SELECT at, took_ms, status, error FROM webhook_attempt WHERE seq = ?1 ORDER BY number";
pub(crate) const AGAIN: &str = "
    UPDATE webhook SET state = 'pending', pending_since = iif(state = 'pending', pending_since, ?2),
        next_attempt_at = ?2, attempts_before = attempts, round = round + 1
    WHERE seq = ?1";
pub(crate) const PENDING: &str =
    "SELECT count(*) FROM (SELECT 1 FROM webhook INDEXED BY webhook_oldest WHERE state = 'pending' LIMIT ?1)";
pub(crate) const OLDEST: &str =
    "SELECT min(pending_since) FROM webhook INDEXED BY webhook_oldest WHERE state = 'pending'";
pub(crate) const SHORTEN: &str = "
    UPDATE webhook INDEXED BY webhook_pending SET next_attempt_at = ?1
    WHERE state = 'pending' AND next_attempt_at > iif(attempts = attempts_before, ?1, ?1 + ?2)";

/// All statements, for the test of query plans.
#[cfg(test)]
pub(crate) const STATEMENTS: [&str; 14] = [
    ADD,
    BEGIN,
    ORIGIN,
    DUE,
    NEXT,
    TRIED,
    ADD_ATTEMPT,
    DROP_ATTEMPTS,
    FIND,
    ATTEMPTS,
    AGAIN,
    PENDING,
    OLDEST,
    SHORTEN,
];

/// Returns the final states that trigger a webhook, in stored form.
pub(crate) fn bits(webhook: &Webhook) -> i64 {
    webhook.on.iter().fold(0, |bits, state| bits | outcome_bit(*state))
}

/// Reads the final states from their stored form.
pub(crate) fn ends(bits: i64) -> Vec<TaskState> {
    TaskState::ALL.into_iter().filter(|state| bits & outcome_bit(*state) != 0).collect()
}

/// Stores the webhook of a new task.
pub(crate) fn add(batch: &Batch<'_>, seq: i64, webhook: &Webhook) -> rusqlite::Result<()> {
    batch.connection.prepare_cached(ADD)?.execute(params![seq, webhook.url, webhook.origin])?;
    Ok(())
}

/// Makes the delivery of a finishing task due, if its webhook asks for this state.
pub(crate) fn begin(batch: &mut Batch<'_>, seq: i64, end: TaskState, now: Timestamp) -> rusqlite::Result<()> {
    let rows = batch.connection.prepare_cached(BEGIN)?.execute(params![seq, nanos(now), outcome_bit(end)])?;
    batch.effects.wait_for_delivery |= rows > 0;
    Ok(())
}

/// Shortens waits that a clock that went back made too long.
pub(crate) fn shorten_waits(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    connection.prepare_cached(SHORTEN)?.execute([now, WAIT_NANOS_MAX])?;
    Ok(())
}

/// Finds due deliveries, origin by origin.
pub(crate) fn due(connection: &Connection, query: &DueQuery) -> rusqlite::Result<DueDeliveries> {
    let snapshot = connection.unchecked_transaction()?;
    let mut due = DueDeliveries::default();
    let mut next_at: Option<i64> = None;
    let mut origin = query.after.clone().unwrap_or_default();
    for _ in 0..ORIGINS_MAX {
        let mut next = snapshot.prepare_cached(ORIGIN)?;
        let Some(found) = next.query_row([&origin], |row| row.get::<_, String>(0)).optional()? else {
            due.next_at = next_at.map(DateTime::from_timestamp_nanos);
            return Ok(due);
        };
        origin = found;
        if !query.busy_origins.contains(&origin) {
            let mut find = snapshot.prepare_cached(DUE)?;
            let rows = find.query_map(params![origin, nanos(query.now), size(query.per_origin)], |row| {
                Ok(Delivery {
                    task_ref: task_ref(row.get(0)?),
                    task: TaskId::from_bytes(row.get(1)?),
                    url: row.get(2)?,
                    origin: origin.clone(),
                    attempts: row.get(3)?,
                    attempts_before: row.get(4)?,
                    round: row.get(5)?,
                })
            })?;
            for row in rows {
                due.deliveries.push(row?);
            }
        }
        let mut later = snapshot.prepare_cached(NEXT)?;
        let later: Option<i64> = later.query_one(params![origin, nanos(query.now)], |row| row.get(0))?;
        next_at = next_at.into_iter().chain(later).min();
        if due.deliveries.len() >= query.limit {
            break;
        }
    }
    due.next_at = next_at.map(DateTime::from_timestamp_nanos);
    due.stopped_at = Some(origin);
    Ok(due)
}

/// Records an attempt and what follows; false if the delivery is gone or was restarted since.
///
/// Not durable: after a power cut the receiver may get the delivery again.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) delivery: Delivery,
    pub(crate) tried: DeliveryAttempt,
    pub(crate) after: AttemptOutcome,
}

impl Operation for Tried {
    type Answer = bool;
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        let Delivery { task_ref, attempts, round, .. } = self.delivery;
        let seq = seq(task_ref);
        let (state, next_at) = match self.after {
            AttemptOutcome::RetryAt(at) => (DeliveryState::Pending, Some(nanos(at))),
            AttemptOutcome::Delivered => (DeliveryState::Delivered, None),
            AttemptOutcome::GivenUp => (DeliveryState::GivenUp, None),
        };
        let mut tried = batch.connection.prepare_cached(TRIED)?;
        if tried.execute(params![seq, attempts, state.as_str(), next_at, round])? == 0 {
            return Ok(false);
        }
        let DeliveryAttempt { at, took, status, error } = &self.tried;
        let mut keep = batch.connection.prepare_cached(ADD_ATTEMPT)?;
        keep.execute(params![seq, attempts + 1, nanos(*at), millis(*took), status, error])?;
        if attempts >= ATTEMPTS_KEPT {
            batch
                .connection
                .prepare_cached(DROP_ATTEMPTS)?
                .execute(params![seq, attempts + 1 - ATTEMPTS_KEPT])?;
        }
        Ok(true)
    }
}

/// Makes a delivery due again, whatever its state.
#[derive(Debug)]
pub(crate) struct Redeliver {
    pub(crate) task: TaskId,
    pub(crate) now: Timestamp,
}

impl Operation for Redeliver {
    type Answer = Redelivery;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Redelivery> {
        let mut find = batch.connection.prepare_cached(FIND)?;
        let found = find.query_row([self.task.as_bytes()], |row| {
            Ok((row.get::<_, i64>(0)?, state(row, 1)?, delivery_state(row, 4)?))
        });
        let Some((seq, of_task, delivery)) = found.optional()? else { return Ok(Redelivery::NotFound) };
        drop(find);
        match delivery {
            None => Ok(Redelivery::NoWebhook),
            Some(DeliveryState::Idle) => Ok(Redelivery::Idle(of_task)),
            Some(_) => {
                batch.connection.prepare_cached(AGAIN)?.execute(params![seq, nanos(self.now)])?;
                batch.effects.wait_for_delivery = true;
                Ok(Redelivery::Due)
            }
        }
    }
}

/// Reads the webhook of a task.
pub(crate) fn log(connection: &Connection, task: TaskId) -> rusqlite::Result<Option<Option<WebhookStatus>>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut find = snapshot.prepare_cached(FIND)?;
    let found = find.query_row([task.as_bytes()], |row| {
        let Some(bits) = row.get::<_, Option<i64>>(2)? else { return Ok(None) };
        let log = WebhookStatus {
            url: row.get(3)?,
            on: ends(bits),
            state: delivery_state(row, 4)?.unwrap_or(DeliveryState::Idle),
            next_at: row.get::<_, Option<_>>(5)?.map(DateTime::from_timestamp_nanos),
            attempts: row.get(6)?,
            recent_attempts: Vec::new(),
        };
        Ok(Some((row.get::<_, i64>(0)?, log)))
    });
    let Some(found) = found.optional()? else { return Ok(None) };
    let Some((seq, mut log)) = found else { return Ok(Some(None)) };
    let mut attempts = snapshot.prepare_cached(ATTEMPTS)?;
    let rows = attempts.query_map([seq], |row| {
        Ok(DeliveryAttempt {
            at: DateTime::from_timestamp_nanos(row.get(0)?),
            took: timeout(row, 1)?,
            status: row.get(2)?,
            error: row.get(3)?,
        })
    })?;
    log.recent_attempts = rows.collect::<rusqlite::Result<_>>()?;
    Ok(Some(Some(log)))
}

/// Counts pending deliveries.
pub(crate) fn backlog(connection: &Connection) -> rusqlite::Result<DeliveryBacklog> {
    let mut count = connection.prepare_cached(PENDING)?;
    let pending: i64 = count.query_one([size(COUNTED_MAX)], |row| row.get(0))?;
    let oldest: Option<i64> = connection.prepare_cached(OLDEST)?.query_one([], |row| row.get(0))?;
    Ok(DeliveryBacklog {
        pending: pending.cast_unsigned(),
        oldest: oldest.map(DateTime::from_timestamp_nanos),
    })
}

/// Reads the state of a delivery from a column; `None` without a webhook.
fn delivery_state(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<DeliveryState>> {
    let Some(found) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == found);
    state.map(Some).ok_or_else(|| {
        let error = format!("'{found}' is no state of a delivery");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}
