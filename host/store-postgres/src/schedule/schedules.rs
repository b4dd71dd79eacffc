//! Schedules and when they are due.
//!
//! One operation starts due runs and advances the schedule, so none is lost or done twice.

use async_trait::async_trait;
use tokio_postgres::Row;
use wasmill_model::{MissedPolicy, ScheduleName, Timestamp};
use wasmill_store::{
    LastRun, NewSchedule, PutOutcome, RemoveScheduleOutcome, SPACE_SHARE, Schedule, StoreError,
};

use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};
use crate::read::rows::{get, nanos, number, optional_time, parsed, size, task_id, time};
use crate::writer::batch::{Batch, Operation};

/// Builds a query for rows that [`schedule_row`] reads; `$task` is the task request, or NULL.
macro_rules! select_schedules {
    ($task:literal, $tail:literal) => {
        concat!(
            "SELECT name, from_manifest, cron, timezone, missed, overlap, ",
            $task,
            ", plugin, created_at, updated_at, revision, paused, next_at, last_due, last_at, last_task, runs, ",
            "skipped, last_error, evaluated_until FROM schedule ",
            $tail
        )
    };
}

const ALL: &str = select_schedules!("NULL::text", "ORDER BY name");
const ONE: &str = select_schedules!("task", "WHERE name = $1");
#[cfg(test)]
pub(crate) const EXPANDED: [&str; 2] = [ALL, ONE];
const DUE: &str = "SELECT name FROM schedule WHERE NOT paused AND next_at <= $1 ORDER BY next_at LIMIT $2";
const NEXT: &str = "SELECT min(next_at) FROM schedule WHERE NOT paused AND next_at > $1";
const COUNT: &str = "SELECT count(*) FROM schedule";
/// Those of one space, whose names begin with it and a colon, before a semicolon.
const COUNT_WITHIN: &str =
    "SELECT count(*) FROM schedule WHERE name > $1::text || ':' AND name < $1::text || ';'";
const MAKE: &str = "
    INSERT INTO schedule (name, from_manifest, cron, timezone, missed, overlap, task, plugin, created_at,
        updated_at, next_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)";
const REPLACE: &str = "
    UPDATE schedule SET cron = $2, timezone = $3, missed = $4, overlap = $5, task = $6, plugin = $7,
        updated_at = $8, next_at = $9, last_error = NULL, revision = revision + 1
    WHERE name = $1";
const REMOVE: &str = "DELETE FROM schedule WHERE name = $1";
const PAUSE: &str = "
    UPDATE schedule SET paused = $2, next_at = $3, last_error = NULL, revision = revision + 1 WHERE name = $1";
const NOTE: &str =
    "UPDATE schedule SET last_error = $4 WHERE name = $1 AND created_at = $2 AND revision = $3";

fn schedule_row(row: &Row) -> Result<Schedule> {
    let last = match optional_time(row, 14)? {
        Some(at) => Some(LastRun { due: optional_time(row, 13)?, at, task: task_id(row, 15)? }),
        None => None,
    };
    Ok(Schedule {
        name: parsed(row, 0)?,
        from_manifest: get(row, 1)?,
        cron: get(row, 2)?,
        timezone: get(row, 3)?,
        // A policy of a later version falls back to the default.
        missed: MissedPolicy::of(get(row, 4)?).unwrap_or_default(),
        overlap: get(row, 5)?,
        task: get(row, 6)?,
        plugin: parsed(row, 7)?,
        created_at: time(row, 8)?,
        changed_at: time(row, 9)?,
        revision: get(row, 10)?,
        paused: get(row, 11)?,
        next_at: optional_time(row, 12)?,
        last,
        runs: number(row, 16)?,
        skipped: number(row, 17)?,
        last_error: get(row, 18)?,
    })
}

/// Returns all schedules by name.
pub(crate) async fn all(connection: &Connection) -> Result<Vec<Schedule>> {
    connection.query(ALL, &[]).await?.iter().map(schedule_row).collect()
}

pub(crate) async fn one(connection: &Connection, name: &ScheduleName) -> Result<Option<Schedule>> {
    let row = connection.optional(ONE, &[&name.as_str()]).await?;
    row.as_ref().map(schedule_row).transpose()
}

/// Returns up to `limit` due schedules, longest due first, and when the next one becomes due.
pub(crate) async fn due(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<ScheduleName>, Option<Timestamp>)> {
    let rows = connection.query(DUE, &[&nanos(now), &size(limit)]).await?;
    let names = rows.iter().map(|row| parsed(row, 0)).collect::<Result<_>>()?;
    Ok((names, optional_time(&connection.one(NEXT, &[&nanos(now)]).await?, 0)?))
}

