//! The instances there are, for those who look from outside: the debug port, and the budget of memory.
//!
//! Each run is put on the list when it is begun and taken off when its guest is gone. The list is cut into
//! parts, so that runs that begin and end at the same time do not wait for each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_model::{PluginName, TaskId};

use crate::http_calls::HttpCall;
use crate::kind::{PluginKind, Profile};
use crate::memory::Hold;
use crate::place::InstanceState;
use crate::plugin::Plugin;

/// The parts of the list; a power of two.
const PARTS: usize = 16;

/// What is known of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceInfo {
    /// The task it does.
    pub task: TaskId,
    /// Which attempt at it this is.
    pub attempt: u32,
    /// Its plugin.
    pub plugin: PluginName,
    /// The SHA-256 of the file of its plugin, in hexadecimal.
    pub digest: Arc<str>,
    /// What kind of plugin that is.
    pub kind: PluginKind,
    /// Whether it was made outside of the pools.
    pub is_on_demand: bool,
    /// How long ago the run was begun.
    pub age: Duration,
    /// What it does.
    pub state: InstanceState,
    /// Time it spent computing.
    pub cpu: Duration,
    /// Bytes of its memories and tables.
    pub memory_bytes: u64,
    /// Bytes of its tables alone.
    pub tables_bytes: u64,
    /// The most it may use.
    pub memory_bytes_max: u64,
    /// Its HTTP calls that are under way.
    pub http: Vec<HttpCall>,
    /// Whether it may use files, and so may wait for one.
    pub has_files: bool,
}

/// All instances.
#[derive(Default)]
pub(crate) struct Instances {
    parts: [Mutex<Part>; PARTS],
}

#[derive(Default)]
struct Part {
    /// A place stays its run's until that is over, and is then used again.
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
}

/// One run on the list.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) hold: Arc<Hold>,
}

/// Takes the run off the list when it is dropped.
pub(crate) struct Listed {
    instances: Arc<Instances>,
    part: usize,
    index: usize,
}

impl Instances {
    /// Puts a run on the list.
    pub(crate) fn list(self: &Arc<Self>, entry: Entry) -> Listed {
        // The end of an id is random.
        let part = usize::from(entry.task.as_bytes()[15]) % PARTS;
        let mut entries = self.part(part);
        let index = match entries.free.pop() {
            Some(index) => {
                entries.entries[index] = Some(entry);
                index
            }
            None => {
                entries.entries.push(Some(entry));
                entries.entries.len() - 1
            }
        };
        drop(entries);
        Listed { instances: Arc::clone(self), part, index }
    }

    /// Returns what is known of each instance, in no order.
    pub(crate) fn infos(&self) -> Vec<InstanceInfo> {
        let mut infos = Vec::new();
        for part in 0..PARTS {
            infos.extend(self.part(part).entries.iter().flatten().map(Entry::info));
        }
        infos
    }

    /// Returns what each instance holds of the memory, in no order.
    pub(crate) fn holds(&self) -> Vec<Arc<Hold>> {
        let mut holds = Vec::new();
        for part in 0..PARTS {
            holds.extend(self.part(part).entries.iter().flatten().map(|entry| Arc::clone(&entry.hold)));
        }
        holds
    }

    fn part(&self, part: usize) -> MutexGuard<'_, Part> {
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut part = self.instances.part(self.part);
        let entry = part.entries[self.index].take();
        part.free.push(self.index);
        drop(part);
        // What the run held is given back here if this was the last to know of it.
        drop(entry);
    }
}

impl Entry {
    fn info(&self) -> InstanceInfo {
        let Self { task, attempt, plugin, hold } = self;
        let seen = hold.place().look();
        InstanceInfo {
            task: *task,
            attempt: *attempt,
            plugin: plugin.name.clone(),
            digest: Arc::clone(&plugin.digest),
            kind: plugin.kind,
            is_on_demand: plugin.profile == Profile::OnDemand,
            age: seen.age,
            state: seen.state,
            cpu: seen.cpu,
            memory_bytes: hold.used(),
            tables_bytes: seen.tables_bytes,
            memory_bytes_max: plugin.config.limits.memory_bytes,
            http: hold.place().http_if_any().map(|calls| calls.list()).unwrap_or_default(),
            has_files: !plugin.config.permissions.dirs.is_empty(),
        }
    }
}
