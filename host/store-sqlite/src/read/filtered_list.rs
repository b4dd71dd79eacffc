//! Filtered lists. They scan an index, newest first, up to a limit.
//!
//! Few of many tasks may match. To bound the cost of a request, a page may end before it is full and return a
//! cursor. Rare states have an index of their own.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, params};
use wasmill_model::{Group, Reach, ScheduleName, TaskId, TaskPhase, UniqueKey};
use wasmill_store::{CountsWithin, Filter, TaskRef};

use crate::read::rows::{is_later, nanos, parsed, size, state, tags, task_ref};

/// Maximum rows a page scans in table order (about 8 ms).
const ROWS_SCANNED_MAX: usize = 40_000;

/// Maximum rows a page scans through an index, which takes as long.
const INDEX_ROWS_SCANNED_MAX: usize = 3_000;

/// Maximum waiting tasks to sort for a page; with more, the table is scanned.
const WAITING_SORTED_MAX: u64 = 10_000;

macro_rules! scan {
    ($($tail:expr),+) => {
        concat!(
            "SELECT seq, state, plugin, created_at, id, tags, schedule, task_group, unique_key, cause, parent FROM task ",
            $($tail),+
        )
    };
}

pub(crate) const ALL: &str = scan!("WHERE seq < ?1 ORDER BY seq DESC");
/// Sorts all available tasks, as the next one sorts the other waiting ones: for few only.
pub(crate) const AVAILABLE: &str =
    scan!("INDEXED BY task_available WHERE state = 'available' AND seq < ?1 ORDER BY seq DESC");
pub(crate) const LATER: &str =
    scan!("INDEXED BY task_later WHERE (", is_later!(), ") AND seq < ?1 ORDER BY seq DESC");
pub(crate) const RUNNING: &str =
    scan!("INDEXED BY task_rare WHERE state = 'running' AND seq < ?1 ORDER BY seq DESC");
pub(crate) const FAILED: &str =
    scan!("INDEXED BY task_rare WHERE state = 'failed' AND seq < ?1 ORDER BY seq DESC");
pub(crate) const CANCELLED: &str =
    scan!("INDEXED BY task_rare WHERE state = 'cancelled' AND seq < ?1 ORDER BY seq DESC");
pub(crate) const ALL_AVAILABLE: &str = scan!("INDEXED BY task_available WHERE state = 'available'");
pub(crate) const ALL_LATER: &str = scan!("INDEXED BY task_later WHERE ", is_later!());
pub(crate) const ALL_RUNNING: &str = scan!("INDEXED BY task_rare WHERE state = 'running'");
pub(crate) const TAGGED: &str = "
    SELECT task.seq, state, plugin, created_at, id, tags, schedule, task_group, unique_key, cause, parent
    FROM tag CROSS JOIN task ON task.seq = tag.seq
    WHERE tag.name = ?2 AND tag.seq < ?1 ORDER BY tag.seq DESC";
pub(crate) const OF_SCHEDULE: &str =
    scan!("INDEXED BY task_of_schedule WHERE schedule = ?2 AND seq < ?1 ORDER BY seq DESC");
pub(crate) const OF_GROUP: &str =
    scan!("INDEXED BY task_of_group WHERE task_group = ?2 AND seq < ?1 ORDER BY seq DESC");
pub(crate) const OF_KEY: &str =
    scan!("INDEXED BY task_of_key WHERE unique_key = ?2 AND seq < ?1 ORDER BY seq DESC");

pub(crate) const OF_PARENT: &str =
    scan!("INDEXED BY task_of_parent WHERE parent = ?2 AND seq < ?1 ORDER BY seq DESC");

pub(crate) const ONE: &str = scan!("WHERE seq = ?1");
/// From the index of ids alone.
pub(crate) const IDS: &str = "SELECT seq FROM task WHERE id BETWEEN ?1 AND ?2 AND seq < ?3 LIMIT ?4";

/// The outcome of a scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ListScan {
    /// Matching tasks, newest first.
    pub(crate) seqs: Vec<i64>,
    /// Where the scan stopped, if there may be more; everything from there on was scanned.
    pub(crate) stopped: Option<i64>,
}

