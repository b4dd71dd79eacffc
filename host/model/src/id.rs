//! Ids of tasks, and parts of them.

mod id_end;
mod id_prefix;
mod task_id;

pub use id_end::{IdEnd, InvalidIdEnd};
pub use id_prefix::{IdPrefix, InvalidIdPrefix};
pub use task_id::{InvalidTaskId, TaskId};
