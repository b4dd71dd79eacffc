//! What is refused of a submit.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_model::{NewTask, OnConflict, PluginName, TaskFile, Unique};

use crate::rules::key_usage::KeyUsage;
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

/// How many tasks wait and how much is stored without this request.
pub trait Room {
    /// Returns how many tasks of a plugin wait.
    fn waiting(&self, plugin: &PluginName) -> u64;

    /// Returns what the tasks of a key take up.
    fn usage(&self, key: &str) -> KeyUsage;
}

/// The limits of plugins and keys, and what this request takes of them.
#[derive(Debug)]
pub struct SubmitLimits<'a> {
    /// Waiting tasks per plugin, including those of this request; not counted if no plugin has a limit.
    plugins: Option<BTreeMap<&'a PluginName, u64>>,
    /// What the tasks of the request take up for each key. One request has one key.
    keys: BTreeMap<&'a str, KeyUsage>,
}

impl<'a> SubmitLimits<'a> {
    /// Prepares for these tasks.
    pub fn of(tasks: &[NewTask]) -> Self {
        let plugins = tasks.iter().any(|task| task.waiting_max.is_some()).then(BTreeMap::new);
        Self { plugins, keys: BTreeMap::new() }
    }

    /// Counts one more task of the request, whose index this is.
    ///
    /// # Errors
    ///
    /// [`StoreError::PluginFull`], [`StoreError::KeyQueueFull`] or [`StoreError::KeyStorageFull`] if the task would exceed
    /// a limit of its plugin or key; the request is then refused as a whole.
    pub fn count(&mut self, index: usize, task: &'a NewTask, room: &impl Room) -> Result<(), StoreError> {
        self.count_for_key(index, task, room)?;
        self.count_for_plugin(index, task, room)
    }

    fn count_for_plugin(
        &mut self,
        index: usize,
        task: &'a NewTask,
        room: &impl Room,
    ) -> Result<(), StoreError> {
        let Some(counts) = &mut self.plugins else { return Ok(()) };
        let count = counts.entry(&task.plugin).or_insert_with(|| room.waiting(&task.plugin));
        if let Some(waiting_max) = task.waiting_max.filter(|waiting_max| *count >= *waiting_max) {
            return Err(StoreError::PluginFull { index, plugin: task.plugin.clone(), waiting_max });
        }
        *count += 1;
        Ok(())
    }

    fn count_for_key(&mut self, index: usize, task: &'a NewTask, room: &impl Room) -> Result<(), StoreError> {
        let Some(limited) = &task.limited_by else { return Ok(()) };
        let (key, limits) = (Arc::clone(&limited.name), limited.limits);
        let KeyUsage { waiting, stored_bytes } = room.usage(&key);
        let own = self.keys.entry(&limited.name).or_default();
        let bytes = input_bytes(task);
        if let Some(waiting_max) = limits.waiting_max.filter(|most| waiting + own.waiting >= *most) {
            return Err(StoreError::KeyQueueFull { index, key, waiting, waiting_max });
        }
        // A task without an input has room, too, only below the limit: its result will take some.
        let stored = stored_bytes.saturating_add(own.stored_bytes).saturating_add(bytes.max(1));
        if let Some(stored_bytes_max) = limits.stored_bytes_max.filter(|most| stored > *most) {
            return Err(StoreError::KeyStorageFull { index, key, stored_bytes, stored_bytes_max });
        }
        own.waiting += 1;
        own.stored_bytes += bytes;
        Ok(())
    }
}

/// Returns the size of the input of a task and of the files that come with it.
pub fn input_bytes(task: &NewTask) -> u64 {
    task.input.as_ref().map_or(0, String::len) as u64 + files_bytes(&task.files)
}

/// Refuses a task whose files are gone: they waited too long, or the task that it retries was deleted a moment ago.
pub fn files_gone() -> StoreError {
    let message = "the files of the task are gone; send them again".to_owned();
    StoreError::Unavailable { message }
}

/// Returns the size of files.
pub fn files_bytes(files: &[TaskFile]) -> u64 {
    files.iter().fold(0, |bytes, file| bytes.saturating_add(file.content.bytes))
}
