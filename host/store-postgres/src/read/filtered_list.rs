//! Filtered lists. They scan an index, newest first, up to a limit.
//!
//! Few of many tasks may match. To bound the cost of a request, a page may end before it is full and return a
//! cursor. Rare states have an index of their own.

use tokio_postgres::Row;
use uuid::Uuid;
use wasmill_model::{Group, PluginName, PluginPattern, Reach, ScheduleName, Tag, TaskPhase, UniqueKey};
use wasmill_store::{CountsWithin, Filter, TaskRef};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{get, nanos, number, parsed, size, state, task_ref, uuid};

/// Maximum rows a page scans in table order, and through an index.
const ROWS_SCANNED_MAX: usize = 40_000;
const INDEX_ROWS_SCANNED_MAX: usize = 3_000;

/// Maximum waiting tasks to sort for a page; with more, the table is scanned.
const WAITING_SORTED_MAX: u64 = 10_000;

/// What a filter matches, of rows `t`. $4 to $18 are its fields, NULL for all; $15 and $16 are of its reach.
macro_rules! fits {
    () => {
        "($4::text[] IS NULL OR t.state = ANY ($4)) AND ($5::text IS NULL OR t.plugin = $5)
        AND ($6::text[] IS NULL OR t.tags @> $6) AND ($7::bigint IS NULL OR t.created_at >= $7)
        AND ($8::bigint IS NULL OR t.created_at < $8) AND ($9::uuid IS NULL OR t.id BETWEEN $9 AND $10)
        AND ($11::text IS NULL OR right(replace(t.id::text, '-', ''), length($11)) = $11)
        AND ($12::text IS NULL OR t.schedule = $12) AND ($13::text IS NULL OR t.task_group = $13)
        AND ($14::text IS NULL OR t.unique_key = $14) AND ($15::text[] IS NULL OR t.plugin LIKE ANY ($15))
        AND ($16::text[] IS NULL OR t.task_group = ANY ($16))
        AND ($17::text IS NULL OR t.cause = $17 OR ($17 = 'exit' AND t.cause LIKE 'exit-%'))
        AND ($18::uuid IS NULL OR t.parent = $18)"
    };
}

/// Scans up to $2 rows before row $1 and returns up to $3 that match.
macro_rules! scan {
    ($from:literal, $path:literal) => {
        concat!(
            "SELECT t.seq FROM (SELECT task.* FROM ",
            $from,
            " WHERE ",
            $path,
            " AND task.seq < $1 ",
            "ORDER BY task.seq DESC LIMIT $2) t WHERE ",
            fits!(),
            " ORDER BY t.seq DESC LIMIT $3"
        )
    };
}

/// Returns the last of up to $2 rows before row $1, if there are that many. $3 is the label.
macro_rules! last {
    ($from:literal, $path:literal) => {
        concat!(
            "SELECT min(seq), count(*) FROM (SELECT task.seq FROM ",
            $from,
            " WHERE ",
            $path,
            " AND task.seq < $1 ",
            "ORDER BY task.seq DESC LIMIT $2) t WHERE $3::text IS NULL OR true"
        )
    };
}

/// Counts those of up to $2 rows before row $1 that match, and all of them. $3 is not used.
macro_rules! count {
    ($from:literal, $path:literal) => {
        concat!(
            "SELECT t.plugin, t.state, count(*) FILTER (WHERE ",
            fits!(),
            "), count(*) FROM (SELECT task.* FROM ",
            $from,
            " WHERE ",
            $path,
            " AND task.seq < $1 ",
            "ORDER BY task.seq DESC LIMIT $2) t WHERE $3::bigint IS NOT NULL GROUP BY t.plugin, t.state"
        )
    };
}

macro_rules! path {
    ($name:ident, $from:literal, $path:literal, $last:literal) => {
        const $name: Path =
            Path { scan: scan!($from, $path), last: last!($from, $last), count: count!($from, $path) };
    };
}

/// One way to walk tasks, newest first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Path {
    scan: &'static str,
    last: &'static str,
    count: &'static str,
}

path!(ALL, "task", "true", "true");
path!(
    WAITING,
    "task",
    "task.state IN ('available', 'scheduled', 'suspended', 'blocked')",
    "task.state IN ('available', 'scheduled', 'suspended', 'blocked')"
);
path!(RUNNING, "task", "task.state = 'running'", "task.state = 'running'");
path!(FAILED, "task", "task.state = 'failed'", "task.state = 'failed'");
path!(CANCELLED, "task", "task.state = 'cancelled'", "task.state = 'cancelled'");
path!(TAGGED, "tag JOIN task ON task.seq = tag.seq", "tag.name = ($6::text[])[1]", "tag.name = $3");
path!(OF_SCHEDULE, "task", "task.schedule = $12", "task.schedule = $3");
path!(
    OF_GROUP,
    "task",
    "task.task_group = $13 AND task.task_group <> ''",
    "task.task_group = $3 AND task.task_group <> ''"
);
path!(OF_KEY, "task", "task.unique_key = $14", "task.unique_key = $3");
path!(OF_PARENT, "task", "task.parent = $18", "task.parent::text = $3");
path!(OF_ID, "task", "task.id BETWEEN $9 AND $10", "task.id::text = $3");

