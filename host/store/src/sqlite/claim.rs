//! Claims available tasks: fairly over plugins and groups, and within each by time and priority.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension, params};
use wasmill_model::{Group, Priority, TaskId, TaskState, Timestamp};

use super::abandoned_claims::{AbandonedClaims, UndeliveredClaims};
use super::batch::{Batch, Operation};
use super::clock_skew::{self, JUMP_NANOS};
use super::fair_queue::{Candidate, PluginCandidates};
use super::fault::is_of_value;
use super::quarantine;
use super::rows::{backoff, group, nanos, size, timeout, traced};
use super::starts;
use super::usage;
use super::webhooks;
use crate::live_runs::{LiveChange, RunRef, RunStart};
use crate::{Checkpoint, Claim, ClaimQuota, Claimed, Claims, EventKind};

pub(super) const INPUT: &str = "SELECT body FROM input WHERE seq = ?1";
/// The columns of a claimed task. Read before the update, as `RETURNING` sets up a table per row.
pub(super) const CLAIMED: &str = "
    SELECT id, claims + 1, attempt + (parks IS NULL), attempts_max, host_crashes, timeout_ms,
        input_bytes IS NOT NULL, backoff_first_ms, backoff_factor, backoff_most_ms, ready_at,
        iif(parks IS NULL, ?2, started_at), iif(parks IS NULL, NULL, usage), waits_for IS NOT NULL,
        webhook IS NOT NULL, trace, created_at, ?2, parks IS NOT NULL, backoff_jitter, log_lines_given
    FROM task WHERE seq = ?1";
pub(super) const CLAIM: &str = "
    UPDATE task SET state = 1, claims = ?2, attempt = ?3, started_at = ?4 WHERE seq = ?1";
/// A small checkpoint is loaded with the claim, so that a suspended task resumes at once.
pub(super) const STATE: &str = "SELECT state FROM checkpoint WHERE seq = ?1 AND length(state) <= 65536";
pub(super) const PASS_RESULTS: &str = "SELECT hand_over FROM dependant WHERE seq = ?1";

#[derive(Debug)]
pub(super) struct ClaimReady {
    pub(super) quotas: Vec<ClaimQuota>,
    pub(super) tasks_max: usize,
    /// Limit of the expected memory of all claimed tasks together.
    pub(super) available_memory: u64,
    pub(super) now: Timestamp,
    pub(super) abandoned: Arc<AbandonedClaims>,
}

