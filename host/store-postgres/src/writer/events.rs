//! Gives events their numbers, so that no two hosts assign the same. The only host of a database reserves many and
//! publishes its events in memory; several hosts store them in the order of commits, and each reads those of the
//! others.

use async_trait::async_trait;
use tokio_postgres::Row;
use wasmill_model::Progress;
use wasmill_store::{Event, EventKind, EventPayload};

use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::read::rows::{get, nanos, number, optional, optional_time, parsed, task_id, time, uuid};
use crate::writer::batch::{Batch, Operation};

/// Numbers reserved per start.
const BLOCK: i64 = 1 << 32;

/// Stored events: as many as a host keeps in memory.
const KEPT: i64 = 1 << 16;

const RESERVE: &str = "UPDATE cluster SET events_reserved = $1 WHERE id = 0";
const STORE: &str = "
    INSERT INTO event (seq, task, plugin, attempt, at, kind, fraction, detail, ready_at)
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::float8[],
        $8::text[], $9::bigint[])";
const SINCE: &str = "
    SELECT seq, task, plugin, attempt, at, kind, fraction, detail, ready_at FROM event WHERE seq >= $1 ORDER BY seq";
const PRUNE: &str = "
    WITH kept AS (UPDATE cluster SET events_pruned = greatest(events_pruned, events_reserved - $1) WHERE id = 0
        RETURNING events_pruned)
    DELETE FROM event USING kept WHERE seq < kept.events_pruned";

/// Stores the events of a batch, or reserves more numbers when half of them are used.
pub(crate) async fn reserve(batch: &mut Batch<'_>) -> Result<()> {
    if batch.has_others {
        return store(batch).await;
    }
    let next = i64::try_from(batch.live_runs.event_bus.next()).unwrap_or(i64::MAX);
    if batch.writer_state.events_reserved - next > BLOCK / 2 {
        return Ok(());
    }
    batch.writer_state.events_reserved += BLOCK;
    batch.connection.execute(RESERVE, &[&batch.writer_state.events_reserved]).await?;
    Ok(())
}

async fn store(batch: &mut Batch<'_>) -> Result<()> {
    let events = &batch.effects.events;
    if events.is_empty() {
        return Ok(());
    }
    let first = batch.writer_state.events_reserved;
    let next = first + i64::try_from(events.len()).unwrap_or(i64::MAX);
    let stored: Vec<_> = events.iter().map(|event| StoredKind::new(&event.kind)).collect();
    batch
        .connection
        .execute(
            STORE,
            &[
                &(first..next).collect::<Vec<_>>(),
                &events.iter().map(|event| uuid(event.task)).collect::<Vec<_>>(),
                &events.iter().map(|event| event.plugin.as_str()).collect::<Vec<_>>(),
                &events.iter().map(|event| i64::from(event.attempt)).collect::<Vec<_>>(),
                &events.iter().map(|event| nanos(event.time)).collect::<Vec<_>>(),
                &events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(),
                &stored.iter().map(|stored| stored.fraction).collect::<Vec<_>>(),
                &stored.iter().map(|stored| stored.detail.as_deref()).collect::<Vec<_>>(),
                &stored.iter().map(|stored| stored.ready_at).collect::<Vec<_>>(),
            ],
        )
        .await?;
    batch.writer_state.events_reserved = next;
    batch.connection.execute(RESERVE, &[&next]).await?;
    Ok(())
}

/// What a kind of event has beside its name.
#[derive(Default)]
struct StoredKind {
    fraction: Option<f64>,
    detail: Option<String>,
    ready_at: Option<i64>,
}

impl StoredKind {
    fn new(kind: &EventKind) -> Self {
        match kind {
            EventKind::Progress(Progress { fraction, note }) => Self {
                fraction: Some(*fraction),
                // Text cannot hold NUL, which a guest may have written.
                detail: Some(note.replace('\0', "\u{fffd}")),
                ready_at: None,
            },
            EventKind::Suspended(until) | EventKind::Retrying(until) => {
                Self { ready_at: Some(nanos(*until)), ..Self::default() }
            }
            EventKind::Failed(cause) => Self { detail: Some(cause.to_string()), ..Self::default() },
            _ => Self::default(),
        }
    }
}

/// Reads the events from this number on; leaves out those that only a later version knows.
pub(crate) async fn since(connection: &Connection, seq: i64) -> Result<Vec<Event>> {
    let rows = connection.query(SINCE, &[&seq]).await?;
    Ok(rows.iter().filter_map(|row| event(row).ok()).collect())
}

fn event(row: &Row) -> Result<Event> {
    let until = || optional_time(row, 8)?.ok_or_else(|| Error::Value("an event without its time".to_owned()));
    let kind = match get::<&str>(row, 5)? {
        "created" => EventKind::Created,
        "started" => EventKind::Started,
        "progress" => EventKind::Progress(Progress {
            fraction: get::<Option<f64>>(row, 6)?.unwrap_or_default(),
            note: get::<Option<String>>(row, 7)?.unwrap_or_default(),
        }),
        "suspended" => EventKind::Suspended(until()?),
        "retrying" => EventKind::Retrying(until()?),
        "completed" => EventKind::Completed,
        "failed" => EventKind::Failed(
            optional(row, 7)?.ok_or_else(|| Error::Value("a failure without its cause".to_owned()))?,
        ),
        "cancelled" => EventKind::Cancelled,
        "deleted" => EventKind::Deleted,
        other => return Err(Error::Value(format!("'{other}' is no kind of event"))),
    };
    let payload = EventPayload {
        task: task_id(row, 1)?,
        plugin: parsed(row, 2)?,
        attempt: number(row, 3)?,
        time: time(row, 4)?,
        kind,
    };
    Ok(Event { seq: number(row, 0)?, payload })
}

/// Publishes progress to all hosts.
#[derive(Debug)]
pub(crate) struct PublishProgress {
    pub(crate) events: Vec<EventPayload>,
}

#[async_trait]
impl Operation for PublishProgress {
    type Answer = ();
    const DURABLE: bool = false;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<()> {
        batch.effects.events.extend(self.events.iter().cloned());
        Ok(())
    }
}

/// Removes events that no host keeps any more.
#[derive(Debug)]
pub(crate) struct PruneEvents;

#[async_trait]
impl Operation for PruneEvents {
    type Answer = u64;
    const DURABLE: bool = false;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<u64> {
        batch.connection.execute(PRUNE, &[&KEPT]).await
    }
}