const OPEN: &str = concat!(
    "SELECT t.seq FROM task t WHERE t.state IN ('available', 'scheduled', 'suspended', 'blocked', 'running') ",
    "AND t.seq > $1 AND t.seq < $2 AND ",
    fits!(),
    " ORDER BY t.state = 'running', t.seq LIMIT $3"
);

#[cfg(test)]
pub(crate) const EXPANDED: [&str; 26] = [
    OPEN,
    ALL.scan,
    ALL.last,
    WAITING.scan,
    WAITING.last,
    RUNNING.scan,
    RUNNING.last,
    FAILED.scan,
    FAILED.last,
    CANCELLED.scan,
    CANCELLED.last,
    TAGGED.scan,
    TAGGED.last,
    OF_SCHEDULE.scan,
    OF_SCHEDULE.last,
    OF_GROUP.scan,
    OF_GROUP.last,
    OF_KEY.scan,
    OF_KEY.last,
    OF_PARENT.scan,
    OF_PARENT.last,
    OF_ID.scan,
    OF_ID.last,
    ALL.count,
    TAGGED.count,
    OF_GROUP.count,
];

/// A filter as values of a statement.
struct Values {
    states: Option<Vec<&'static str>>,
    plugin: Option<String>,
    tags: Option<Vec<String>>,
    created_after: Option<i64>,
    created_before: Option<i64>,
    id_first: Option<Uuid>,
    id_last: Option<Uuid>,
    id_end: Option<String>,
    schedule: Option<String>,
    group: Option<String>,
    unique_key: Option<String>,
    /// As patterns of LIKE.
    plugins: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    cause: Option<String>,
    parent: Option<Uuid>,
}

impl Values {
    fn of(filter: &Filter) -> Self {
        let states: Vec<_> = filter.states.iter().map(|state| state.as_str()).collect();
        let tags: Vec<_> = filter.tags_asked().map(Tag::as_str).map(str::to_owned).collect();
        let plugins: Vec<_> = filter.reach.plugins().iter().map(like).collect();
        let groups: Vec<_> = filter.reach.groups().iter().map(Group::as_str).map(str::to_owned).collect();
        let range = filter.id.as_ref().map(wasmill_model::IdPrefix::range);
        Self {
            states: (!states.is_empty()).then_some(states),
            plugin: filter.plugin.as_ref().map(PluginName::as_str).map(str::to_owned),
            tags: (!tags.is_empty()).then_some(tags),
            created_after: filter.created_after.map(nanos),
            created_before: filter.created_before.map(nanos),
            id_first: range.map(|(first, _)| Uuid::from_bytes(first)),
            id_last: range.map(|(_, last)| Uuid::from_bytes(last)),
            id_end: filter.id_end.as_ref().map(ToString::to_string),
            schedule: filter.schedule.as_ref().map(ScheduleName::as_str).map(str::to_owned),
            group: filter.group_asked().map(Group::as_str).map(str::to_owned),
            unique_key: filter.unique_key.as_ref().map(UniqueKey::as_str).map(str::to_owned),
            plugins: (!plugins.is_empty()).then_some(plugins),
            groups: (!groups.is_empty()).then_some(groups),
            cause: filter.cause.map(|cause| cause.to_string()),
            parent: filter.parent.map(uuid),
        }
    }

    async fn query(&self, connection: &Connection, sql: &'static str, first: [i64; 3]) -> Result<Vec<Row>> {
        let values: crate::connection::database::Params<'_> = &[
            &first[0],
            &first[1],
            &first[2],
            &self.states,
            &self.plugin,
            &self.tags,
            &self.created_after,
            &self.created_before,
            &self.id_first,
            &self.id_last,
            &self.id_end,
            &self.schedule,
            &self.group,
            &self.unique_key,
            &self.plugins,
            &self.groups,
            &self.cause,
            &self.parent,
        ];
        connection.query(sql, values).await
    }
}

/// Words a pattern for LIKE, in which `_` stands for any character.
fn like(pattern: &PluginPattern) -> String {
    pattern.as_str().replace('_', "\\_").replace('*', "%")
}

/// The outcome of a scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ListScan {
    /// Matching tasks, newest first.
    pub(crate) seqs: Vec<i64>,
    /// Where the scan stopped, if there may be more; everything from there on was scanned.
    pub(crate) stopped: Option<i64>,
}