impl Operation for ClaimReady {
    type Answer = UndeliveredClaims;
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<UndeliveredClaims> {
        self.check_clock(batch)?;
        // Each plugin costs a few statements, and most plugins have no waiting tasks.
        let quotas: Vec<_> = self.quotas.iter().filter(|quota| batch.waiting(&quota.plugin) > 0).collect();
        if batch.writer_state.uses_promotion {
            batch.fair_queue.learn(batch.connection)?;
            self.promote_due(batch, &quotas)?;
        }
        let parts = self.parts(batch, &quotas)?;
        let connection = batch.connection;
        let picked = batch.fair_queue.pick(
            parts,
            self.tasks_max,
            self.available_memory,
            |quota, group, skip, limit| read_group(connection, quota, group, skip, limit),
        )?;
        let fewer = picked.candidates.len() < self.tasks_max;
        let next_ready_at = if fewer { self.next_ready_at(batch, &quotas)? } else { None };
        let mut claimed = Vec::with_capacity(picked.candidates.len());
        for candidate in &picked.candidates {
            match self.claim(batch, candidate) {
                Ok(task) => claimed.push(task),
                // It would be the first candidate of every claim, and no task would ever start.
                Err(error) if is_of_value(&error) => {
                    quarantine::fail(batch, candidate.seq, TaskState::Waiting, &error, self.now)?;
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

pub(super) const READY: &str = "
    SELECT ready_at, seq FROM task INDEXED BY task_waiting
    WHERE state = 0 AND plugin = ?1 AND rank IS NULL AND ready_at <= ?2 ORDER BY ready_at, seq LIMIT ?3";
/// Tasks available at once although their `ready_at` is in the future, since the clock went back. Bounded by
/// the newest of them: a million scheduled tasks may follow.
pub(super) const READY_AHEAD_OF_CLOCK: &str = "
    SELECT ready_at, seq FROM task INDEXED BY task_waiting
    WHERE state = 0 AND plugin = ?1 AND rank IS NULL AND ready_at > ?2 AND ready_at <= ?4
        AND ready_at = created_at
    ORDER BY ready_at, seq LIMIT ?3";
/// Available tasks with a priority and without a group. Their rank is the sort key; the three largest numbers
/// stand for grouped, blocked and scheduled tasks.
pub(super) const RANKED: &str = "
    SELECT rank, seq FROM task INDEXED BY task_waiting
    WHERE state = 0 AND plugin = ?1 AND rank < 9223372036854775805 ORDER BY rank, ready_at, seq LIMIT ?2";
pub(super) const PROMOTE: &str = "
    UPDATE task SET rank = iif(grp IS NULL, ready_at - priority * ?4, 9223372036854775806) WHERE seq IN (
        SELECT seq FROM task INDEXED BY task_waiting
        WHERE state = 0 AND plugin = ?1 AND rank = 9223372036854775807 AND ready_at <= ?2 LIMIT ?3)
    RETURNING grp";
/// Available tasks of a group, by the index expression of 0011_group.sql.
pub(super) const GROUPED: &str = "
    SELECT ready_at - priority * 60000000000, seq FROM task INDEXED BY task_grouped
    WHERE state = 0 AND rank = 9223372036854775806 AND plugin = ?1 AND grp = ?2
    ORDER BY ready_at - priority * 60000000000, seq LIMIT ?3 OFFSET ?4";
pub(super) const NEXT: &str = "
    SELECT min(ready_at) FROM task INDEXED BY task_waiting
    WHERE state = 0 AND plugin = ?1 AND rank IS NULL AND ready_at > ?2";
pub(super) const NEXT_RANKED: &str = "
    SELECT min(ready_at) FROM task INDEXED BY task_waiting
    WHERE state = 0 AND plugin = ?1 AND rank = 9223372036854775807 AND ready_at > ?2";

/// Maximum tasks with a priority or a group that a claim promotes, unless it claims more.
const PROMOTED_MAX: usize = 1_000;

impl ClaimReady {
    /// Checks whether the clock went back since the last claim.
    fn check_clock(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let (before, now) = (batch.writer_state.claimed_at, nanos(self.now));
        batch.writer_state.claimed_at = now;
        if now < before.saturating_sub(JUMP_NANOS) {
            let shortened = clock_skew::shorten_waits(batch.connection, now)?;
            webhooks::shorten_waits(batch.connection, now)?;
            let seconds = before.saturating_sub(now) / JUMP_NANOS;
            tracing::warn!(seconds, shortened, "the system clock went back");
        }
        Ok(())
    }

    /// Promotes scheduled tasks with a priority or a group that have become due.
    fn promote_due(&self, batch: &mut Batch<'_>, quotas: &[&ClaimQuota]) -> rusqlite::Result<()> {
        let mut statement = batch.connection.prepare_cached(PROMOTE)?;
        let step = Priority::of(1).map_or(0, Priority::head_start_nanos);
        for ClaimQuota { plugin, .. } in quotas {
            // At least as many as are claimed, so that no due task is missed.
            let limit = size(self.tasks_max.max(PROMOTED_MAX));
            let mut rows = statement.query(params![plugin.as_str(), nanos(self.now), limit, step])?;
            while let Some(row) = rows.next()? {
                if let Some(group) = group(row, 0)? {
                    batch.fair_queue.add(plugin, &group);
                }
            }
        }
        Ok(())
    }

    /// Returns the first ungrouped candidates of each plugin, up to its quota.
    fn parts<'a>(
        &self,
        batch: &Batch<'_>,
        quotas: &[&'a ClaimQuota],
    ) -> rusqlite::Result<Vec<PluginCandidates<'a>>> {
        let mut parts = Vec::with_capacity(quotas.len());
        for quota in quotas.iter().copied() {
            let limit = self.tasks_max.min(quota.tasks_max);
            let mut ready = self.ready(batch, quota, limit)?;
            if batch.writer_state.uses_promotion {
                let mut statement = batch.connection.prepare_cached(RANKED)?;
                let rows = statement.query(params![quota.plugin.as_str(), size(limit)])?;
                read_candidates(&mut ready, rows, quota)?;
                ready.make_contiguous().sort_unstable();
                ready.truncate(limit);
            }
            parts.push(PluginCandidates { quota, own: ready });
        }
        Ok(parts)
    }

    /// Returns the available tasks of a plugin without a priority, longest available first.
    fn ready<'a>(
        &self,
        batch: &Batch<'_>,
        quota: &'a ClaimQuota,
        limit: usize,
    ) -> rusqlite::Result<VecDeque<Candidate<'a>>> {
        let (plugin, now, newest_ready) =
            (quota.plugin.as_str(), nanos(self.now), batch.writer_state.newest_ready);
        let mut ready = VecDeque::new();
        let mut statement = batch.connection.prepare_cached(READY)?;
        read_candidates(&mut ready, statement.query(params![plugin, now, size(limit)])?, quota)?;
        // While the clock is behind, tasks accepted before it went back are available all the same.
        if now < newest_ready && ready.len() < limit {
            let mut statement = batch.connection.prepare_cached(READY_AHEAD_OF_CLOCK)?;
            let rest = size(limit - ready.len());
            read_candidates(&mut ready, statement.query(params![plugin, now, rest, newest_ready])?, quota)?;
        }
        Ok(ready)
    }

    fn next_ready_at(
        &self,
        batch: &Batch<'_>,
        quotas: &[&ClaimQuota],
    ) -> rusqlite::Result<Option<Timestamp>> {
        let mut earliest: Option<i64> = None;
        for sql in [NEXT, NEXT_RANKED].into_iter().take(1 + usize::from(batch.writer_state.uses_promotion)) {
            let mut statement = batch.connection.prepare_cached(sql)?;
            for ClaimQuota { plugin, .. } in quotas {
                let ready_at: Option<i64> =
                    statement.query_row(params![plugin.as_str(), nanos(self.now)], |row| row.get(0))?;
                earliest = earliest.into_iter().chain(ready_at).min();
            }
        }
        Ok(earliest.map(DateTime::from_timestamp_nanos))
    }

    fn claim(&self, batch: &mut Batch<'_>, candidate: &Candidate<'_>) -> rusqlite::Result<Claimed> {
        let seq = candidate.seq;
        let mut statement = batch.connection.prepare_cached(CLAIMED)?;
        let (mut claimed, has_input, is_suspended, since) =
            statement.query_one(params![seq, nanos(self.now)], |row| {
                let (task, plugin) = (TaskId::from_bytes(row.get(0)?), candidate.plugin.clone());
                let (token, attempt) = (row.get(1)?, row.get(2)?);
                // After the clock went back, `ready_at` may be in the future.
                let ready_at: i64 = row.get(10)?;
                let waited = nanos(self.now).saturating_sub(ready_at);
                let queue = Duration::from_nanos(u64::try_from(waited).unwrap_or(0));
                let since = DateTime::from_timestamp_nanos(row.get(11)?);
                let earlier = usage::read(row, 12)?;
                let trace = traced(row, 15)?;
                let of = RunRef { task, plugin: plugin.clone(), attempt, token, trace };
                let ready_at = DateTime::from_timestamp_nanos(ready_at);
                batch.spans.extend(of.wait_span(&batch.live_runs.tracer, ready_at, self.now));
                let lines = row.get::<_, i64>(20)?.unsigned_abs();
                let start = RunStart { at: self.now, queue, since, earlier, lines };
                let report = batch.live_runs.run(of, Some(start));
                let claimed = Claimed {
                    claim: Claim {
                        id: task,
                        seq,
                        plugin: plugin.clone(),
                        token,
                        report,
                        has_webhook: row.get(14)?,
                    },
                    plugin,
                    queue,
                    attempt,
                    attempts_max: row.get(3)?,
                    host_crashes: row.get(4)?,
                    timeout: timeout(row, 5)?,
                    backoff: backoff(row, 7, 19)?,
                    input: None,
                    pass_results: row.get(13)?,
                    checkpoint: if token == 1 { Checkpoint::None } else { Checkpoint::NotLoaded },
                };
                Ok((claimed, row.get::<_, bool>(6)?, row.get::<_, bool>(18)?, since))
            })?;
        let mut statement = batch.connection.prepare_cached(CLAIM)?;
        statement.execute(params![seq, claimed.claim.token, claimed.attempt, nanos(since)])?;
        if has_input {
            let mut statement = batch.connection.prepare_cached(INPUT)?;
            claimed.input = Some(statement.query_one([seq], |row| row.get(0))?);
        }
        if is_suspended {
            let mut statement = batch.connection.prepare_cached(STATE)?;
            let state = statement.query_row([seq], |row| row.get(0)).optional()?;
            claimed.checkpoint = state.map_or(Checkpoint::NotLoaded, Checkpoint::State);
        }
        // So far it only says that there are dependencies; most tasks have none and need no query.
        if claimed.pass_results {
            let mut statement = batch.connection.prepare_cached(PASS_RESULTS)?;
            claimed.pass_results = statement.query_one([seq], |row| row.get(0))?;
        }
        batch.record_move(candidate.plugin, Some(TaskState::Waiting), Some(TaskState::Running));
        let report = &claimed.claim.report;
        batch.turns.push(LiveChange::Began { seq, run: report.clone() });
        batch.events.push(report.event(EventKind::Started, self.now));
        Ok(claimed)
    }
}

/// Reads available tasks of a group.
fn read_group<'a>(
    connection: &Connection,
    quota: &'a ClaimQuota,
    group: &Group,
    skip: usize,
    limit: usize,
) -> rusqlite::Result<VecDeque<Candidate<'a>>> {
    let mut statement = connection.prepare_cached(GROUPED)?;
    let rows = statement.query(params![quota.plugin.as_str(), group.as_str(), size(limit), size(skip)])?;
    let mut ready = VecDeque::new();
    read_candidates(&mut ready, rows, quota)?;
    Ok(ready)
}

/// Reads candidates of one plugin: sort key and row id.
fn read_candidates<'a>(
    candidates: &mut VecDeque<Candidate<'a>>,
    mut rows: rusqlite::Rows<'_>,
    quota: &'a ClaimQuota,
) -> rusqlite::Result<()> {
    while let Some(row) = rows.next()? {
        candidates.push_back(Candidate { sort_key: row.get(0)?, seq: row.get(1)?, plugin: &quota.plugin });
    }
    Ok(())
}
