//! What a task can ask of its host.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::bindings::plugin::wasmill::task::host;
use crate::{Child, Dependency, Event, NewChild, RunContext, SaveError, SubmitError};

/// The host asked the run to stop: its task is cancelled with a grace period, or the host shuts down.
///
/// It turns into a [`Failure`](crate::Failure), which is the right end of such a run: after a shutdown it does not
/// count as an attempt, and the task continues from its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopRequested;

/// Returns the task and attempt of this run.
pub fn context() -> RunContext {
    host::context()
}

/// Returns the dependencies of the task with their results, if it was submitted with `"input_from": "dependencies"`;
/// otherwise an empty list. Each call reads the database of the host, so keep the list.
pub fn dependencies() -> Vec<Dependency> {
    host::dependencies()
}

/// Returns the oldest event posted to the task that this run has not received; `None` if there is none.
///
/// It is gone once the task has saved a checkpoint after that, is suspended or ended: keep what it says in the state.
/// Each call reads the database of the host.
pub fn next_event() -> Option<Event> {
    host::next_event()
}

/// Submits tasks as children of this one, all or none, and returns their ids in order. They are durable when this returns.
///
/// A name is given once in the life of a task: one that was submitted before is the child that has it, whatever has become
/// of it. So a step that begins again submits nothing twice.
///
/// # Errors
///
/// Fails if a child is wrong or not allowed, or there is no room for it now.
pub fn submit_children(children: &[NewChild]) -> Result<Vec<String>, SubmitError> {
    host::submit_children(children)
}

/// Returns the children of the task from this one on, counted from 0 in the order in which they were submitted: up to
/// 1,000, fewer if their results are large, and none behind the last one. Each call reads the database of the host.
pub fn children(start: u32) -> Vec<Child> {
    host::children(start)
}

/// Returns all children of the task with their results, however many calls that takes.
pub fn all_children() -> Vec<Child> {
    let mut all = Vec::new();
    loop {
        let more = children(u32::try_from(all.len()).unwrap_or(u32::MAX));
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Reports progress, from 0.0 to 1.0, with a note on the current work of at most 256 bytes. Cheap and not durable.
pub fn progress(fraction: f64, note: &str) {
    host::progress(fraction, note);
}

/// Stores a checkpoint, replacing the previous one. It is durable when this returns.
///
/// # Errors
///
/// Fails if it exceeds the limit (1 MiB by default) or the host cannot store it; the previous one is then unchanged.
pub fn save(state: &[u8]) -> Result<(), SaveError> {
    host::save(state)
}

/// Returns the latest checkpoint of this task, from this attempt or an earlier one.
pub fn restore() -> Option<Vec<u8>> {
    host::restore()
}

/// Returns true if the host asked the run to stop. Cheap enough to call in a loop.
pub fn stop_requested() -> bool {
    host::stop_requested()
}

/// Sleeps for this time. The cheapest way to wait.
///
/// # Errors
///
/// Fails as soon as the host asks the run to stop, and at once if it did so before.
pub fn sleep(time: Duration) -> Result<(), StopRequested> {
    if host::sleep(nanoseconds(time)) { Err(StopRequested) } else { Ok(()) }
}

/// Returns a time in nanoseconds, at most 584 years.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    // Without the division of `as_nanos`, which is a kilobyte.
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}
