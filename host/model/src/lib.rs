//! The vocabulary of Wasmill: tasks, their states, and how runs end.
//!
//! All other crates use these types. Nothing here does I/O, waits or starts a thread.

mod clock;
mod dependency;
mod duration;
mod failure;
pub mod fault_point;
mod histogram;
mod id_end;
mod id_prefix;
mod label;
mod limits;
mod log_line;
mod log_tail;
mod plugin;
mod priority;
mod rate;
mod retry;
mod retry_on;
mod run;
mod schedule;
mod span;
mod state;
mod task;
mod task_id;
mod timing;
mod trace;
mod tracer;
mod transition;
mod usage;
mod webhook;

pub use clock::{Clock, SystemClock, TimeDelta, Timestamp};
pub use dependency::{
    DEPENDENCIES_MAX, DEPENDENCY_RESULTS_BYTES_MAX, DependencyResult, NewDependencies, OnFailure,
};
pub use duration::{InvalidDuration, duration_pattern, parse_duration};
pub use failure::{Cause, Failure, UnknownCause};
pub use histogram::{COUNTS, Histogram, LATENCY_SECONDS, RUN_SECONDS};
pub use id_end::{IdEnd, InvalidIdEnd};
pub use id_prefix::{IdPrefix, InvalidIdPrefix};
pub use label::{Group, InvalidLabel, OnConflict, TAGS_MAX, Tag, Unique, UniqueKey};
pub use limits::Limits;
pub use log_line::{LINE_SEQ_MAX, LogLine, LogStream};
pub use log_tail::LogTail;
pub use plugin::{InvalidPluginName, PluginName};
pub use priority::Priority;
pub use rate::{InvalidRate, Rate};
pub use retry::{ATTEMPTS_MAX, Backoff, InvalidBackoff};
pub use retry_on::{RetryOn, UnknownKind};
pub use run::{BoxFuture, Pinned, RunHost, RunRequest, RunStep, Runner, Suspension};
pub use schedule::{InvalidScheduleName, MissedPolicy, ScheduleName};
pub use span::{Span, SpanAttribute, SpanKind};
pub use state::{TaskPhase, TaskState};
pub use task::{NewTask, Progress, Task};
pub use task_id::{InvalidTaskId, TaskId};
pub use timing::{DueTimes, InvalidTiming, TIMING_BYTES_MAX, Timing};
pub use trace::{InvalidTraceContext, SpanId, TraceContext, TraceId};
pub use tracer::{RunTrace, Sampler, Tracer, TracerStats};
pub use transition::{AttemptCounts, HOST_CRASHES_MAX, RunOutcome, Transition};
pub use usage::{Meter, Usage};
pub use webhook::Webhook;
