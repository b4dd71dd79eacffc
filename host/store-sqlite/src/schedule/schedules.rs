//! Schedules and when they are due.
//!
//! One operation starts due runs and advances the schedule, so none is lost or done twice.

use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension, Row, params};
use wasmill_model::{MissedPolicy, ScheduleName, TaskId, Timestamp};
use wasmill_store::{
    LastRun, NewSchedule, PutOutcome, RemoveScheduleOutcome, SPACE_SHARE, Schedule, StoreError,
};

use crate::read::rows::{nanos, parsed, size};
use crate::writer::batch::{Batch, Operation};

/// Builds a query for rows that [`schedule_row`] reads; `$task` is the task request, or NULL.
macro_rules! select_schedules {
    ($task:literal, $tail:literal) => {
        concat!(
            "SELECT name, from_manifest, cron, timezone, missed, overlap, ",
            $task,
            ", plugin, created_at, updated_at, revision, paused, next_at, last_due, last_at, last_task, runs, ",
            "skipped, last_error FROM schedule ",
            $tail
        )
    };
}

pub(crate) const ALL: &str = select_schedules!("NULL", "ORDER BY name");
pub(crate) const ONE: &str = select_schedules!("task", "WHERE name = ?1");
pub(crate) const DUE: &str =
    "SELECT name FROM schedule WHERE paused = 0 AND next_at <= ?1 ORDER BY next_at LIMIT ?2";
pub(crate) const NEXT: &str = "SELECT min(next_at) FROM schedule WHERE paused = 0 AND next_at > ?1";
pub(crate) const COUNT: &str = "SELECT count(*) FROM schedule";
/// Those of one space, whose names begin with it and a colon, before a semicolon.
pub(crate) const COUNT_WITHIN: &str =
    "SELECT count(*) FROM schedule WHERE name > ?1 || ':' AND name < ?1 || ';'";
pub(crate) const EVALUATED_UNTIL: &str = "SELECT evaluated_until FROM schedule WHERE name = ?1";
pub(crate) const MAKE: &str = "
    INSERT INTO schedule (name, from_manifest, cron, timezone, missed, overlap, task, plugin, created_at,
        updated_at, next_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)";
pub(crate) const REPLACE: &str = "
    UPDATE schedule SET cron = ?2, timezone = ?3, missed = ?4, overlap = ?5, task = ?6, plugin = ?7,
        updated_at = ?8, next_at = ?9, last_error = NULL, revision = revision + 1
    WHERE name = ?1";
pub(crate) const REMOVE: &str = "DELETE FROM schedule WHERE name = ?1";
pub(crate) const PAUSE: &str = "
    UPDATE schedule SET paused = ?2, next_at = ?3, last_error = NULL, revision = revision + 1 WHERE name = ?1";
pub(crate) const NOTE: &str = "
    UPDATE schedule SET last_error = ?4 WHERE name = ?1 AND created_at = ?2 AND revision = ?3";

fn schedule_row(row: &Row<'_>) -> rusqlite::Result<Schedule> {
    let moment = |column| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<_>>(column)?.map(DateTime::from_timestamp_nanos))
    };
    let (due, at) = (moment(13)?, moment(14)?);
    let last = at.zip(row.get::<_, Option<_>>(15)?);
    let missed: String = row.get(4)?;
    Ok(Schedule {
        name: parsed(row, 0)?,
        from_manifest: row.get(1)?,
        cron: row.get(2)?,
        timezone: row.get(3)?,
        // A policy of a later version falls back to the default.
        missed: MissedPolicy::of(&missed).unwrap_or_default(),
        overlap: row.get(5)?,
        task: row.get(6)?,
        plugin: parsed(row, 7)?,
        created_at: DateTime::from_timestamp_nanos(row.get(8)?),
        changed_at: DateTime::from_timestamp_nanos(row.get(9)?),
        revision: row.get(10)?,
        paused: row.get(11)?,
        next_at: moment(12)?,
        last: last.map(|(at, task)| LastRun { due, at, task: TaskId::from_bytes(task) }),
        runs: row.get::<_, i64>(16)?.cast_unsigned(),
        skipped: row.get::<_, i64>(17)?.cast_unsigned(),
        last_error: row.get(18)?,
    })
}

/// Returns all schedules by name.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<Schedule>> {
    connection.prepare_cached(ALL)?.query_map([], schedule_row)?.collect()
}

pub(crate) fn one(connection: &Connection, name: &ScheduleName) -> rusqlite::Result<Option<Schedule>> {
    connection.prepare_cached(ONE)?.query_row([name.as_str()], schedule_row).optional()
}

