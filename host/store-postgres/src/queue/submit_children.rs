//! Stores children of a running task, each name once.

use std::collections::HashMap;

use async_trait::async_trait;
use wasmill_model::{ChildBounds, NewTask, TaskId};
use wasmill_store::rules::children as rules;
use wasmill_store::{ChildrenOutcome, Claim, StoreError};

use crate::connection::fault::Result;
use crate::queue::insert::Insert;
use crate::read::rows::{get, host, number, seq, size, task_id, uuid};
use crate::writer::batch::{Batch, Operation};

const PARENT: &str = "
    SELECT children, depth FROM task
    WHERE seq = $1 AND id = $2 AND claim_token = $3 AND host = $4 AND state = 'running' AND stop_requested_at IS NULL";
const NAMED: &str = "SELECT name, id FROM dependency WHERE seq = $1 AND name = ANY ($2)";
/// Behind position $2.
const ADD: &str = "
    WITH counted AS (UPDATE task SET children = children + $5 WHERE seq = $1)
    INSERT INTO dependency (seq, position, id, on_seq, name)
    SELECT $1, $2 + n, task.id, task.seq, new.name
    FROM unnest($3::uuid[], $4::text[]) WITH ORDINALITY AS new (id, name, n) JOIN task ON task.id = new.id";

#[derive(Debug)]
pub(crate) struct SubmitChildren {
    pub(crate) claim: Claim,
    pub(crate) children: Vec<NewTask>,
    pub(crate) bounds: ChildBounds,
    pub(crate) waiting_max: u64,
}

#[async_trait]
impl Operation for SubmitChildren {
    type Answer = std::result::Result<ChildrenOutcome, StoreError>;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        // Each is a row of its own and one of its parent.
        Insert::cost_of(&self.children) + self.children.len() as u64
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Self::Answer> {
        let (task, parent) = (self.claim.task_ref(), seq(self.claim.task_ref()));
        let values: crate::connection::database::Params<'_> =
            &[&parent, &uuid(self.claim.id), &self.claim.token(), &host(task)];
        let Some(row) = batch.connection.optional(PARENT, values).await? else {
            return Ok(Ok(ChildrenOutcome::Revoked));
        };
        let (count, depth) = (number(&row, 0)?, number(&row, 1)?);
        // Most tasks submit all their children at once.
        let known = if count > 0 { self.named(batch, parent).await? } else { HashMap::new() };
        let mut ids = Vec::with_capacity(self.children.len());
        let mut tasks = Vec::new();
        for child in &self.children {
            let known = known.get(name(child));
            ids.push(known.copied().unwrap_or(child.id));
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
        let insert = Insert { tasks, waiting_max: self.waiting_max, request: None };
        if let Err(refusal) = insert.run(batch).await? {
            return Ok(Err(refusal));
        }
        let before = rules::position(count) - 1;
        let new: Vec<_> = insert.tasks.iter().map(|task| uuid(task.id)).collect();
        let names: Vec<_> = insert.tasks.iter().map(name).collect();
        batch.connection.execute(ADD, &[&parent, &before, &new, &names, &size(new.len())]).await?;
        batch.writer_state.has_dependents = true;
        batch.effects.wait_for_ready = true;
        Ok(Ok(ChildrenOutcome::Submitted(ids)))
    }
}

impl SubmitChildren {
    /// Returns the children of the task that have the names of these.
    async fn named(&self, batch: &Batch<'_>, parent: i64) -> Result<HashMap<String, TaskId>> {
        let names: Vec<_> = self.children.iter().map(name).collect();
        let rows = batch.connection.query(NAMED, &[&parent, &names]).await?;
        rows.iter().map(|row| Ok((get(row, 0)?, task_id(row, 1)?))).collect()
    }
}

/// Returns the name of a child.
fn name(child: &NewTask) -> &str {
    child.child_of.as_ref().map_or("", |child_of| child_of.name.as_str())
}
