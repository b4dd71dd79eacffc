//! Claims available tasks: fairly over plugins and groups, and within each by time and priority.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use wasmill_model::{Group, InvalidLabel, PluginName, TaskId, TaskState, Timestamp};
use wasmill_store::commit::{AbandonedClaims, UndeliveredClaims};
use wasmill_store::live::{LiveChange, RunRef, RunStart};
use wasmill_store::rules::fair_queue::{Candidate, PluginCandidates};
use wasmill_store::rules::group_limits::{GroupLimits, GroupsLeft};
use wasmill_store::{Checkpoint, Claim, ClaimQuota, Claimed, Claims, EventKind};

use crate::delivery::deliveries;
use crate::file::fault::is_of_value;
use crate::queue::{promote, starts};
use crate::read::rows::{backoff, nanos, optional, seq, size, task_ref, timeout, traced};
use crate::read::usage;
use crate::writer::batch::{Batch, Operation};
use crate::writer::clock_skew::{self, JUMP_NANOS};
use crate::writer::quarantine;

pub(crate) const INPUT: &str = "SELECT body FROM input WHERE seq = ?1";
/// The columns of a claimed task. Read before the update, as `RETURNING` sets up a table per row.
pub(crate) const CLAIMED: &str = "
    SELECT id, claim_token + 1, attempt + (suspensions = 0), attempts_max, host_crashes, timeout_ms,
        input_bytes IS NOT NULL, backoff_first_ms, backoff_factor, backoff_max_ms, backoff_jitter, ready_at,
        iif(suspensions = 0, ?2, started_at), iif(suspensions = 0, NULL, usage),
        pending_dependencies IS NOT NULL, webhook_on IS NOT NULL, trace, created_at, ?2, suspensions > 0,
        log_lines, limit_key, files_in IS NOT NULL
    FROM task WHERE seq = ?1";
pub(crate) const CLAIM: &str = "
    UPDATE task SET state = 'running', claim_token = ?2, attempt = ?3, started_at = ?4, children_seen = children_ended
    WHERE seq = ?1";
/// A small checkpoint is loaded with the claim, so that a suspended task resumes at once.
pub(crate) const CHECKPOINT: &str = "SELECT body FROM checkpoint WHERE seq = ?1 AND length(body) <= 65536";
pub(crate) const PASSED: &str = "SELECT pass_results, files_from FROM dependent WHERE seq = ?1";
/// Available tasks of a group, or without one.
pub(crate) const AVAILABLE: &str = "
    SELECT sort_key, seq FROM task INDEXED BY task_available
    WHERE state = 'available' AND plugin = ?1 AND task_group IS ?2 ORDER BY sort_key, seq LIMIT ?3 OFFSET ?4";

/// The groups of all running tasks, which are as many as there are slots.
pub(crate) const RUNNING: &str = "
    SELECT task_group FROM task INDEXED BY task_rare WHERE state = 'running' AND task_group IS NOT NULL";

/// The next group of a plugin with available tasks: one step in the index for each group, however many tasks it has.
pub(crate) const NEXT_GROUP: &str = "
    SELECT task_group FROM task INDEXED BY task_available
    WHERE state = 'available' AND plugin = ?1 AND task_group > ?2 ORDER BY task_group LIMIT 1";

#[derive(Debug)]
pub(crate) struct ClaimReady {
    pub(crate) quotas: Vec<ClaimQuota>,
    pub(crate) tasks_max: usize,
    /// Limit of the expected memory of all claimed tasks together.
    pub(crate) available_memory: u64,
    pub(crate) now: Timestamp,
    pub(crate) abandoned: Arc<AbandonedClaims>,
    /// How many tasks of limited groups may run at once.
    pub(crate) group_limits: Arc<GroupLimits>,
}

