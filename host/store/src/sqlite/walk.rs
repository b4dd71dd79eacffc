//! Lists that are filtered. They walk an index, newest first, and give up after a while.
//!
//! Few of many tasks may fit. So that no request costs more than a bounded walk, a page may end before
//! it is full, and says where to go on. The states that are rare have an index of their own.

use rusqlite::{Connection, Row, params};
use wasmill_model::{Group, ScheduleName, TaskState, UniqueKey};

use super::rows::{nanos, size, state, tags};
use crate::{Filter, TaskRef};

/// How many rows one page looks at in the order in which they lie: some 8 ms.
const WALK_MAX: usize = 40_000;

/// How many rows one page looks at by an index, which takes as long.
const JUMP_MAX: usize = 3_000;

/// How many waiting tasks are sorted for a page rather than walking the table for them.
const SORT_MAX: u64 = 10_000;

// Tags, schedule, group and key stand behind the result, which may be large: they are read only where there is
// none, or if one of them is asked for, by whose index the tasks are found then.
macro_rules! walk {
    ($tail:literal) => {
        concat!("SELECT seq, state, plugin, created_at, id, NULL, NULL, NULL, NULL FROM task ", $tail)
    };
}

macro_rules! walk_open {
    ($tail:literal) => {
        concat!(
            "SELECT seq, state, plugin, created_at, id, tags, schedule, grp, unique_key FROM task ",
            $tail
        )
    };
}

pub(super) const ALL: &str = walk!("WHERE seq < ?1 ORDER BY seq DESC");
/// Sorts all that wait: only for few.
pub(super) const WAITING: &str =
    walk!("INDEXED BY task_waiting WHERE state = 0 AND seq < ?1 ORDER BY seq DESC");
pub(super) const RUNNING: &str =
    walk!("INDEXED BY task_running WHERE state = 1 AND seq < ?1 ORDER BY seq DESC");
pub(super) const FAILED: &str =
    walk!("INDEXED BY task_failed WHERE state = 3 AND seq < ?1 ORDER BY seq DESC");
pub(super) const CANCELLED: &str =
    walk!("INDEXED BY task_cancelled WHERE state = 4 AND seq < ?1 ORDER BY seq DESC");
pub(super) const ALL_WAITING: &str = walk_open!("INDEXED BY task_waiting WHERE state = 0");
pub(super) const ALL_RUNNING: &str = walk_open!("INDEXED BY task_running WHERE state = 1");
pub(super) const TAGGED: &str = "
    SELECT task.seq, state, plugin, created_at, id, tags, schedule, grp, unique_key
    FROM tag CROSS JOIN task ON task.seq = tag.seq
    WHERE tag.name = ?2 AND tag.seq < ?1 ORDER BY tag.seq DESC";
pub(super) const OF_SCHEDULE: &str =
    walk_open!("INDEXED BY task_of_schedule WHERE schedule = ?2 AND seq < ?1 ORDER BY seq DESC");
pub(super) const OF_GROUP: &str =
    walk_open!("INDEXED BY task_of_group WHERE grp = ?2 AND seq < ?1 ORDER BY seq DESC");
pub(super) const OF_KEY: &str =
    walk_open!("INDEXED BY task_of_key WHERE unique_key = ?2 AND seq < ?1 ORDER BY seq DESC");

pub(super) const ONE: &str = walk_open!("WHERE seq = ?1");
/// From the index of ids alone.
pub(super) const IDS: &str = "SELECT seq FROM task WHERE id BETWEEN ?1 AND ?2 AND seq < ?3 LIMIT ?4";

/// What a walk came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Walked {
    /// The tasks that fit, newest first.
    pub(super) seqs: Vec<i64>,
    /// Where it stopped, if there may be more: everything from there on was looked at.
    pub(super) stopped: Option<i64>,
}

/// Finds up to `most` tasks that fit, of those before this place.
pub(super) fn walk(
    connection: &Connection,
    filter: &Filter,
    before: i64,
    most: usize,
    waiting: u64,
) -> rusqlite::Result<Walked> {
    if let Some(seqs) = of_id(connection, filter, before)? {
        return walk_these(connection, &seqs, filter, most);
    }
    let mut walked = Walked::default();
    let ways = match by_label(filter) {
        Some(way) => vec![way],
        None => by_state(filter, waiting).into_iter().map(|sql| (sql, None)).collect(),
    };
    let looks_max = if ways[..] == [(ALL, None)] { WALK_MAX } else { JUMP_MAX / ways.len() };
    for way in ways {
        let one = walk_one(connection, way, filter, before, most, looks_max)?;
        walked.seqs.extend(one.seqs);
        walked.stopped = walked.stopped.max(one.stopped);
    }
    // Beyond the place where one of them stopped, its tasks are missing.
    walked.seqs.retain(|seq| walked.stopped.is_none_or(|stopped| *seq >= stopped));
    walked.seqs.sort_unstable_by(|a, b| b.cmp(a));
    if walked.seqs.len() > most {
        walked.seqs.truncate(most);
        walked.stopped = walked.seqs.last().copied();
    }
    Ok(walked)
}

