//! What is refused of a submit.

use std::collections::BTreeMap;

use wasmill_model::{NewTask, OnConflict, PluginName, Unique};

use crate::{StoreError, SubmittedTask};

/// Answers a new task whose unique key `holder` holds. `earlier` are the tasks before it in the request.
///
/// # Errors
///
/// [`StoreError::KeyTaken`] if the task does not ask for the holder of its key, [`StoreError::KeyTwice`] if the holder
/// is one of the earlier tasks, which is taken back with this one and holds nothing.
pub fn answer_held_key(
    unique: &Unique,
    holder: SubmittedTask,
    earlier: &[NewTask],
) -> Result<SubmittedTask, StoreError> {
    if unique.on_conflict == OnConflict::Return {
        return Ok(holder);
    }
    let (index, key) = (earlier.len(), unique.key.as_str().to_owned());
    Err(match earlier.iter().position(|task| task.id == holder.id) {
        Some(earlier) => StoreError::KeyTwice { index, earlier, key },
        None => StoreError::KeyTaken { index, key, holder: holder.id },
    })
}

/// Waiting tasks per plugin, including those of this request; not counted if no plugin has a limit.
#[derive(Debug)]
pub struct WaitingLimits<'a>(Option<BTreeMap<&'a PluginName, u64>>);

impl<'a> WaitingLimits<'a> {
    /// Prepares for these tasks.
    pub fn of(tasks: &[NewTask]) -> Self {
        Self(tasks.iter().any(|task| task.waiting_max.is_some()).then(BTreeMap::new))
    }

    /// Counts one more task of the request, whose index this is. `waiting` returns how many tasks of a plugin wait
    /// besides the request.
    ///
    /// # Errors
    ///
    /// [`StoreError::PluginFull`] if the task would exceed the limit of its plugin; it is then not counted.
    pub fn count(
        &mut self,
        index: usize,
        task: &'a NewTask,
        waiting: impl FnOnce(&PluginName) -> u64,
    ) -> Result<(), StoreError> {
        let Some(counts) = &mut self.0 else { return Ok(()) };
        let count = counts.entry(&task.plugin).or_insert_with(|| waiting(&task.plugin));
        if let Some(waiting_max) = task.waiting_max.filter(|waiting_max| *count >= *waiting_max) {
            return Err(StoreError::PluginFull { index, plugin: task.plugin.clone(), waiting_max });
        }
        *count += 1;
        Ok(())
    }
}
