//! Turns rows of the inbox into tasks. A row is removed by the transaction that stores its task, so it becomes one once:
//! the transactions of all hosts are serial.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use wasmill_model::{Cause, NewTask, TaskId, TaskState, Timestamp};
use wasmill_store::{
    EventKind, EventPayload, InboxBacklog, InboxOutcome, InboxRequest, InboxTask, StoreError,
};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::queue::insert::{Insert, is_plain};
use crate::queue::new_rows::NewRows;
use crate::read::rows::{get, nanos, number, task_id};
use crate::writer::batch::{Batch, Operation};

/// Rows and bytes of input that one transaction takes.
const ROWS_MAX: i64 = 500;
const BYTES_MAX: i64 = 4 << 20;

const READ: &str = "
    SELECT seq, id, plugin, input::text, options::text,
        (extract(epoch FROM clock_timestamp() - at) * 1000)::bigint
    FROM inbox JOIN (SELECT seq, sum(input_bytes) OVER (ORDER BY seq) AS bytes, row_number() OVER (ORDER BY seq) AS place
        FROM (SELECT seq, input_bytes FROM inbox WHERE plugin <> ALL ($1) ORDER BY seq LIMIT $2) AS first) AS sized
        USING (seq)
    WHERE bytes <= $3::bigint OR place = 1 ORDER BY seq";
const HAS_ROWS: &str = "SELECT EXISTS (SELECT FROM inbox)";
const BACKLOG: &str = "
    SELECT count(*), coalesce((extract(epoch FROM clock_timestamp() - min(at)) * 1000)::bigint, 0)
    FROM (SELECT at FROM inbox ORDER BY seq LIMIT 10000) AS first";
const PRESENT: &str = "SELECT seq FROM inbox WHERE seq = ANY ($1)";
const REMOVE: &str = "DELETE FROM inbox WHERE seq = ANY ($1)";
const FAIL: &str = "
    UPDATE task SET state = 'failed', finished_at = $2, cause = $3, message = $4 WHERE seq = $1";

/// Returns true if there are rows.
pub(crate) async fn has_rows(connection: &Connection) -> Result<bool> {
    get(&connection.one(HAS_ROWS, &[]).await?, 0)
}

/// Reads the oldest rows, without those for these plugins.
pub(crate) async fn read(connection: &Connection, without: &[String]) -> Result<Vec<InboxRequest>> {
    let rows = connection.query(READ, &[&without, &ROWS_MAX, &BYTES_MAX]).await?;
    let request = |row| {
        Ok(InboxRequest {
            seq: get(row, 0)?,
            id: task_id(row, 1)?,
            plugin: get(row, 2)?,
            input: get(row, 3)?,
            options: get(row, 4)?,
            waited: Duration::from_millis(get::<i64>(row, 5)?.max(0).unsigned_abs()),
        })
    };
    rows.iter().map(request).collect()
}

pub(crate) async fn backlog(connection: &Connection) -> Result<InboxBacklog> {
    let row = connection.one(BACKLOG, &[]).await?;
    let oldest = Duration::from_millis(get::<i64>(&row, 1)?.max(0).unsigned_abs());
    Ok(InboxBacklog { rows: number(&row, 0)?, oldest })
}

/// Replaces rows by tasks.
#[derive(Debug)]
pub(crate) struct TakeInbox {
    pub(crate) tasks: Vec<InboxTask>,
    pub(crate) waiting_max: u64,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for TakeInbox {
    type Answer = Vec<InboxOutcome>;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        self.tasks.len() as u64
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Vec<InboxOutcome>> {
        let seqs: Vec<_> = self.tasks.iter().map(|task| task.seq).collect();
        let rows = batch.connection.query(PRESENT, &[&seqs]).await?;
        let present = rows.iter().map(|row| get(row, 0)).collect::<Result<HashSet<i64>>>()?;
        self.write_plain(batch, &present).await?;
        let (mut outcomes, mut done) = (Vec::with_capacity(self.tasks.len()), Vec::new());
        for task in &self.tasks {
            let outcome =
                if present.contains(&task.seq) { self.take(batch, task).await? } else { InboxOutcome::Gone };
            if !matches!(outcome, InboxOutcome::Gone | InboxOutcome::Full) {
                done.push(task.seq);
            }
            outcomes.push(outcome);
        }
        batch.connection.execute(REMOVE, &[&done]).await?;
        Ok(outcomes)
    }
}

impl TakeInbox {
    /// Writes with one statement the tasks of which nothing that is stored decides whether they are, if there is room for
    /// all.
    async fn write_plain(&self, batch: &mut Batch<'_>, present: &HashSet<i64>) -> Result<()> {
        let waiting = batch.writer_state.waiting + batch.written.new.len() as u64;
        if waiting + self.tasks.len() as u64 > self.waiting_max {
            return Ok(());
        }
        let mut rows = NewRows::default();
        for InboxTask { seq, task, refused } in &self.tasks {
            if present.contains(seq) && refused.is_none() && is_plain(task) && task.webhook.is_none() {
                rows.push(task, None, None);
            }
        }
        let written = rows.insert(batch.connection).await?;
        batch.written.new.extend(written);
        Ok(())
    }

    async fn take(&self, batch: &mut Batch<'_>, taken: &InboxTask) -> Result<InboxOutcome> {
        if let Some(why) = &taken.refused {
            return self.refuse(batch, &taken.task, why).await;
        }
        let insert = Insert { tasks: vec![taken.task.clone()], waiting_max: self.waiting_max, request: None };
        match insert.run(batch).await? {
            Ok(submitted) => Ok(match submitted.tasks.first() {
                Some(task) if task.holder.is_some() => InboxOutcome::Held(task.id),
                _ => InboxOutcome::Stored,
            }),
            Err(StoreError::Full { .. } | StoreError::PluginFull { .. }) => Ok(InboxOutcome::Full),
            Err(refusal) => self.refuse(batch, &taken.task, &refusal.to_string()).await,
        }
    }

    /// Stores a task that has failed, with nothing but its input: what is wrong may be any of the rest.
    async fn refuse(&self, batch: &mut Batch<'_>, task: &NewTask, why: &str) -> Result<InboxOutcome> {
        let (plugin, now) = (&task.plugin, self.now);
        let bare = NewTask {
            id: task.id,
            input: task.input.clone(),
            ..NewTask::new(plugin.clone(), now, task.timeout)
        };
        let (id, seq) = match stored(batch, &bare).await? {
            Some(seq) => (bare.id, seq),
            None => {
                // The client chose an id that another task has.
                let other = NewTask { id: TaskId::new(), ..bare };
                let Some(seq) = stored(batch, &other).await? else { return Ok(InboxOutcome::Gone) };
                (other.id, seq)
            }
        };
        let cause = Cause::InvalidRequest;
        batch.connection.execute(FAIL, &[&seq, &nanos(now), &cause.to_string(), &why.as_bytes()]).await?;
        batch.writer_state.observe_time(nanos(now));
        batch.record_move(plugin, None, None, Some(TaskState::Failed));
        for kind in [EventKind::Created, EventKind::Failed(cause)] {
            let event = EventPayload { task: id, plugin: plugin.clone(), attempt: 0, time: now, kind };
            batch.effects.events.push(event);
        }
        Ok(InboxOutcome::Refused(why.to_owned()))
    }
}

/// Stores the row of a task; `None` if its id exists.
async fn stored(batch: &Batch<'_>, task: &NewTask) -> Result<Option<i64>> {
    let mut rows = NewRows::default();
    rows.push(task, None, None);
    Ok(rows.insert(batch.connection).await?.remove(&task.id))
}