/// Finds up to `limit` matching tasks before this position.
pub(crate) fn scan(
    connection: &Connection,
    filter: &Filter,
    before: i64,
    limit: usize,
    waiting: u64,
) -> rusqlite::Result<ListScan> {
    if let Some(seqs) = by_id(connection, filter, before)? {
        return scan_tasks(connection, &seqs, filter, limit);
    }
    let mut list_scan = ListScan::default();
    let paths = match by_label(filter) {
        Some(path) => vec![path],
        None => by_state(filter, waiting).into_iter().map(|sql| (sql, None)).collect(),
    };
    let rows_max =
        if paths[..] == [(ALL, None)] { ROWS_SCANNED_MAX } else { INDEX_ROWS_SCANNED_MAX / paths.len() };
    for path in paths {
        let one = scan_path(connection, path, filter, before, limit, rows_max)?;
        list_scan.seqs.extend(one.seqs);
        list_scan.stopped = list_scan.stopped.max(one.stopped);
    }
    // Below the point where one path stopped, its tasks are missing.
    list_scan.seqs.retain(|seq| list_scan.stopped.is_none_or(|stopped| *seq >= stopped));
    list_scan.seqs.sort_unstable_by(|a, b| b.cmp(a));
    if list_scan.seqs.len() > limit {
        list_scan.seqs.truncate(limit);
        list_scan.stopped = list_scan.seqs.last().copied();
    }
    Ok(list_scan)
}

/// Finds tasks by id prefix, newest first. `None` if there is no prefix or it matches too many rows; the
/// caller then filters while scanning.
fn by_id(connection: &Connection, filter: &Filter, before: i64) -> rusqlite::Result<Option<Vec<i64>>> {
    let Some(prefix) = &filter.id else { return Ok(None) };
    let (first, last) = prefix.range();
    let mut statement = connection.prepare_cached(IDS)?;
    let rows = statement
        .query_map(params![first, last, before, size(INDEX_ROWS_SCANNED_MAX + 1)], |row| row.get(0))?;
    let mut seqs = rows.collect::<rusqlite::Result<Vec<i64>>>()?;
    seqs.sort_unstable_by(|a, b| b.cmp(a));
    Ok((seqs.len() <= INDEX_ROWS_SCANNED_MAX).then_some(seqs))
}

/// Filters these tasks, up to `limit`.
fn scan_tasks(
    connection: &Connection,
    seqs: &[i64],
    filter: &Filter,
    limit: usize,
) -> rusqlite::Result<ListScan> {
    let mut statement = connection.prepare_cached(ONE)?;
    let mut list_scan = ListScan::default();
    for seq in seqs {
        let mut rows = statement.query([seq])?;
        let Some(row) = rows.next()? else { continue };
        if !fits(filter, row)? {
            continue;
        }
        if list_scan.seqs.len() == limit {
            list_scan.stopped = list_scan.seqs.last().copied();
            break;
        }
        list_scan.seqs.push(*seq);
    }
    Ok(list_scan)
}

/// A statement and the label it looks up.
type AccessPath<'a> = (&'static str, Option<Label<'a>>);

/// What an index is looked up by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label<'a> {
    Text(&'a str),
    Task(&'a TaskId),
}

impl ToSql for Label<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Task(id) => Ok(ToSqlOutput::Borrowed(ValueRef::Blob(id.as_bytes()))),
        }
    }
}

/// Chooses the label index that is likely to match the fewest tasks.
fn by_label(filter: &Filter) -> Option<AccessPath<'_>> {
    let text = |text| Some(Label::Text(text));
    let parent = filter.parent.as_ref().map(|parent| (OF_PARENT, Some(Label::Task(parent))));
    let key = || filter.unique_key.as_ref().map(|key| (OF_KEY, text(key.as_str())));
    let tag = || filter.tags_asked().next().map(|tag| (TAGGED, text(tag.as_str())));
    let schedule = || filter.schedule.as_ref().map(|schedule| (OF_SCHEDULE, text(schedule.as_str())));
    let group = || filter.group_asked().map(|group| (OF_GROUP, text(group.as_str())));
    parent.or_else(key).or_else(tag).or_else(schedule).or_else(group)
}

