//! Deliveries: made due when a task finishes, found by origin, and recorded attempt by attempt.
//!
//! Insert, finish and cancel call it within their batch. A task without a webhook costs nothing.

use async_trait::async_trait;
use tokio_postgres::Row;
use wasmill_model::{TaskId, TaskState, Timestamp, Webhook};
use wasmill_store::{
    AttemptOutcome, Delivery, DeliveryAttempt, DeliveryBacklog, DeliveryState, DueDeliveries, DueQuery,
    Redelivery, WebhookStatus,
};

use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::read::rows::{
    duration, get, millis, nanos, number, optional_time, outcome_bit, seq, size, state, task_id, task_ref,
    time, uuid,
};
use crate::writer::batch::{Batch, Operation};

/// Attempts kept per delivery, the newest.
const ATTEMPTS_KEPT: u32 = 20;

/// Maximum pending deliveries counted.
const COUNTED_MAX: usize = 100_000;

/// Maximum origins per query. The next query continues there.
const ORIGINS_MAX: usize = 1_000;

/// Maximum wait for the next attempt: 30 days in nanoseconds. A longer one was set while the clock was ahead.
const WAIT_NANOS_MAX: i64 = 30 * 86_400_000_000_000;

const ADD: &str = "INSERT INTO webhook (seq, url, origin) VALUES ($1, $2, $3)";
const BEGIN: &str = "
    UPDATE webhook SET state = 'pending', pending_since = $2, next_attempt_at = $2
    FROM task WHERE webhook.seq = $1 AND task.seq = $1 AND task.webhook_on & $3 <> 0";
const ORIGIN: &str = "
    SELECT origin FROM webhook WHERE state = 'pending' AND origin > $1 ORDER BY origin LIMIT 1";
const DUE: &str = "
    SELECT webhook.seq, task.id, url, attempts, attempts_before, round
    FROM webhook JOIN task ON task.seq = webhook.seq
    WHERE webhook.state = 'pending' AND origin = $1 AND next_attempt_at <= $2
    ORDER BY next_attempt_at, webhook.seq LIMIT $3";
const NEXT: &str = "
    SELECT min(next_attempt_at) FROM webhook WHERE state = 'pending' AND origin = $1 AND next_attempt_at > $2";
/// An attempt that started before a redelivery request must not decide what comes next.
const TRIED: &str = "
    UPDATE webhook SET state = CASE WHEN round = $5 THEN $3 ELSE 'pending' END,
        next_attempt_at = CASE WHEN round = $5 THEN $4 ELSE next_attempt_at END, attempts = attempts + 1
    WHERE seq = $1 AND attempts = $2 AND state = 'pending'";
const ADD_ATTEMPT: &str = "
    INSERT INTO webhook_attempt (seq, number, at, took_ms, status, error) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (seq, number) DO UPDATE SET at = excluded.at, took_ms = excluded.took_ms,
        status = excluded.status, error = excluded.error";
const DROP_ATTEMPTS: &str = "DELETE FROM webhook_attempt WHERE seq = $1 AND number <= $2";
const FIND: &str = "
    SELECT task.seq, task.state, webhook_on, url, webhook.state, next_attempt_at, attempts
    FROM task LEFT JOIN webhook ON webhook.seq = task.seq WHERE id = $1";
const ATTEMPTS: &str = "
    SELECT at, took_ms, status, error FROM webhook_attempt WHERE seq = $1 ORDER BY number";
const AGAIN: &str = "
    UPDATE webhook SET state = 'pending',
        pending_since = CASE WHEN state = 'pending' THEN pending_since ELSE $2 END,
        next_attempt_at = $2, attempts_before = attempts, round = round + 1
    WHERE seq = $1";
const BACKLOG: &str = "
    SELECT count(*), min(pending_since) FROM (
        SELECT pending_since FROM webhook WHERE state = 'pending' ORDER BY pending_since LIMIT $1) AS pending";
const SHORTEN: &str = "
    UPDATE webhook SET next_attempt_at = $1::bigint
    WHERE state = 'pending' AND next_attempt_at > CASE WHEN attempts = attempts_before THEN $1 ELSE $1 + $2::bigint END";

/// Returns the final states that trigger a webhook, in stored form.
pub(crate) fn bits(webhook: &Webhook) -> i64 {
    webhook.on.iter().fold(0, |bits, state| bits | outcome_bit(*state))
}

/// Reads the final states from their stored form.
pub(crate) fn ends(bits: i64) -> Vec<TaskState> {
    TaskState::ALL.into_iter().filter(|state| bits & outcome_bit(*state) != 0).collect()
}

/// Stores the webhook of a new task.
pub(crate) async fn add(batch: &Batch<'_>, seq: i64, webhook: &Webhook) -> Result<()> {
    batch.connection.execute(ADD, &[&seq, &webhook.url, &webhook.origin]).await?;
    Ok(())
}

/// Makes the delivery of a finishing task due, if its webhook asks for this state.
pub(crate) async fn begin(batch: &mut Batch<'_>, seq: i64, end: TaskState, now: Timestamp) -> Result<()> {
    let rows = batch.connection.execute(BEGIN, &[&seq, &nanos(now), &outcome_bit(end)]).await?;
    batch.effects.wait_for_delivery |= rows > 0;
    Ok(())
}

/// Shortens waits that a clock that went back made too long.
pub(crate) async fn shorten_waits(connection: &Connection, now: i64) -> Result<()> {
    connection.execute(SHORTEN, &[&now, &WAIT_NANOS_MAX]).await?;
    Ok(())
}

