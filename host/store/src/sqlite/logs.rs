//! Reads logs: what is stored of ended runs, and what the running one holds in memory.

use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension};
use wasmill_model::{TaskId, TaskState, Timestamp};

use super::queries::LOG;
use super::rows::{damaged, state};
use crate::log::Body;
use crate::report::{ReportBoard, ReportCell};
use crate::{Lines, LiveLog};

/// How often a task is looked at again that moved between two looks.
const LOOKS: usize = 3;

/// What a task has of a log at one moment.
struct Found {
    state: TaskState,
    body: Vec<u8>,
    /// What stands for the time of lines that have none.
    at: Timestamp,
    live: Option<ReportCell>,
}

/// Reads lines behind the number `after`, as many as asked for; `None` if there is no such task.
pub(super) fn lines(
    connection: &Connection,
    id: TaskId,
    after: u64,
    lines_max: usize,
    reports: &ReportBoard,
) -> rusqlite::Result<Option<Lines>> {
    let Some(found) = find(connection, id, reports)? else { return Ok(None) };
    let mut lines = Vec::new();
    Body(&found.body).read(after, lines_max, found.at, &mut lines).map_err(damaged)?;
    let live = found.live.map(LiveLog::new);
    if let Some(live) = &live
        && lines.len() < lines_max
    {
        let after = lines.last().map_or(after, |line| line.seq);
        lines.extend(live.read(after, lines_max - lines.len(), usize::MAX));
    }
    Ok(Some(Lines { lines, state: found.state, live }))
}

/// Reads the log of the newest run that wrote one, as text.
pub(super) fn text(
    connection: &Connection,
    id: TaskId,
    reports: &ReportBoard,
) -> rusqlite::Result<Option<String>> {
    let Some(found) = find(connection, id, reports)? else { return Ok(None) };
    let live = found.live.and_then(|live| live.log().part()?.text());
    live.map_or_else(|| Body(&found.body).text().map_err(damaged), |text| Ok(Some(text)))
}

fn find(connection: &Connection, id: TaskId, reports: &ReportBoard) -> rusqlite::Result<Option<Found>> {
    let mut statement = connection.prepare_cached(LOG)?;
    let mut looks = 0;
    loop {
        let found = statement.query_row([id.as_bytes()], |row| {
            let (seq, token): (i64, i64) = (row.get(0)?, row.get(1)?);
            let state = state(row, 2)?;
            let body = row.get::<_, Option<Vec<u8>>>(3)?.unwrap_or_default();
            let live = if state == TaskState::Running { reports.live(seq, token) } else { None };
            Ok(Found { state, body, at: DateTime::from_timestamp_nanos(row.get(4)?), live })
        });
        looks += 1;
        match found.optional()? {
            // It started or ended a moment ago, and the board does not show it yet or no more.
            Some(Found { state: TaskState::Running, live: None, .. }) if looks < LOOKS => {
                reports.hub.settle();
            }
            found => return Ok(found),
        }
    }
}
