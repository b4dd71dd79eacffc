//! What runs have reported and used: written once a second by the host that runs them, read by all others.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row;
use wasmill_model::{Progress, Task, TaskId, TaskState};
use wasmill_store::live::{LiveRun, LiveRuns, RunReport};
use wasmill_store::stored::usage;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{get, task_id, used, uuid};
use crate::read::task_row::TaskRow;

/// Reports that all hosts together write per second: 20 to 55 ms of computing of the server.
const REPORTS_MAX: usize = 5_000;

const WRITE: &str = "
    INSERT INTO live_run (task, host, token, fraction, note, plugin_digest, usage)
    SELECT task, $1, token, fraction, note, plugin_digest, usage
    FROM unnest($2::uuid[], $3::bigint[], $4::float8[], $5::text[], $6::text[], $7::text[])
        AS given (task, token, fraction, note, plugin_digest, usage)
    ON CONFLICT (task) DO UPDATE SET host = excluded.host, token = excluded.token, fraction = excluded.fraction,
        note = excluded.note, plugin_digest = excluded.plugin_digest, usage = excluded.usage
    WHERE live_run.token <= excluded.token";
const REMOVE: &str = "DELETE FROM live_run WHERE host = $1 AND task = ANY ($2)";
const READ: &str = "
    SELECT task, host, token, fraction, note, plugin_digest, usage FROM live_run WHERE task = ANY ($1)";

/// The reports that this host has written.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    runs: HashMap<TaskId, Known>,
    /// Where the last round ended, if it had more to write than one may.
    turn: Option<TaskId>,
}

/// A run that was there at the last look.
#[derive(Debug)]
struct Known {
    token: i64,
    /// What was written; a run that ends within a second costs nothing.
    written: Option<Report>,
}

/// What is written of one run.
#[derive(Clone, Debug, PartialEq)]
struct Report {
    report: RunReport,
    usage: Option<String>,
}

impl Report {
    fn of(run: &LiveRun) -> Self {
        Self { report: run.report(), usage: run.usage().map(|used| usage::text(&used)) }
    }
}

impl Reports {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Writes what has changed since the last call, within this host's part of [`REPORTS_MAX`].
    pub(crate) async fn write(
        &mut self,
        connection: &Connection,
        host: i64,
        runs: Vec<LiveRun>,
        hosts: i64,
    ) -> Result<()> {
        let reports_max = (REPORTS_MAX / usize::try_from(hosts).unwrap_or(REPORTS_MAX).max(1)).max(1);
        let gone = self.forget_ended(&runs);
        let changed = self.changed(runs, reports_max);
        let remove = async {
            if gone.is_empty() {
                return Ok(0);
            }
            connection.execute(REMOVE, &[&host, &gone.into_iter().map(uuid).collect::<Vec<_>>()]).await
        };
        let (_, ()) = tokio::try_join!(remove, write(connection, host, &changed))?;
        for (task, _, report) in changed {
            if let Some(known) = self.runs.get_mut(&task) {
                known.written = Some(report);
            }
        }
        Ok(())
    }

    /// Forgets runs that have ended, and returns those with a row.
    fn forget_ended(&mut self, runs: &[LiveRun]) -> Vec<TaskId> {
        let current: HashMap<_, _> =
            runs.iter().map(|run| (run.run_ref().task, run.run_ref().token)).collect();
        let ended = self.runs.extract_if(|task, known| current.get(task) != Some(&known.token));
        ended.filter(|(_, known)| known.written.is_some()).map(|(task, _)| task).collect()
    }

    /// Returns up to `reports_max` reports that differ from those written, in turns.
    fn changed(&mut self, mut runs: Vec<LiveRun>, reports_max: usize) -> Vec<(TaskId, i64, Report)> {
        runs.sort_unstable_by_key(|run| run.run_ref().task);
        let first = self.turn.map_or(0, |turn| runs.partition_point(|run| run.run_ref().task <= turn));
        runs.rotate_left(first);
        let mut changed: Vec<(TaskId, i64, Report)> = Vec::new();
        self.turn = None;
        for run in &runs {
            let (task, token) = (run.run_ref().task, run.run_ref().token);
            let Some(known) = self.runs.get(&task) else {
                self.runs.insert(task, Known { token, written: None });
                continue;
            };
            let report = Report::of(run);
            if known.written.as_ref() == Some(&report) {
                continue;
            }
            if changed.len() == reports_max {
                self.turn = changed.last().map(|(task, ..)| *task);
                break;
            }
            changed.push((task, token, report));
        }
        changed
    }
}

async fn write(connection: &Connection, host: i64, changed: &[(TaskId, i64, Report)]) -> Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    let progress = |report: &Report| report.report.progress.clone();
    // Text cannot hold NUL, which a guest may have written.
    let note = |report: &Report| progress(report).map(|progress| progress.note.replace('\0', "\u{fffd}"));
    connection
        .execute(
            WRITE,
            &[
                &host,
                &changed.iter().map(|(task, ..)| uuid(*task)).collect::<Vec<_>>(),
                &changed.iter().map(|(_, token, _)| *token).collect::<Vec<_>>(),
                &changed
                    .iter()
                    .map(|(.., report)| progress(report).map(|progress| progress.fraction))
                    .collect::<Vec<_>>(),
                &changed.iter().map(|(.., report)| note(report)).collect::<Vec<_>>(),
                &changed.iter().map(|(.., report)| report.report.digest.as_deref()).collect::<Vec<_>>(),
                &changed.iter().map(|(.., report)| report.usage.as_deref()).collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(())
}

/// What is known of running tasks, here and at other hosts.
#[derive(Clone, Debug)]
pub(crate) struct AllReports {
    pub(crate) live_runs: Arc<LiveRuns>,
    /// Whether there are other hosts.
    pub(crate) has_others: bool,
}

impl AllReports {
    /// Adds to running tasks what their runs have reported.
    pub(crate) async fn add(&self, connection: &Connection, rows: &mut [TaskRow]) -> Result<()> {
        let mut elsewhere = HashMap::new();
        for row in rows.iter_mut().filter(|row| row.task.state == TaskState::Running) {
            if let Some(run) = self.live_runs.live(row.task.id, row.token) {
                add_own(&mut row.task, &run);
            } else if self.has_others {
                elsewhere.insert(row.task.id, row);
            }
        }
        if elsewhere.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = elsewhere.keys().map(|id| uuid(*id)).collect();
        for row in connection.query(READ, &[&ids]).await? {
            let Some(of) = elsewhere.get_mut(&task_id(&row, 0)?) else { continue };
            if (Some(get(&row, 1)?), get::<i64>(&row, 2)?) == (of.host, of.token) {
                add_other(&mut of.task, &row)?;
            }
        }
        Ok(())
    }
}

fn add_own(task: &mut Task, run: &LiveRun) {
    task.usage = run.usage().or(task.usage);
    let report = run.report();
    task.progress = report.progress;
    task.plugin_digest = report.digest.or(task.plugin_digest.take());
}

fn add_other(task: &mut Task, row: &Row) -> Result<()> {
    let fraction: Option<f64> = get(row, 3)?;
    let note: Option<String> = get(row, 4)?;
    task.progress = fraction.zip(note).map(|(fraction, note)| Progress { fraction, note });
    if let Some(digest) = get::<Option<&str>>(row, 5)? {
        task.plugin_digest = Some(digest.into());
    }
    task.usage = used(row, 6)?.or(task.usage);
    Ok(())
}
