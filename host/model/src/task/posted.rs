//! Events that somebody posts to a task, such as an approval or a callback, and what resumes a suspended task early.
//!
//! Not to be confused with the events of a task, which tell followers what happens to it.

use std::fmt;
use std::str::FromStr;

use super::label::{InvalidLabel, checked};
use crate::TaskId;

/// Maximum events that a task keeps for its next run.
pub const POSTED_EVENTS_MAX: usize = 100;

/// Maximum bytes of the payload of an event.
pub const POSTED_EVENT_BYTES_MAX: usize = 64 << 10;

/// Maximum characters of the name of an event.
pub const EVENT_NAME_CHARS_MAX: usize = 64;

/// The name of an event: 1 to 64 characters without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName(Box<str>);

impl EventName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventName {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        checked(text, EVENT_NAME_CHARS_MAX).map(Self)
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event to store for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The task that gets it.
    pub task: TaskId,
    /// Its name, if it has one.
    pub name: Option<EventName>,
    /// JSON text, at most [`POSTED_EVENT_BYTES_MAX`].
    pub payload: String,
}

/// An event that a run receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedEvent {
    /// Its number among those ever posted to the task, from 1.
    pub number: u64,
    /// Its name, if it has one.
    pub name: Option<EventName>,
    /// JSON text.
    pub payload: String,
}

/// What resumes a suspended task before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WakeOn {
    /// A posted event, also one that came before the task was suspended.
    pub event: bool,
    /// The end of a child, also one that ended since the run began that suspended the task.
    pub any_child: bool,
    /// The end of the last child; at once if all have ended.
    pub all_children: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_texts_without_control_characters() {
        for good in ["approved", "legal department", &"ü".repeat(64)] {
            assert_eq!(good.parse::<EventName>().expect("valid").as_str(), good);
        }
        for bad in ["", "a\nb", &"x".repeat(65)] {
            assert!(bad.parse::<EventName>().is_err(), "{bad:?}");
        }
    }
}
