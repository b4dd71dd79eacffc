//! The vocabulary of Wasmill: tasks, their states, and how runs end.
//!
//! All other crates use these types. Nothing here does I/O, waits or starts a thread.

mod clock;
mod duration;
pub mod fault_point;
mod file;
mod histogram;
mod id;
mod limits;
mod log;
mod plugin;
mod rate;
mod reach;
mod retry;
mod run;
mod schedule;
mod task;
mod text;
mod timing;
mod trace;

pub use clock::{Clock, SystemClock, TimeDelta, Timestamp, boot_time};
pub use duration::{InvalidDuration, duration_pattern, parse_duration};
pub use file::{
    Content, ContentId, FILE_NAME_BYTES_MAX, FileBudget, FileDirection, FileLimits, FileName, FileRefusal,
    InvalidFileName, OutputFile, TaskFile,
};
pub use histogram::{COUNTS, Histogram, LATENCY_SECONDS, RUN_SECONDS};
pub use id::{IdEnd, IdPrefix, InvalidIdEnd, InvalidIdPrefix, InvalidTaskId, TaskId};
pub use limits::{KeyLimits, LimitedKey, Limits, SLOTS_DEFAULT};
pub use log::{LINE_SEQ_MAX, LogLine, LogStream, LogTail};
pub use plugin::{InvalidPluginName, PluginName};
pub use rate::{InvalidRate, Rate};
pub use reach::{InvalidPattern, InvalidReach, PluginPattern, REACH_NAMES_MAX, REACH_TAGS_MAX, Reach};
pub use retry::{
    ATTEMPTS_MAX, Backoff, Cause, CauseFilter, FACTOR_MAX, Failure, InvalidBackoff, Retry, RetryOn,
    UnknownCause, UnknownKind,
};
pub use run::{BoxFuture, Pinned, RunHost, RunRequest, RunStep, Runner, Suspension};
pub use schedule::{InvalidScheduleName, MissedPolicy, ScheduleName};
pub use task::{
    AttemptCounts, CHILD_NAME_CHARS_MAX, CHILDREN_READ_BYTES_MAX, CHILDREN_READ_MAX, Child, ChildBounds,
    ChildName, ChildOf, ChildrenError, DEPENDENCIES_MAX, DEPENDENCY_FILES_MAX, DEPENDENCY_RESULTS_BYTES_MAX,
    DependencyFiles, DependencyResult, EVENT_NAME_CHARS_MAX, EventName, FilesFrom, GROUP_CHARS_MAX, Group,
    HOST_CRASHES_MAX, InvalidFilesFrom, InvalidLabel, InvalidMediaType, KEY_CHARS_MAX, KeySpace, MediaType,
    Meter, NewChild, NewDependencies, NewEvent, NewTask, OnConflict, OnFailure, POSTED_EVENT_BYTES_MAX,
    POSTED_EVENTS_MAX, PostedEvent, Priority, Progress, ResultType, RunOutcome, TAG_CHARS_MAX, TAGS_MAX, Tag,
    Task, TaskPhase, TaskResult, TaskState, Transition, Unique, UniqueKey, Usage, WakeOn, Webhook,
};
pub use text::{position, shown_size, without_bom};
pub use timing::{DueTimes, InvalidTiming, TIMING_BYTES_MAX, Timing};
pub use trace::{
    InvalidTraceContext, RunTrace, Sampler, Span, SpanAttribute, SpanId, SpanKind, TraceContext, TraceId,
    Tracer, TracerStats,
};