/// Creates or replaces a schedule.
#[derive(Debug)]
pub(crate) struct PutSchedule {
    pub(crate) new: NewSchedule,
    /// Maximum number of schedules.
    pub(crate) limit: u64,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for PutSchedule {
    type Answer = PutOutcome;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<PutOutcome> {
        let Self { new, limit, now } = self;
        let (connection, name) = (batch.connection, new.name.as_str());
        let Some(row) = connection.optional(ONE, &[&name]).await? else {
            let count: u64 = number(&connection.one(COUNT, &[]).await?, 0)?;
            let space = new.name.space();
            let within: u64 = number(&connection.one(COUNT_WITHIN, &[&space.as_str()]).await?, 0)?;
            let is_full = !space.is_empty() && within >= limit.div_ceil(SPACE_SHARE);
            if count >= *limit || is_full {
                return Ok(PutOutcome::TooMany);
            }
            connection
                .execute(
                    MAKE,
                    &[
                        &name,
                        &new.from_manifest,
                        &new.timing.expression(),
                        &new.timing.zone(),
                        &new.missed.as_str(),
                        &new.overlap,
                        &new.task,
                        &new.plugin.as_str(),
                        &nanos(*now),
                        &new.timing.next_after(*now).map(nanos),
                    ],
                )
                .await?;
            return Ok(PutOutcome::Created(read_back(connection, &new.name).await?));
        };
        let old = schedule_row(&row)?;
        if old.from_manifest != new.from_manifest {
            return Ok(PutOutcome::NameTaken);
        }
        // Putting the same schedule again must not lose a due run.
        let is_same_time =
            (old.cron.as_str(), old.timezone.as_str()) == (new.timing.expression(), new.timing.zone());
        let next_at = if is_same_time {
            old.next_at
        } else {
            // Never before the last evaluated time, although the clock may have gone back.
            new.timing.next_after(optional_time(&row, 19)?.unwrap_or(*now).max(*now))
        };
        connection
            .execute(
                REPLACE,
                &[
                    &name,
                    &new.timing.expression(),
                    &new.timing.zone(),
                    &new.missed.as_str(),
                    &new.overlap,
                    &new.task,
                    &new.plugin.as_str(),
                    &nanos(*now),
                    &next_at.map(nanos),
                ],
            )
            .await?;
        Ok(PutOutcome::Replaced(read_back(connection, &new.name).await?))
    }
}

async fn read_back(connection: &Connection, name: &ScheduleName) -> Result<Schedule> {
    one(connection, name).await?.ok_or_else(|| Error::Value("a schedule is gone".to_owned()))
}

/// Removes a schedule that is managed this way; its tasks stay.
#[derive(Debug)]
pub(crate) struct RemoveSchedule {
    pub(crate) name: ScheduleName,
    pub(crate) from_manifest: bool,
}

#[async_trait]
impl Operation for RemoveSchedule {
    type Answer = RemoveScheduleOutcome;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<RemoveScheduleOutcome> {
        match one(batch.connection, &self.name).await? {
            None => return Ok(RemoveScheduleOutcome::NotFound),
            Some(old) if old.from_manifest != self.from_manifest => {
                return Ok(RemoveScheduleOutcome::ManagedElsewhere);
            }
            Some(_) => {}
        }
        batch.connection.execute(REMOVE, &[&self.name.as_str()]).await?;
        Ok(RemoveScheduleOutcome::Removed)
    }
}

/// Pauses a schedule, or resumes it from now.
#[derive(Debug)]
pub(crate) struct PauseSchedule {
    pub(crate) name: ScheduleName,
    pub(crate) paused: bool,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for PauseSchedule {
    type Answer = Option<Schedule>;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Option<Schedule>> {
        let Some(old) = one(batch.connection, &self.name).await? else { return Ok(None) };
        if old.paused == self.paused {
            return Ok(Some(old));
        }
        let next_at = if self.paused {
            old.next_at
        } else {
            old.timing().ok().and_then(|timing| timing.next_after(self.now))
        };
        batch.connection.execute(PAUSE, &[&self.name.as_str(), &self.paused, &next_at.map(nanos)]).await?;
        one(batch.connection, &self.name).await
    }
}

/// Records why a due schedule has not run.
#[derive(Debug)]
pub(crate) struct RecordScheduleError {
    pub(crate) schedule: Schedule,
    pub(crate) error: String,
}

#[async_trait]
impl Operation for RecordScheduleError {
    type Answer = ();
    const DURABLE: bool = false;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<()> {
        let Schedule { name, created_at, revision, .. } = &self.schedule;
        batch.connection.execute(NOTE, &[&name.as_str(), &nanos(*created_at), revision, &self.error]).await?;
        Ok(())
    }
}

/// Returns true if a run is skipped for this refusal: another task holds its unique key.
pub(crate) fn is_key_taken(refusal: &StoreError) -> bool {
    matches!(refusal, StoreError::KeyTaken { .. })
}