impl Operation for ClaimReady {
    type Answer = UndeliveredClaims;
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<UndeliveredClaims> {
        self.check_clock(batch)?;
        promote::promote_due(batch, self.now, self.tasks_max)?;
        // Each plugin costs a few statements, and most plugins have no available tasks.
        let quotas: Vec<_> = self.quotas.iter().filter(|quota| batch.available(&quota.plugin) > 0).collect();
        let connection = batch.connection;
        let mut parts = Vec::with_capacity(quotas.len());
        for quota in quotas {
            learn_groups(batch, &quota.plugin)?;
            let limit = self.tasks_max.min(quota.tasks_max);
            parts.push(PluginCandidates { quota, own: available(connection, quota, None, 0, limit)? });
        }
        let mut count = || running(connection);
        let picked = batch.fair_queue.pick(
            parts,
            self.tasks_max,
            self.available_memory,
            &mut GroupsLeft::new(&self.group_limits, &mut count),
            |quota, group, skip, limit| available(connection, quota, Some(group), skip, limit),
        )?;
        let fewer = picked.candidates.len() < self.tasks_max;
        let next_ready_at = if fewer { promote::next_due(connection)? } else { None };
        let mut claimed = Vec::with_capacity(picked.candidates.len());
        // Once for all, like those of inserts.
        let mut statements = ClaimStatements {
            read: connection.prepare_cached(CLAIMED)?,
            write: connection.prepare_cached(CLAIM)?,
        };
        for candidate in &picked.candidates {
            match self.claim(batch, &mut statements, candidate) {
                Ok(task) => claimed.push(task),
                // It would be the first candidate of every claim, and no task would ever start.
                Err(error) if is_of_value(&error) => {
                    quarantine::fail(batch, seq(candidate.task), TaskState::Available, &error, self.now)?;
                }
                Err(error) => return Err(error),
            }
        }
        if !claimed.is_empty() {
            batch.writer_state.observe_time(nanos(self.now));
        }
        starts::note(batch, &self.quotas, &claimed, self.now)?;
        let claims = Claims { claimed, next_ready_at, lacked_memory: picked.lacked_memory };
        Ok(UndeliveredClaims::new(claims, self.now, self.abandoned.clone()))
    }
}

/// [`CLAIMED`] and [`CLAIM`].
struct ClaimStatements<'a> {
    read: CachedStatement<'a>,
    write: CachedStatement<'a>,
}

impl ClaimReady {
    /// Checks whether the clock went back since the last claim.
    fn check_clock(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let (before, now) = (batch.writer_state.claimed_at, nanos(self.now));
        batch.writer_state.claimed_at = now;
        if now < before.saturating_sub(JUMP_NANOS) {
            let shortened = clock_skew::shorten_waits(batch.connection, now)?;
            deliveries::shorten_waits(batch.connection, now)?;
            let seconds = before.saturating_sub(now) / JUMP_NANOS;
            tracing::warn!(seconds, shortened, "the system clock went back");
        }
        Ok(())
    }

