//! How submitting children ended.

use wasmill_model::TaskId;

/// How submitting children ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildrenOutcome {
    /// They are stored, or were before under the same names. Their ids, in order.
    Submitted(Vec<TaskId>),
    /// The claim was revoked, or the task is to stop; nothing is stored.
    Revoked,
    /// The task would have this many children, which is too many; nothing is stored.
    TooMany {
        /// How many they would be.
        all: u64,
    },
    /// Too many tasks are above them; nothing is stored.
    TooDeep,
}