/// Returns up to `limit` due schedules, longest due first, and when the next one becomes due.
pub(crate) fn due(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<(Vec<ScheduleName>, Option<Timestamp>)> {
    let mut due = connection.prepare_cached(DUE)?;
    let names = due.query_map(params![nanos(now), size(limit)], |row| parsed(row, 0))?;
    let names = names.collect::<rusqlite::Result<_>>()?;
    let next: Option<i64> = connection.prepare_cached(NEXT)?.query_one([nanos(now)], |row| row.get(0))?;
    Ok((names, next.map(DateTime::from_timestamp_nanos)))
}

/// Returns true if the space of a name has as many schedules as it may.
fn is_space_full(connection: &Connection, name: &ScheduleName, limit: u64) -> rusqlite::Result<bool> {
    let space = name.space();
    if space.is_empty() {
        return Ok(false);
    }
    let mut count = connection.prepare_cached(COUNT_WITHIN)?;
    let count: i64 = count.query_one([space.as_str()], |row| row.get(0))?;
    Ok(count.cast_unsigned() >= limit.div_ceil(SPACE_SHARE))
}

/// Creates or replaces a schedule.
#[derive(Debug)]
pub(crate) struct PutSchedule {
    pub(crate) new: NewSchedule,
    /// Maximum number of schedules.
    pub(crate) limit: u64,
    pub(crate) now: Timestamp,
}

impl Operation for PutSchedule {
    type Answer = PutOutcome;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<PutOutcome> {
        let Self { new, limit, now } = self;
        let (connection, name) = (batch.connection, new.name.as_str());
        let Some(old) = one(connection, &new.name)? else {
            let count: i64 = connection.prepare_cached(COUNT)?.query_one([], |row| row.get(0))?;
            if count.cast_unsigned() >= *limit || is_space_full(connection, &new.name, *limit)? {
                return Ok(PutOutcome::TooMany);
            }
            connection.prepare_cached(MAKE)?.execute(params![
                name,
                new.from_manifest,
                new.timing.expression(),
                new.timing.zone(),
                new.missed.as_str(),
                new.overlap,
                new.task,
                new.plugin.as_str(),
                nanos(*now),
                new.timing.next_after(*now).map(nanos),
            ])?;
            return Ok(PutOutcome::Created(read_back(connection, &new.name)?));
        };
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
            let evaluated_until: Option<i64> =
                connection.prepare_cached(EVALUATED_UNTIL)?.query_one([name], |row| row.get(0))?;
            let evaluated_until = evaluated_until.map_or(*now, DateTime::from_timestamp_nanos);
            new.timing.next_after(evaluated_until.max(*now))
        };
        connection.prepare_cached(REPLACE)?.execute(params![
            name,
            new.timing.expression(),
            new.timing.zone(),
            new.missed.as_str(),
            new.overlap,
            new.task,
            new.plugin.as_str(),
            nanos(*now),
            next_at.map(nanos),
        ])?;
        Ok(PutOutcome::Replaced(read_back(connection, &new.name)?))
    }
}

fn read_back(connection: &Connection, name: &ScheduleName) -> rusqlite::Result<Schedule> {
    one(connection, name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// Removes a schedule that is managed this way; its tasks stay.
#[derive(Debug)]
pub(crate) struct RemoveSchedule {
    pub(crate) name: ScheduleName,
    pub(crate) from_manifest: bool,
}

impl Operation for RemoveSchedule {
    type Answer = RemoveScheduleOutcome;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<RemoveScheduleOutcome> {
        match one(batch.connection, &self.name)? {
            None => return Ok(RemoveScheduleOutcome::NotFound),
            Some(old) if old.from_manifest != self.from_manifest => {
                return Ok(RemoveScheduleOutcome::ManagedElsewhere);
            }
            Some(_) => {}
        }
        batch.connection.prepare_cached(REMOVE)?.execute([self.name.as_str()])?;
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

impl Operation for PauseSchedule {
    type Answer = Option<Schedule>;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Option<Schedule>> {
        let Some(old) = one(batch.connection, &self.name)? else { return Ok(None) };
        if old.paused == self.paused {
            return Ok(Some(old));
        }
        let next_at = if self.paused {
            old.next_at
        } else {
            old.timing().ok().and_then(|timing| timing.next_after(self.now))
        };
        let changed = params![self.name.as_str(), self.paused, next_at.map(nanos)];
        batch.connection.prepare_cached(PAUSE)?.execute(changed)?;
        one(batch.connection, &self.name)
    }
}

/// Records why a due schedule has not run.
#[derive(Debug)]
pub(crate) struct RecordScheduleError {
    pub(crate) schedule: Schedule,
    pub(crate) error: String,
}

impl Operation for RecordScheduleError {
    type Answer = ();
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let Schedule { name, created_at, revision, .. } = &self.schedule;
        let noted = params![name.as_str(), nanos(*created_at), revision, self.error];
        batch.connection.prepare_cached(NOTE)?.execute(noted)?;
        Ok(())
    }
}

/// Returns true if a task was refused because its unique key is held.
pub(crate) fn is_key_taken(refusal: &StoreError) -> bool {
    matches!(refusal, StoreError::KeyTaken { .. })
}
