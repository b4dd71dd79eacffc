//! Children: tasks that a task submits while it runs, and whose ends it waits for.
//!
//! The guest asks for them, the API checks them, the store keeps them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::label::{InvalidLabel, checked};
use crate::{TaskId, TaskState};

/// Maximum characters of the name of a child.
pub const CHILD_NAME_CHARS_MAX: usize = 64;

/// Maximum children that one look returns.
pub const CHILDREN_READ_MAX: usize = 1_000;

/// Bytes of results after which one look ends early.
pub const CHILDREN_READ_BYTES_MAX: u64 = 4 << 20;

/// The name of a child among those of its parent: 1 to 64 characters without control characters. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildName(Arc<str>);

impl ChildName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChildName {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        checked(text, CHILD_NAME_CHARS_MAX).map(|text| Self(text.into()))
    }
}

impl fmt::Display for ChildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose child a task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildOf {
    /// The task that submitted it.
    pub parent: TaskId,
    /// Its name among the children of that task.
    pub name: ChildName,
    /// How many tasks are above it, at least 1.
    pub depth: u32,
}

/// What a guest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChild {
    /// Its name among the children of the task.
    pub name: String,
    /// The plugin that runs it.
    pub plugin: String,
    /// Its input as JSON text.
    pub input: Option<String>,
    /// The other fields of a task request, as a JSON object.
    pub options: Option<String>,
}

/// A child as its parent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// Its task id.
    pub id: TaskId,
    /// How it ended; `None` before. One that was deleted is cancelled.
    pub outcome: Option<TaskState>,
    /// Its result if it completed, and why it failed if it did.
    pub text: String,
}

/// How many children a task may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildBounds {
    /// Maximum children of one task.
    pub children_max: u32,
    /// Maximum tasks above one that is submitted: 1 if children may have none.
    pub depth_max: u32,
}

impl Default for ChildBounds {
    fn default() -> Self {
        Self { children_max: 10_000, depth_max: 4 }
    }
}

/// Why children were not submitted; then none was. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildrenError {
    /// What was asked for is wrong, or not allowed: it will be refused again.
    Refused(String),
    /// Not now: a queue is full, a plugin is being compiled, or the database cannot be written.
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_texts_without_control_characters() {
        for good in ["charge", "page 7", &"ü".repeat(64)] {
            assert_eq!(good.parse::<ChildName>().expect("valid").as_str(), good);
        }
        for bad in ["", "a\nb", &"x".repeat(65)] {
            assert!(bad.parse::<ChildName>().is_err(), "{bad:?}");
        }
    }
}
