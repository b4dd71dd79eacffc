//! Makes waiting tasks running, the longest ready first over all plugins asked for.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use rusqlite::params;
use wasmill_model::{PluginName, TaskId, TaskState, Timestamp};

use super::batch::{Batch, Operation};
use super::returned::{Delivery, Returned};
use super::rows::{backoff, nanos, size, timeout};
use super::wall::{self, JUMP_NANOS};
use crate::report::{Reporter, Start, Turn};
use crate::{Change, Claim, Claimed, Claims, Share};

pub(super) const INPUT: &str = "SELECT body FROM input WHERE seq = ?1";
pub(super) const CLAIM: &str = "
    UPDATE task SET state = 1, attempt = attempt + 1, claims = claims + 1, started_at = ?2
    WHERE seq = ?1
    RETURNING id, claims, attempt, attempts_max, host_crashes, timeout_ms, input_bytes IS NOT NULL,
        backoff_first_ms, backoff_factor, backoff_most_ms";

#[derive(Debug)]
pub(super) struct ClaimReady {
    pub(super) shares: Vec<Share>,
    pub(super) tasks_max: usize,
    /// What the weights of all tasks together may come to.
    pub(super) room: u64,
    pub(super) now: Timestamp,
    pub(super) returned: Arc<Returned>,
}

/// A task that could be claimed. It sorts by how long it has been ready.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<'a> {
    ready_at: i64,
    seq: i64,
    plugin: &'a PluginName,
    weight: u64,
}

impl Operation for ClaimReady {
    type Answer = Delivery;
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Delivery> {
        self.settle(batch)?;
        let mut candidates = self.candidates(batch)?;
        let lacked_room = self.leave_out_what_lacks_room(&mut candidates);
        let fewer = candidates.len() < self.tasks_max;
        let next_ready_at = if fewer { self.next_ready_at(batch)? } else { None };
        let claimed = candidates.iter().map(|candidate| self.claim(batch, candidate));
        let claims =
            Claims { claimed: claimed.collect::<rusqlite::Result<_>>()?, next_ready_at, lacked_room };
        Ok(Delivery::new(claims, self.now, self.returned.clone()))
    }
}

pub(super) const READY: &str = "
    SELECT ready_at, seq FROM task INDEXED BY task_waiting
    WHERE state = 0 AND plugin = ?1 AND ready_at <= ?2 ORDER BY ready_at, seq LIMIT ?3";
pub(super) const READY_LATER: &str = "
    SELECT ready_at, seq FROM task INDEXED BY task_waiting
    WHERE state = 0 AND plugin = ?1 AND ready_at > ?2 AND ready_at = created_at ORDER BY ready_at, seq LIMIT ?3";
pub(super) const NEXT: &str = "
    SELECT min(ready_at) FROM task INDEXED BY task_waiting
    WHERE state = 0 AND plugin = ?1 AND ready_at > ?2";

impl ClaimReady {
    /// Looks whether the clock went back since the last claim.
    fn settle(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let (before, now) = (batch.line.claimed_at, nanos(self.now));
        batch.line.claimed_at = now;
        if now < before - JUMP_NANOS {
            let shortened = wall::shorten_waits(batch.connection, now)?;
            let seconds = (before - now) / JUMP_NANOS;
            tracing::warn!(seconds, shortened, "the clock of this machine went back");
        }
        Ok(())
    }

    /// Returns the tasks to claim: of each plugin the first that are ready, as many as its share
    /// allows, and of these the first.
    fn candidates(&self, batch: &Batch<'_>) -> rusqlite::Result<Vec<Candidate<'_>>> {
        // While the clock is behind where it was, tasks that were accepted before are ready all the same.
        let behind = nanos(self.now) < batch.line.newest;
        let mut candidates = Vec::new();
        for &Share { ref plugin, tasks_max, weight } in &self.shares {
            let until = candidates.len() + self.tasks_max.min(tasks_max);
            for sql in [READY, READY_LATER].into_iter().take(1 + usize::from(behind)) {
                let mut statement = batch.connection.prepare_cached(sql)?;
                let most = size(until - candidates.len());
                let mut rows = statement.query(params![plugin.as_str(), nanos(self.now), most])?;
                while let Some(row) = rows.next()? {
                    candidates.push(Candidate { ready_at: row.get(0)?, seq: row.get(1)?, plugin, weight });
                }
            }
        }
        candidates.sort_unstable();
        // A plugin may be named twice.
        candidates.dedup();
        candidates.truncate(self.tasks_max);
        Ok(candidates)
    }

    /// Ends the line at the first task that has no room, and says whether there was one.
    fn leave_out_what_lacks_room(&self, candidates: &mut Vec<Candidate<'_>>) -> bool {
        let mut room = Some(self.room);
        let lacks_room = |candidate: &Candidate<'_>| {
            room = room.and_then(|room| room.checked_sub(candidate.weight));
            room.is_none()
        };
        let first = candidates.iter().position(lacks_room);
        candidates.truncate(first.unwrap_or(candidates.len()));
        first.is_some()
    }

    fn next_ready_at(&self, batch: &Batch<'_>) -> rusqlite::Result<Option<Timestamp>> {
        let mut statement = batch.connection.prepare_cached(NEXT)?;
        let mut earliest: Option<i64> = None;
        for Share { plugin, .. } in &self.shares {
            let ready_at: Option<i64> =
                statement.query_row(params![plugin.as_str(), nanos(self.now)], |row| row.get(0))?;
            earliest = earliest.into_iter().chain(ready_at).min();
        }
        Ok(earliest.map(DateTime::from_timestamp_nanos))
    }

    fn claim(&self, batch: &mut Batch<'_>, candidate: &Candidate<'_>) -> rusqlite::Result<Claimed> {
        let seq = candidate.seq;
        // Behind a clock that went back, a task may be ready in the future.
        let waited = nanos(self.now).saturating_sub(candidate.ready_at);
        let queue = Duration::from_nanos(u64::try_from(waited).unwrap_or(0));
        let mut statement = batch.connection.prepare_cached(CLAIM)?;
        let (mut claimed, has_input) = statement.query_one(params![seq, nanos(self.now)], |row| {
            let (task, plugin) = (TaskId::from_bytes(row.get(0)?), candidate.plugin.clone());
            let (token, attempt) = (row.get(1)?, row.get(2)?);
            let of = Reporter { task, plugin: plugin.clone(), attempt, token };
            let report = batch.reports.cell(of, Some(Start { at: self.now, queue }));
            let claimed = Claimed {
                claim: Claim { id: task, seq, plugin: plugin.clone(), token, report },
                plugin,
                queue,
                attempt,
                attempts_max: row.get(3)?,
                host_crashes: row.get(4)?,
                timeout: timeout(row, 5)?,
                backoff: backoff(row, 7)?,
                input: None,
            };
            Ok((claimed, row.get::<_, bool>(6)?))
        })?;
        if has_input {
            let mut statement = batch.connection.prepare_cached(INPUT)?;
            claimed.input = Some(statement.query_one([seq], |row| row.get(0))?);
        }
        batch.moved(candidate.plugin, Some(TaskState::Waiting), Some(TaskState::Running));
        let report = &claimed.claim.report;
        batch.turns.push(Turn::Began { seq, cell: report.clone() });
        batch.news.push(report.news(Change::Started, self.now));
        Ok(claimed)
    }
}
