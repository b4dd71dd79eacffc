//! The outcome of a step of a task that is suspended instead of waiting.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::bindings::plugin::wasmill::task::types::{Suspension, WakeOn};
use crate::bindings::suspendable_plugin::exports::wasmill::task::resumable_job;
use crate::host::nanoseconds;

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<Output = String, State = Vec<u8>> {
    /// The task is completed, with this result.
    Done(Output),
    /// The task is suspended for this time (10 ms to 366 days), and resumes in a new instance with this state.
    Suspended(Duration, State),
    /// The same, but an event that [`next_event`](crate::next_event) has not returned resumes it earlier.
    UntilEvent(Duration, State),
    /// The same, but any of these resumes it earlier, such as `WakeOn::ALL_CHILDREN | WakeOn::EVENT`.
    Until(Duration, WakeOn, State),
}

impl From<Step> for resumable_job::Step {
    fn from(step: Step) -> Self {
        match step {
            Step::Done(result) => Self::Done(result),
            Step::Suspended(wait, state) => suspended(wait, WakeOn::empty(), state),
            Step::UntilEvent(wait, state) => suspended(wait, WakeOn::EVENT, state),
            Step::Until(wait, wake_on, state) => suspended(wait, wake_on, state),
        }
    }
}

fn suspended(wait: Duration, wake_on: WakeOn, state: Vec<u8>) -> resumable_job::Step {
    resumable_job::Step::Suspended(Suspension { wait: nanoseconds(wait), wake_on, state })
}