/// Finds due deliveries, origin by origin.
pub(crate) async fn due(connection: &Connection, query: &DueQuery) -> Result<DueDeliveries> {
    let mut due = DueDeliveries::default();
    let mut origin = query.after.clone().unwrap_or_default();
    for _ in 0..ORIGINS_MAX {
        let Some(row) = connection.optional(ORIGIN, &[&origin]).await? else { return Ok(due) };
        origin = get(&row, 0)?;
        if !query.busy_origins.contains(&origin) {
            let values: crate::connection::database::Params<'_> =
                &[&origin, &nanos(query.now), &size(query.per_origin)];
            for row in connection.query(DUE, values).await? {
                due.deliveries.push(delivery(&row, &origin)?);
            }
        }
        let later = optional_time(&connection.one(NEXT, &[&origin, &nanos(query.now)]).await?, 0)?;
        due.next_at = due.next_at.into_iter().chain(later).min();
        if due.deliveries.len() >= query.limit {
            break;
        }
    }
    due.stopped_at = Some(origin);
    Ok(due)
}

fn delivery(row: &Row, origin: &str) -> Result<Delivery> {
    Ok(Delivery {
        task_ref: task_ref(get(row, 0)?),
        task: task_id(row, 1)?,
        url: get(row, 2)?,
        origin: origin.to_owned(),
        attempts: number(row, 3)?,
        attempts_before: number(row, 4)?,
        round: get(row, 5)?,
    })
}

/// Records an attempt and what follows; false if the delivery is gone or was restarted since.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) delivery: Delivery,
    pub(crate) tried: DeliveryAttempt,
    pub(crate) after: AttemptOutcome,
}

#[async_trait]
impl Operation for Tried {
    type Answer = bool;
    const DURABLE: bool = false;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<bool> {
        let Delivery { task_ref, attempts, round, .. } = self.delivery;
        let (seq, attempts) = (seq(task_ref), i64::from(attempts));
        let (state, next_at) = match self.after {
            AttemptOutcome::RetryAt(at) => (DeliveryState::Pending, Some(nanos(at))),
            AttemptOutcome::Delivered => (DeliveryState::Delivered, None),
            AttemptOutcome::GivenUp => (DeliveryState::GivenUp, None),
        };
        let tried =
            batch.connection.execute(TRIED, &[&seq, &attempts, &state.as_str(), &next_at, &round]).await?;
        if tried == 0 {
            return Ok(false);
        }
        let DeliveryAttempt { at, took, status, error } = &self.tried;
        let status = status.map(i64::from);
        batch
            .connection
            .execute(ADD_ATTEMPT, &[&seq, &(attempts + 1), &nanos(*at), &millis(*took), &status, error])
            .await?;
        let dropped = attempts + 1 - i64::from(ATTEMPTS_KEPT);
        if dropped > 0 {
            batch.connection.execute(DROP_ATTEMPTS, &[&seq, &dropped]).await?;
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

#[async_trait]
impl Operation for Redeliver {
    type Answer = Redelivery;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Redelivery> {
        let Some(row) = batch.connection.optional(FIND, &[&uuid(self.task)]).await? else {
            return Ok(Redelivery::NotFound);
        };
        match delivery_state(&row, 4)? {
            None => Ok(Redelivery::NoWebhook),
            Some(DeliveryState::Idle) => Ok(Redelivery::Idle(state(&row, 1)?)),
            Some(_) => {
                batch.connection.execute(AGAIN, &[&get::<i64>(&row, 0)?, &nanos(self.now)]).await?;
                batch.effects.wait_for_delivery = true;
                Ok(Redelivery::Due)
            }
        }
    }
}

/// Reads the webhook of a task.
pub(crate) async fn log(connection: &Connection, task: TaskId) -> Result<Option<Option<WebhookStatus>>> {
    let Some(row) = connection.optional(FIND, &[&uuid(task)]).await? else { return Ok(None) };
    let Some(bits) = get::<Option<i64>>(&row, 2)? else { return Ok(Some(None)) };
    let attempts = connection.query(ATTEMPTS, &[&get::<i64>(&row, 0)?]).await?;
    Ok(Some(Some(WebhookStatus {
        url: get(&row, 3)?,
        on: ends(bits),
        state: delivery_state(&row, 4)?.unwrap_or(DeliveryState::Idle),
        next_at: optional_time(&row, 5)?,
        attempts: number(&row, 6)?,
        recent_attempts: attempts.iter().map(attempt).collect::<Result<_>>()?,
    })))
}

fn attempt(row: &Row) -> Result<DeliveryAttempt> {
    let status = get::<Option<i64>>(row, 2)?.and_then(|status| u16::try_from(status).ok());
    Ok(DeliveryAttempt { at: time(row, 0)?, took: duration(row, 1)?, status, error: get(row, 3)? })
}

/// Counts pending deliveries.
pub(crate) async fn backlog(connection: &Connection) -> Result<DeliveryBacklog> {
    let row = connection.one(BACKLOG, &[&size(COUNTED_MAX)]).await?;
    Ok(DeliveryBacklog { pending: number(&row, 0)?, oldest: optional_time(&row, 1)? })
}

/// Counts pending deliveries up to this number.
pub(crate) async fn pending(connection: &Connection, counted_max: i64) -> Result<u64> {
    number(&connection.one(BACKLOG, &[&counted_max]).await?, 0)
}

/// Reads the state of a delivery; `None` without a webhook.
fn delivery_state(row: &Row, column: usize) -> Result<Option<DeliveryState>> {
    let Some(found) = get::<Option<&str>>(row, column)? else { return Ok(None) };
    let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == found);
    state.map(Some).ok_or_else(|| Error::Value(format!("'{found}' is no state of a delivery")))
}