/// Finds the tasks whose ids begin as asked for, newest first; `None` if that is not asked for, or too many do:
/// then they are looked for on the way.
fn of_id(connection: &Connection, filter: &Filter, before: i64) -> rusqlite::Result<Option<Vec<i64>>> {
    let Some(prefix) = &filter.id else { return Ok(None) };
    let (first, last) = prefix.range();
    let mut statement = connection.prepare_cached(IDS)?;
    let rows = statement.query_map(params![first, last, before, size(JUMP_MAX + 1)], |row| row.get(0))?;
    let mut seqs = rows.collect::<rusqlite::Result<Vec<i64>>>()?;
    seqs.sort_unstable_by(|a, b| b.cmp(a));
    Ok((seqs.len() <= JUMP_MAX).then_some(seqs))
}

/// Finds up to `most` that fit, of those before the place for which these were found.
fn walk_these(
    connection: &Connection,
    seqs: &[i64],
    filter: &Filter,
    most: usize,
) -> rusqlite::Result<Walked> {
    let mut statement = connection.prepare_cached(ONE)?;
    let mut walked = Walked::default();
    for seq in seqs {
        let mut rows = statement.query([seq])?;
        let Some(row) = rows.next()? else { continue };
        if !fits(filter, row)? {
            continue;
        }
        if walked.seqs.len() == most {
            walked.stopped = walked.seqs.last().copied();
            break;
        }
        walked.seqs.push(*seq);
    }
    Ok(walked)
}

/// A statement, and what is looked for by its index.
type Way<'a> = (&'static str, Option<&'a str>);

/// Chooses the index of the label that is asked for which likely means the fewest tasks.
fn by_label(filter: &Filter) -> Option<Way<'_>> {
    let key = filter.unique_key.as_ref().map(|key| (OF_KEY, key.as_str()));
    let tag = || filter.tags.first().map(|tag| (TAGGED, tag.as_str()));
    let schedule = || filter.schedule.as_ref().map(|schedule| (OF_SCHEDULE, schedule.as_str()));
    let group = || filter.group.as_ref().map(|group| (OF_GROUP, group.as_str()));
    let (sql, label) = key.or_else(tag).or_else(schedule).or_else(group)?;
    Some((sql, Some(label)))
}

/// Chooses an index for each state that is asked for, or the table if one of them has none.
fn by_state(filter: &Filter, waiting: u64) -> Vec<&'static str> {
    let way = |state: &TaskState| match state {
        // Many that wait are found quickly by walking the table.
        TaskState::Waiting => (waiting <= SORT_MAX).then_some(WAITING),
        TaskState::Running => Some(RUNNING),
        TaskState::Completed => None,
        TaskState::Failed => Some(FAILED),
        TaskState::Cancelled => Some(CANCELLED),
    };
    let mut states = filter.states.clone();
    states.sort_unstable_by_key(|state| super::rows::code(*state));
    states.dedup();
    let ways: Option<Vec<_>> = states.iter().map(way).collect();
    ways.filter(|ways| !ways.is_empty()).unwrap_or_else(|| vec![ALL])
}

fn walk_one(
    connection: &Connection,
    (sql, label): Way<'_>,
    filter: &Filter,
    before: i64,
    most: usize,
    looks_max: usize,
) -> rusqlite::Result<Walked> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = match label {
        Some(label) => statement.query(params![before, label])?,
        None => statement.query(params![before])?,
    };
    let mut walked = Walked::default();
    for looked_at in 1.. {
        let Some(row) = rows.next()? else { break };
        if fits(filter, row)? {
            walked.seqs.push(row.get(0)?);
        }
        // One more than asked for shows whether another page follows.
        if walked.seqs.len() > most || looked_at == looks_max {
            walked.stopped = Some(row.get(0)?);
            break;
        }
    }
    Ok(walked)
}

/// Finds all tasks that wait or run and fit, those that wait first.
pub(super) fn open(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<TaskRef>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut found = Vec::new();
    for (state, sql) in [(TaskState::Waiting, ALL_WAITING), (TaskState::Running, ALL_RUNNING)] {
        if !filter.has(state) {
            continue;
        }
        let mut statement = snapshot.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if fits(filter, row)? {
                found.push(TaskRef(row.get(0)?));
            }
        }
    }
    Ok(found)
}

fn fits(filter: &Filter, row: &Row<'_>) -> rusqlite::Result<bool> {
    if !filter.has(state(row, 1)?) {
        return Ok(false);
    }
    if let Some(plugin) = &filter.plugin
        && row.get_ref(2)?.as_str()? != plugin.as_str()
    {
        return Ok(false);
    }
    if filter.id.is_some() || filter.id_end.is_some() {
        let id = row.get_ref(4)?.as_blob()?.try_into().unwrap_or(&[0; 16]);
        if filter.id.is_some_and(|prefix| !prefix.fits(id)) || filter.id_end.is_some_and(|end| !end.fits(id))
        {
            return Ok(false);
        }
    }
    for (column, wanted) in [
        (6, filter.schedule.as_ref().map(ScheduleName::as_str)),
        (7, filter.group.as_ref().map(Group::as_str)),
        (8, filter.unique_key.as_ref().map(UniqueKey::as_str)),
    ] {
        if wanted.is_some() && row.get_ref(column)?.as_str_or_null().unwrap_or_default() != wanted {
            return Ok(false);
        }
    }
    if !filter.tags.is_empty() {
        // Damaged ones are none.
        let tags = tags(row, 5).unwrap_or_default();
        if !filter.tags.iter().all(|tag| tags.contains(tag)) {
            return Ok(false);
        }
    }
    let created_at: i64 = row.get(3)?;
    Ok(filter.created_after.is_none_or(|after| created_at >= nanos(after))
        && filter.created_before.is_none_or(|before| created_at < nanos(before)))
}