/// Finds up to `limit` matching tasks before this position.
pub(crate) async fn scan(
    connection: &Connection,
    filter: &Filter,
    before: i64,
    limit: usize,
    waiting: u64,
) -> Result<ListScan> {
    let values = Values::of(filter);
    let mut list_scan = ListScan::default();
    let (paths, label) = match by_label(filter) {
        Some((path, label)) => (vec![path], Some(label)),
        None => (by_state(filter, waiting), None),
    };
    let rows_max = match paths[..] {
        [ALL] => size(ROWS_SCANNED_MAX),
        // The range of ids bounds it, and the number of children of a task.
        [OF_ID | OF_PARENT] => i64::MAX,
        _ => size(INDEX_ROWS_SCANNED_MAX / paths.len()),
    };
    for path in paths {
        // One more than requested shows whether another page follows.
        let rows = values.query(connection, path.scan, [before, rows_max, size(limit + 1)]).await?;
        let seqs = rows.iter().map(|row| get(row, 0)).collect::<Result<Vec<i64>>>()?;
        let stopped = if [OF_ID, OF_PARENT].contains(&path) && seqs.len() <= limit {
            None
        } else if seqs.len() > limit {
            seqs.last().copied()
        } else {
            let row = connection.one(path.last, &[&before, &rows_max, &label]).await?;
            let is_cut = get::<i64>(&row, 1)? == rows_max;
            if is_cut { get(&row, 0)? } else { None }
        };
        list_scan.seqs.extend(seqs);
        list_scan.stopped = list_scan.stopped.max(stopped);
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

/// Chooses the label index that is likely to match the fewest tasks.
fn by_label(filter: &Filter) -> Option<(Path, String)> {
    let parent = filter.parent.map(|parent| (OF_PARENT, parent.to_string()));
    let key = || filter.unique_key.as_ref().map(|key| (OF_KEY, key.to_string()));
    let tag = || filter.tags_asked().next().map(|tag| (TAGGED, tag.as_str().to_owned()));
    let schedule = || filter.schedule.as_ref().map(|schedule| (OF_SCHEDULE, schedule.as_str().to_owned()));
    let group = || filter.group_asked().map(|group| (OF_GROUP, group.as_str().to_owned()));
    parent.or_else(key).or_else(tag).or_else(schedule).or_else(group)
}

/// Chooses an index per requested phase, or the table if one of them has none.
fn by_state(filter: &Filter, waiting: u64) -> Vec<Path> {
    if filter.id.is_some() {
        return vec![OF_ID];
    }
    let path = |phase: TaskPhase| match phase {
        // If many tasks wait, a table scan finds some quickly.
        TaskPhase::Waiting => (waiting <= WAITING_SORTED_MAX).then_some(WAITING),
        TaskPhase::Running => Some(RUNNING),
        TaskPhase::Completed => None,
        TaskPhase::Failed => Some(FAILED),
        TaskPhase::Cancelled => Some(CANCELLED),
    };
    let paths: Option<Vec<_>> = filter.phases().into_iter().map(path).collect();
    paths.filter(|paths| !paths.is_empty()).unwrap_or_else(|| vec![ALL])
}

/// Finds all matching unfinished tasks, waiting ones first.
pub(crate) async fn open(connection: &Connection, filter: &Filter) -> Result<Vec<TaskRef>> {
    let rows = Values::of(filter).query(connection, OPEN, [0, i64::MAX, i64::MAX]).await?;
    rows.iter().map(|row| Ok(task_ref(get(row, 0)?))).collect()
}

/// Counts the stored tasks within a reach, of which it looks at up to `rows_max`.
pub(crate) async fn counts_within(
    connection: &Connection,
    reach: Reach,
    rows_max: usize,
) -> Result<CountsWithin> {
    let filter = Filter { reach, ..Filter::default() };
    let mut values = Values::of(&filter);
    let groups = filter.reach.groups();
    let paths: Vec<_> = match by_label(&filter) {
        Some((path, _)) => vec![(path, None)],
        None if groups.is_empty() => vec![(ALL, None)],
        None => groups.iter().map(|group| (OF_GROUP, Some(group.as_str().to_owned()))).collect(),
    };
    let (mut counts, rows_max) =
        (CountsWithin { is_all: true, ..CountsWithin::default() }, rows_max / paths.len());
    for (path, group) in paths {
        if group.is_some() {
            values.group = group;
        }
        // One more shows whether there are others.
        let rows = values.query(connection, path.count, [i64::MAX, size(rows_max + 1), 0]).await?;
        let mut looked_at = 0;
        for row in &rows {
            let tasks = number(row, 2)?;
            looked_at += number::<usize>(row, 3)?;
            if tasks > 0 {
                counts.add(parsed(row, 0)?, state(row, 1)?, tasks);
            }
        }
        counts.is_all &= looked_at <= rows_max;
    }
    Ok(counts)
}
