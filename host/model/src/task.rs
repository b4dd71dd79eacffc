//! Tasks: what is submitted, what is stored, and the states between.

mod child;
mod dependency;
mod label;
mod posted;
mod priority;
mod record;
mod result;
mod state;
mod transition;
mod usage;
mod webhook;

pub use child::{
    CHILD_NAME_CHARS_MAX, CHILDREN_READ_BYTES_MAX, CHILDREN_READ_MAX, Child, ChildBounds, ChildName, ChildOf,
    ChildrenError, NewChild,
};
pub use dependency::{
    DEPENDENCIES_MAX, DEPENDENCY_FILES_MAX, DEPENDENCY_RESULTS_BYTES_MAX, DependencyFiles, DependencyResult,
    FilesFrom, InvalidFilesFrom, NewDependencies, OnFailure,
};
pub use label::{
    GROUP_CHARS_MAX, Group, InvalidLabel, KEY_CHARS_MAX, KeySpace, OnConflict, TAG_CHARS_MAX, TAGS_MAX, Tag,
    Unique, UniqueKey,
};
pub use posted::{
    EVENT_NAME_CHARS_MAX, EventName, NewEvent, POSTED_EVENT_BYTES_MAX, POSTED_EVENTS_MAX, PostedEvent, WakeOn,
};
pub use priority::Priority;
pub use record::{NewTask, Progress, Task};
pub use result::{InvalidMediaType, MediaType, ResultType, TaskResult};
pub use state::{TaskPhase, TaskState};
pub use transition::{AttemptCounts, HOST_CRASHES_MAX, RunOutcome, Transition};
pub use usage::{Meter, Usage};
pub use webhook::Webhook;
