//! Stores children of a running task, each name once.

use rusqlite::{OptionalExtension, params};
use wasmill_model::{ChildBounds, NewTask, TaskId};
use wasmill_store::rules::children as rules;
use wasmill_store::{ChildrenOutcome, Claim, StoreError};

use crate::queue::insert::Insert;
use crate::read::rows::{seq, size};
use crate::writer::batch::{Batch, Operation};

pub(crate) const PARENT: &str = "
    SELECT children, coalesce(depth, 0) FROM task
    WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running' AND stop_requested_at IS NULL";
pub(crate) const NAMED: &str = "SELECT id FROM dependency WHERE seq = ?1 AND name = ?2";
pub(crate) const ADD: &str =
    "INSERT INTO dependency (seq, position, id, on_seq, name) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(crate) const COUNT: &str = "UPDATE task SET children = children + ?2 WHERE seq = ?1";

#[derive(Debug)]
pub(crate) struct SubmitChildren {
    pub(crate) claim: Claim,
    pub(crate) children: Vec<NewTask>,
    pub(crate) bounds: ChildBounds,
    pub(crate) waiting_max: u64,
}

impl Operation for SubmitChildren {
    type Answer = Result<ChildrenOutcome, StoreError>;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        // Each is a row of its own and one of its parent.
        Insert::cost_of(&self.children) + self.children.len() as u64
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Self::Answer> {
        let parent = seq(self.claim.task_ref());
        let mut find = batch.connection.prepare_cached(PARENT)?;
        let found = find.query_row(params![parent, self.claim.id.as_bytes(), self.claim.token()], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, u32>(1)?))
        });
        let Some((count, depth)) = found.optional()? else { return Ok(Ok(ChildrenOutcome::Revoked)) };
        drop(find);
        let mut ids = Vec::with_capacity(self.children.len());
        let mut tasks = Vec::new();
        for child in &self.children {
            // Most tasks submit all their children at once.
            let known = if count > 0 { named(batch, parent, child)? } else { None };
            ids.push(known.unwrap_or(child.id));
            if known.is_none() {
                tasks.push(child.clone());
            }
        }
        if let Some(refused) = rules::refusal(self.bounds, depth, count, tasks.len() as u64) {
            return Ok(Ok(refused));
        }
        if tasks.is_empty() {
            return Ok(Ok(ChildrenOutcome::Submitted(ids)));
        }
        let first = batch.writer_state.seq_next;
        let insert = Insert { tasks, waiting_max: self.waiting_max, request: None };
        if let Err(refusal) = insert.run(batch)? {
            return Ok(Err(refusal));
        }
        add(batch, parent, count, first, &insert.tasks)?;
        Ok(Ok(ChildrenOutcome::Submitted(ids)))
    }
}

/// Returns the child of this task that has the name of this one.
fn named(batch: &Batch<'_>, parent: i64, child: &NewTask) -> rusqlite::Result<Option<TaskId>> {
    let name = child.child_of.as_ref().map(|child_of| child_of.name.as_str());
    let mut named = batch.connection.prepare_cached(NAMED)?;
    named.query_row(params![parent, name], |row| Ok(TaskId::from_bytes(row.get(0)?))).optional()
}

/// Makes tasks that were stored from row `first` on children of a task that has `count` of them.
fn add(
    batch: &mut Batch<'_>,
    parent: i64,
    count: u64,
    first: i64,
    tasks: &[NewTask],
) -> rusqlite::Result<()> {
    let mut add = batch.connection.prepare_cached(ADD)?;
    for (number, task) in tasks.iter().enumerate() {
        let position = rules::position(count + number as u64);
        let name = task.child_of.as_ref().map(|child_of| child_of.name.as_str());
        add.execute(params![parent, position, task.id.as_bytes(), first + size(number), name])?;
    }
    drop(add);
    batch.connection.prepare_cached(COUNT)?.execute([parent, size(tasks.len())])?;
    batch.writer_state.has_dependents = true;
    batch.effects.wait_for_ready = true;
    Ok(())
}
