//! What a task may submit as its children, and what their ends mean for it.
//!
//! A task waits for its children as a dependent does for its dependencies, and in the same tables: behind the dependencies
//! of its request.

use wasmill_model::{
    CHILDREN_READ_BYTES_MAX, Child, ChildBounds, DEPENDENCIES_MAX, TaskId, TaskState, WakeOn,
};

use crate::ChildrenOutcome;

/// Returns the position of a child among the dependencies of its parent: children are behind those of the request.
pub fn position(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).saturating_add(DEPENDENCIES_MAX as i64)
}

/// Returns the outcome if a task at this depth, with so many children, must not have these new ones.
pub fn refusal(bounds: ChildBounds, depth: u32, children: u64, new: u64) -> Option<ChildrenOutcome> {
    if new > 0 && depth >= bounds.depth_max {
        return Some(ChildrenOutcome::TooDeep);
    }
    let all = children.saturating_add(new);
    (new > 0 && all > u64::from(bounds.children_max)).then_some(ChildrenOutcome::TooMany { all })
}

/// Returns true if the end of a child resumes its parent, which is in this state; `is_last` if all have ended now.
pub fn wakes(state: TaskState, wake_on: WakeOn, is_last: bool) -> bool {
    state == TaskState::Suspended && (wake_on.any_child || (wake_on.all_children && is_last))
}

/// Returns true if a child is kept for its parent, which reads how it ended.
pub fn is_kept(end: TaskState) -> bool {
    matches!(end, TaskState::Completed | TaskState::Failed)
}

/// Returns the message of a child that is cancelled because its parent has ended in this state.
pub fn cancel_message(parent: TaskId, end: TaskState) -> String {
    let how = match end {
        TaskState::Completed => "has completed",
        TaskState::Failed => "has failed",
        _ => "was cancelled",
    };
    format!("its parent, task {parent}, {how}")
}

/// Collects children until they are enough for one look.
#[derive(Debug, Default)]
pub struct ChildrenRead {
    children: Vec<Child>,
    bytes: u64,
}

impl ChildrenRead {
    /// Adds a child, unless there is no room for it; the first one always has.
    pub fn add(&mut self, child: Child) -> bool {
        self.bytes = self.bytes.saturating_add(child.text.len() as u64);
        let fits = self.children.is_empty() || self.bytes <= CHILDREN_READ_BYTES_MAX;
        if fits {
            self.children.push(child);
        }
        fits
    }

    /// Returns the children.
    pub fn into_children(self) -> Vec<Child> {
        self.children
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_a_bounded_number_of_children_at_a_bounded_depth() {
        let bounds = ChildBounds { children_max: 3, depth_max: 2 };
        assert_eq!(refusal(bounds, 0, 0, 3), None);
        assert_eq!(refusal(bounds, 1, 2, 1), None);
        assert_eq!(refusal(bounds, 0, 2, 2), Some(ChildrenOutcome::TooMany { all: 4 }));
        assert_eq!(refusal(bounds, 2, 0, 1), Some(ChildrenOutcome::TooDeep));
        assert_eq!(refusal(ChildBounds { children_max: 0, depth_max: 0 }, 5, 9, 0), None, "nothing is new");
    }

    #[test]
    fn a_child_wakes_a_suspended_parent_that_waits_for_it() {
        let any = WakeOn { any_child: true, ..WakeOn::default() };
        let all = WakeOn { all_children: true, ..WakeOn::default() };
        let event = WakeOn { event: true, ..WakeOn::default() };
        assert!(wakes(TaskState::Suspended, any, false) && wakes(TaskState::Suspended, all, true));
        assert!(!wakes(TaskState::Suspended, all, false) && !wakes(TaskState::Suspended, event, true));
        assert!(!wakes(TaskState::Running, any, true) && !wakes(TaskState::Scheduled, all, true));
    }

    #[test]
    fn one_look_returns_a_bounded_number_of_bytes_and_at_least_one_child() {
        let child = |bytes: usize| Child {
            name: "a".to_owned(),
            id: TaskId::new(),
            outcome: Some(TaskState::Completed),
            text: "x".repeat(bytes),
        };
        let mut read = ChildrenRead::default();
        assert!(read.add(child(5 << 20)));
        assert!(!read.add(child(0)));
        let mut read = ChildrenRead::default();
        assert!(read.add(child(3 << 20)) && read.add(child(1 << 20)) && !read.add(child(1)));
        assert_eq!(read.into_children().len(), 2);
    }
}
