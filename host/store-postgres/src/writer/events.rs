//! Gives events their numbers, so that no two hosts assign the same. The only host of a database reserves many and
//! publishes its events in memory; several hosts store them in the order of commits, and each reads those of the
//! others.

use std::ops::Range;

use async_trait::async_trait;
use tokio_postgres::Row;
use wasmill_model::Progress;
use wasmill_store::{Event, EventKind, EventPayload};

use crate::connection::database::{Connection, Write};
use crate::connection::fault::{Error, Result};
use crate::read::rows::{get, nanos, number, optional, optional_time, parsed, task_id, time, uuid};
use crate::writer::batch::{Batch, Operation};

/// Numbers reserved per start.
const BLOCK: i64 = 1 << 32;

/// Stored events: as many as a host keeps in memory.
const KEPT: i64 = 1 << 16;

const RESERVE: &str = "UPDATE cluster SET events_reserved = $1 WHERE id = 0";
const STORE: &str = "
    INSERT INTO event (seq, task, plugin, attempt, at, kind, fraction, ready_at, detail)
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::float8[],
        $8::bigint[], $9::text[])";
const SINCE: &str = "
    SELECT seq, task, plugin, attempt, at, kind, fraction, detail, ready_at FROM event WHERE seq >= $1 ORDER BY seq";
const PRUNE: &str = "
    WITH kept AS (UPDATE cluster SET events_pruned = greatest(events_pruned, events_reserved - $1) WHERE id = 0
        RETURNING events_pruned)
    DELETE FROM event USING kept WHERE seq < kept.events_pruned";

/// The numbers of the events of a batch.
#[must_use = "they are to be written"]
pub(crate) struct Numbers {
    /// Those of the events to store.
    stored: Range<i64>,
    /// From where on numbers are free, if that changes.
    reserved: Option<i64>,
}

impl Numbers {
    /// Gives the events of a batch their numbers if they are to be stored, or reserves more when half of them are used.
    pub(crate) fn take(batch: &mut Batch<'_>) -> Self {
        let first = batch.writer_state.events_reserved;
        let mut stored = first..first;
        if batch.has_others {
            stored.end += i64::try_from(batch.effects.events.len()).unwrap_or(i64::MAX);
            batch.writer_state.events_reserved = stored.end;
        } else {
            let next = i64::try_from(batch.live_runs.event_bus.next()).unwrap_or(i64::MAX);
            if first - next <= BLOCK / 2 {
                batch.writer_state.events_reserved += BLOCK;
            }
        }
        let reserved = batch.writer_state.events_reserved;
        Self { stored, reserved: (reserved != first).then_some(reserved) }
    }

    /// Stores the events and which numbers are free.
    pub(crate) fn writes<'a>(&self, events: &'a [EventPayload]) -> Vec<Write<'a>> {
        let Some(reserved) = self.reserved else { return Vec::new() };
        let mut writes = vec![Write { sql: RESERVE, values: vec![Box::new(reserved)] }];
        if !self.stored.is_empty() {
            writes.push(store(self.stored.clone(), events));
        }
        writes
    }
}

fn store(numbers: Range<i64>, events: &[EventPayload]) -> Write<'_> {
    let column = || events.iter();
    let stored: Vec<_> = column().map(|event| StoredKind::new(&event.kind)).collect();
    Write {
        sql: STORE,
        values: vec![
            Box::new(numbers.collect::<Vec<_>>()),
            Box::new(column().map(|event| uuid(event.task)).collect::<Vec<_>>()),
            Box::new(column().map(|event| event.plugin.as_str()).collect::<Vec<_>>()),
            Box::new(column().map(|event| i64::from(event.attempt)).collect::<Vec<_>>()),
            Box::new(column().map(|event| nanos(event.time)).collect::<Vec<_>>()),
            Box::new(column().map(|event| event.kind.as_str()).collect::<Vec<_>>()),
            Box::new(stored.iter().map(|stored| stored.fraction).collect::<Vec<_>>()),
            Box::new(stored.iter().map(|stored| stored.ready_at).collect::<Vec<_>>()),
            Box::new(stored.into_iter().map(|stored| stored.detail).collect::<Vec<_>>()),
        ],
    }
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
