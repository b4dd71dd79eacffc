//! How many tasks of a group may run at once, over all plugins and hosts: the limit `running` of a key with this group.

use std::collections::HashMap;
use std::fmt;

use wasmill_model::Group;

/// How many tasks of each limited group may run at once.
pub type GroupLimits = HashMap<Group, usize>;

/// How many more tasks of limited groups one claim may take.
///
/// What runs is counted once, and only if a limited group has its turn.
pub struct GroupsLeft<'a, E> {
    limits: &'a GroupLimits,
    running: &'a mut dyn FnMut() -> Result<HashMap<Group, usize>, E>,
    /// `None` until what runs is counted.
    left: Option<HashMap<&'a Group, usize>>,
}

impl<'a, E> GroupsLeft<'a, E> {
    /// Prepares for a claim; `running` counts the running tasks of each group.
    pub fn new(
        limits: &'a GroupLimits,
        running: &'a mut dyn FnMut() -> Result<HashMap<Group, usize>, E>,
    ) -> Self {
        Self { limits, running, left: None }
    }

    /// Returns true if another task of this group may run.
    ///
    /// # Errors
    ///
    /// Fails if the running tasks cannot be counted.
    pub fn has_room(&mut self, group: &Group) -> Result<bool, E> {
        if !self.limits.contains_key(group) {
            return Ok(true);
        }
        if self.left.is_none() {
            self.left = Some(left(self.limits, &(self.running)()?));
        }
        let left = self.left.as_ref().and_then(|left| left.get(group));
        Ok(left.is_none_or(|left| *left > 0))
    }

    /// Counts a task of this group that is claimed.
    pub fn take(&mut self, group: &Group) {
        if let Some(left) = self.left.as_mut().and_then(|left| left.get_mut(group)) {
            *left = left.saturating_sub(1);
        }
    }
}

/// Returns how many more tasks of each limited group may run.
pub fn left<'a>(limits: &'a GroupLimits, running: &HashMap<Group, usize>) -> HashMap<&'a Group, usize> {
    let left = |(group, most): (&'a Group, &usize)| {
        (group, most.saturating_sub(running.get(group).copied().unwrap_or(0)))
    };
    limits.iter().map(left).collect()
}

impl<E> fmt::Debug for GroupsLeft<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupsLeft").field("left", &self.left).finish_non_exhaustive()
    }
}
