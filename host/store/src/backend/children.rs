//! Tasks that a task submits while it runs.

use wasmill_model::{Child, ChildBounds, NewTask};

use crate::{ChildrenOutcome, Claim, StoreError};

/// Tasks that a task submits while it runs, as its children. See [`Backend`](crate::Backend) for what holds for every method.
///
/// When a task has ended, whatever the outcome, its unfinished children are cancelled: waiting ones in the same transaction
/// or the next ones, also after a crash, and running ones get a stop request, of which the host that runs them
/// [is told](crate::Cluster::wait_for_stops).
#[async_trait::async_trait]
pub trait Children {
    /// Stores children of a claimed task, all or none; durable on return. Each names this task and its own name in
    /// [`child_of`](NewTask::child_of), and has neither dependencies nor a unique key. One whose name the task has used is
    /// not stored again: it is the child that has the name, also if that has ended or was deleted.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](crate::TaskQueue::submit) if a limit would be exceeded.
    async fn submit_children(
        &self,
        claim: &Claim,
        children: Vec<NewTask>,
        bounds: ChildBounds,
    ) -> Result<ChildrenOutcome, StoreError>;

    /// Returns the children of a claimed task from this number on, in the order in which they were stored, up to
    /// [`CHILDREN_READ_MAX`](wasmill_model::CHILDREN_READ_MAX); fewer if their results are large. Empty if there are no
    /// more, or the claim was revoked.
    ///
    /// A child that has ended is kept until its parent has. One that was deleted is cancelled.
    async fn children(&self, claim: &Claim, start: u64) -> Result<Vec<Child>, StoreError>;
}