/// Chooses an index per requested phase, or the table if one of them has none.
fn by_state(filter: &Filter, waiting: u64) -> Vec<&'static str> {
    let paths = |phase: TaskPhase| match phase {
        // If many tasks wait, a table scan finds some quickly.
        TaskPhase::Waiting => (waiting <= WAITING_SORTED_MAX).then_some(&[AVAILABLE, LATER][..]),
        TaskPhase::Running => Some(&[RUNNING][..]),
        TaskPhase::Completed => None,
        TaskPhase::Failed => Some(&[FAILED][..]),
        TaskPhase::Cancelled => Some(&[CANCELLED][..]),
    };
    let found: Option<Vec<_>> = filter.phases().into_iter().map(paths).collect();
    found.map(|paths| paths.concat()).filter(|paths| !paths.is_empty()).unwrap_or_else(|| vec![ALL])
}

fn scan_path(
    connection: &Connection,
    (sql, label): AccessPath<'_>,
    filter: &Filter,
    before: i64,
    limit: usize,
    rows_max: usize,
) -> rusqlite::Result<ListScan> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = match label {
        Some(label) => statement.query(params![before, label])?,
        None => statement.query(params![before])?,
    };
    let mut list_scan = ListScan::default();
    for scanned in 1.. {
        let Some(row) = rows.next()? else { break };
        if fits(filter, row)? {
            list_scan.seqs.push(row.get(0)?);
        }
        // One more than requested shows whether another page follows.
        if list_scan.seqs.len() > limit || scanned == rows_max {
            list_scan.stopped = Some(row.get(0)?);
            break;
        }
    }
    Ok(list_scan)
}

/// Finds all matching unfinished tasks, waiting ones first.
pub(crate) fn open(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<TaskRef>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut found = Vec::new();
    for (phase, sql) in [
        (TaskPhase::Waiting, ALL_AVAILABLE),
        (TaskPhase::Waiting, ALL_LATER),
        (TaskPhase::Running, ALL_RUNNING),
    ] {
        if !filter.states.is_empty() && !filter.states.iter().any(|state| state.phase() == phase) {
            continue;
        }
        let mut statement = snapshot.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if fits(filter, row)? {
                found.push(task_ref(row.get(0)?));
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
    if let Some(parent) = &filter.parent
        && row.get_ref(10)?.as_blob_or_null()? != Some(parent.as_bytes())
    {
        return Ok(false);
    }
    if let Some(cause) = filter.cause
        && !cause.matches(row.get_ref(9)?.as_str_or_null()?.unwrap_or_default())
    {
        return Ok(false);
    }
    if filter.reach.is_bounded() || !filter.tags.is_empty() {
        // Damaged tags match nothing.
        let tags = tags(row, 5).unwrap_or_default();
        let (plugin, group) = (row.get_ref(2)?.as_str()?, row.get_ref(7)?.as_str_or_null()?);
        if !filter.tags.iter().all(|tag| tags.contains(tag)) || !filter.reach.covers(plugin, group, &tags) {
            return Ok(false);
        }
    }
    let created_at: i64 = row.get(3)?;
    Ok(filter.created_after.is_none_or(|after| created_at >= nanos(after))
        && filter.created_before.is_none_or(|before| created_at < nanos(before)))
}

/// Counts the stored tasks within a reach, of which it looks at up to `rows_max`.
pub(crate) fn counts_within(
    connection: &Connection,
    reach: Reach,
    rows_max: usize,
) -> rusqlite::Result<CountsWithin> {
    let filter = Filter { reach, ..Filter::default() };
    let groups = || filter.reach.groups().iter().map(|group| (OF_GROUP, Some(Label::Text(group.as_str()))));
    let paths: Vec<AccessPath<'_>> = match by_label(&filter) {
        Some(path) => vec![path],
        None if filter.reach.groups().is_empty() => vec![(ALL, None)],
        None => groups().collect(),
    };
    let snapshot = connection.unchecked_transaction()?;
    let (mut counts, rows_max) =
        (CountsWithin { is_all: true, ..CountsWithin::default() }, rows_max / paths.len());
    for (sql, label) in paths {
        let mut statement = snapshot.prepare_cached(sql)?;
        let mut rows = match label {
            Some(label) => statement.query(params![i64::MAX, label])?,
            None => statement.query(params![i64::MAX])?,
        };
        for looked_at in 0.. {
            let Some(row) = rows.next()? else { break };
            if looked_at == rows_max {
                counts.is_all = false;
                break;
            }
            if fits(&filter, row)? {
                counts.add(parsed(row, 2)?, state(row, 1)?, 1);
            }
        }
    }
    Ok(counts)
}
