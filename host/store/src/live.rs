//! The live side of a store: events, and what running tasks report. In memory only, on each host.
//!
//! A backend creates the [`LiveRun`] of each claim, and publishes what a write changed once it has committed.

mod event_bus;
mod live_runs;
mod log;
mod run_ref;
mod task_spans;

pub use event_bus::{EventBus, EventSample, Publishing, Received, Subscriber, TaskSubscriber};
pub use live_runs::{LiveChange, LiveRun, LiveRuns, RunReport, RunStart};
pub use log::{Body, Damaged, LiveLog, LogLines, LogPart, RunLog};
pub use run_ref::{RunRef, Traced};
pub use task_spans::RunEnd;