    fn claim(
        &self,
        batch: &mut Batch<'_>,
        statements: &mut ClaimStatements<'_>,
        candidate: &Candidate<'_>,
    ) -> rusqlite::Result<Claimed> {
        let seq = seq(candidate.task);
        let (mut claimed, has_input, is_suspended, since) =
            statements.read.query_one(params![seq, nanos(self.now)], |row| {
                let (task, plugin) = (TaskId::from_bytes(row.get(0)?), candidate.plugin.clone());
                let (token, attempt) = (row.get(1)?, row.get(2)?);
                // After the clock went back, `ready_at` may be in the future.
                let ready_at: i64 = row.get(11)?;
                let waited = nanos(self.now).saturating_sub(ready_at);
                let queue = Duration::from_nanos(u64::try_from(waited).unwrap_or(0));
                let since = DateTime::from_timestamp_nanos(row.get(12)?);
                let earlier = usage::read(row, 13)?;
                let trace = traced(row, 16)?;
                let (plugin_of, limit_key) = (plugin.clone(), row.get(21)?);
                let of = RunRef { task, plugin: plugin_of, limit_key, attempt, token, trace };
                let ready_at = DateTime::from_timestamp_nanos(ready_at);
                batch.effects.spans.extend(of.wait_span(&batch.live_runs.tracer, ready_at, self.now));
                let lines = row.get::<_, i64>(20)?.unsigned_abs();
                let start = RunStart { at: self.now, queue, since, earlier, lines };
                let run = batch.live_runs.run(of, Some(start));
                let claimed = Claimed {
                    claim: Claim::new(candidate.task, run, row.get(15)?),
                    plugin,
                    queue,
                    attempt,
                    attempts_max: row.get(3)?,
                    host_crashes: row.get(4)?,
                    timeout: timeout(row, 5)?,
                    backoff: backoff(row, 7)?,
                    input: None,
                    has_files: row.get(22)?,
                    pass_results: row.get(14)?,
                    files_from: None,
                    checkpoint: if token == 1 { Checkpoint::None } else { Checkpoint::NotLoaded },
                };
                Ok((claimed, row.get::<_, bool>(6)?, row.get::<_, bool>(19)?, since))
            })?;
        statements.write.execute(params![seq, claimed.claim.token(), claimed.attempt, nanos(since)])?;
        if has_input {
            let mut statement = batch.connection.prepare_cached(INPUT)?;
            claimed.input = Some(statement.query_one([seq], |row| row.get(0))?);
        }
        if is_suspended {
            let mut statement = batch.connection.prepare_cached(CHECKPOINT)?;
            let state = statement.query_row([seq], |row| row.get(0)).optional()?;
            claimed.checkpoint = state.map_or(Checkpoint::NotLoaded, Checkpoint::State);
        }
        // So far it only says that there are dependencies; most tasks have none and need no query.
        if claimed.pass_results {
            let mut statement = batch.connection.prepare_cached(PASSED)?;
            (claimed.pass_results, claimed.files_from) =
                statement.query_one([seq], |row| Ok((row.get(0)?, optional(row, 1)?)))?;
        }
        let run = claimed.claim.run();
        let limit_key = run.run_ref().limit_key.as_ref();
        batch.record_move(candidate.plugin, limit_key, Some(TaskState::Available), Some(TaskState::Running));
        batch.effects.live_changes.push(LiveChange::Began(run.clone()));
        batch.effects.events.push(run.event(EventKind::Started, self.now));
        Ok(claimed)
    }
}

/// Reads the groups of a plugin with available tasks, unless they are known.
fn learn_groups(batch: &mut Batch<'_>, plugin: &PluginName) -> rusqlite::Result<()> {
    if batch.fair_queue.knows(plugin) {
        return Ok(());
    }
    let mut statement = batch.connection.prepare_cached(NEXT_GROUP)?;
    let (mut groups, mut name) = (Vec::new(), String::new());
    while let Some(next) = statement.query_row([plugin.as_str(), &name], |row| row.get(0)).optional()? {
        name = next;
        match name.parse() {
            Ok(group) => groups.push(group),
            Err(error) => {
                let error: InvalidLabel = error;
                tracing::error!(%plugin, %error, "the tasks of a group are not started: its name is damaged");
            }
        }
    }
    batch.fair_queue.learn(plugin, &groups);
    Ok(())
}

/// Counts the running tasks of each group.
fn running(connection: &Connection) -> rusqlite::Result<HashMap<Group, usize>> {
    let mut statement = connection.prepare_cached(RUNNING)?;
    let mut rows = statement.query([])?;
    let mut running = HashMap::new();
    while let Some(row) = rows.next()? {
        // A damaged name is that of no limited group.
        if let Ok(group) = row.get_ref(0)?.as_str()?.parse() {
            *running.entry(group).or_default() += 1;
        }
    }
    Ok(running)
}

/// Returns available tasks of a group of a plugin, or without a group, in order.
fn available<'a>(
    connection: &Connection,
    quota: &'a ClaimQuota,
    group: Option<&Group>,
    skip: usize,
    limit: usize,
) -> rusqlite::Result<VecDeque<Candidate<'a>>> {
    let (plugin, group) = (quota.plugin.as_str(), group.map(Group::as_str));
    let mut statement = connection.prepare_cached(AVAILABLE)?;
    let rows = statement.query_map(params![plugin, group, size(limit), size(skip)], |row| {
        Ok(Candidate { sort_key: row.get(0)?, task: task_ref(row.get(1)?), plugin: &quota.plugin })
    })?;
    rows.collect()
}
