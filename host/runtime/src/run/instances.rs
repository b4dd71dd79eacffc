//! The list of running instances, for the debug port and the memory budget.
//!
//! Each run is listed when it starts and removed when its guest is gone. The list is sharded, so that runs that
//! start and end concurrently do not contend.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_model::{PluginName, TaskId};

use crate::engine::profile::Profile;
use crate::memory::MemoryReservation;
use crate::observe::http_calls::HttpCall;
use crate::observe::instance_status::InstanceState;
use crate::observe::stack_requests::StackRequest;
use crate::observe::tcp_sockets::TcpSocketInfo;
use crate::plugin::context::PluginContext;
use crate::plugin::kind::PluginKind;

/// The number of shards; a power of two.
const SHARDS: usize = 16;

/// What is known of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceInfo {
    /// Its task.
    pub task: TaskId,
    /// The number of the attempt.
    pub attempt: u32,
    /// Its plugin.
    pub plugin: PluginName,
    /// The SHA-256 of the plugin's file, in hexadecimal.
    pub digest: Arc<str>,
    /// The kind of the plugin.
    pub kind: PluginKind,
    /// Whether it runs on the on-demand engine.
    pub is_on_demand: bool,
    /// The time since the run was created.
    pub age: Duration,
    /// What it is doing.
    pub state: InstanceState,
    /// Its CPU time.
    pub cpu: Duration,
    /// Bytes of its memories and tables.
    pub memory_bytes: u64,
    /// Bytes of its tables alone.
    pub tables_bytes: u64,
    /// Its memory limit.
    pub memory_bytes_max: u64,
    /// Its HTTP requests in flight.
    pub http: Vec<HttpCall>,
    /// Its TCP sockets and name look-ups.
    pub tcp: Vec<TcpSocketInfo>,
    /// Whether it may use files, and so may be waiting for one.
    pub has_files: bool,
}

/// All instances.
#[derive(Default)]
pub(crate) struct Instances {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// An index belongs to a run until it ends, and is then reused.
    entries: Vec<Option<RunEntry>>,
    free: Vec<usize>,
}

/// One run on the list.
#[derive(Clone)]
pub(crate) struct RunEntry {
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
    pub(crate) plugin: Arc<PluginContext>,
    pub(crate) reservation: Arc<MemoryReservation>,
}

/// Removes the run from the list on drop.
pub(crate) struct InstanceGuard {
    instances: Arc<Instances>,
    shard: usize,
    index: usize,
}

impl Instances {
    /// Adds a run to the list.
    pub(crate) fn insert(self: &Arc<Self>, entry: RunEntry) -> InstanceGuard {
        let shard = shard_of(entry.task);
        let mut entries = self.shard(shard);
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
        InstanceGuard { instances: Arc::clone(self), shard, index }
    }

    /// Returns what is known of each instance, in no particular order.
    pub(crate) fn infos(&self) -> Vec<InstanceInfo> {
        let mut infos = Vec::new();
        for shard in 0..SHARDS {
            infos.extend(self.shard(shard).entries.iter().flatten().map(RunEntry::info));
        }
        infos
    }

    /// Returns what is known of the instance of a task; `None` if it has none.
    pub(crate) fn info(&self, task: TaskId) -> Option<InstanceInfo> {
        self.with(task, RunEntry::info)
    }

    /// Asks the guest of a task for its stack; `None` if it has none.
    pub(crate) fn ask_for_stack(&self, task: TaskId) -> Option<StackRequest> {
        self.with(task, |entry| entry.reservation.status().stack_requests().ask())
    }

    /// Reads the entry of a task. Nothing of it may be kept: its end frees the memory of the run.
    fn with<T>(&self, task: TaskId, read: impl FnOnce(&RunEntry) -> T) -> Option<T> {
        self.shard(shard_of(task)).entries.iter().flatten().find(|entry| entry.task == task).map(read)
    }

    /// Returns the memory reservation of each instance, in no particular order.
    pub(crate) fn reservations(&self) -> Vec<Arc<MemoryReservation>> {
        let mut reservations = Vec::new();
        for shard in 0..SHARDS {
            reservations.extend(
                self.shard(shard).entries.iter().flatten().map(|entry| Arc::clone(&entry.reservation)),
            );
        }
        reservations
    }

    fn shard(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the shard of a task. The end of an id is random.
fn shard_of(task: TaskId) -> usize {
    usize::from(task.as_bytes()[15]) % SHARDS
}

impl Drop for InstanceGuard {
    fn drop(&mut self) {
        let mut shard = self.instances.shard(self.shard);
        let entry = shard.entries[self.index].take();
        shard.free.push(self.index);
        drop(shard);
        // Outside of the lock: this may drop the last reference to the reservation.
        drop(entry);
    }
}

impl RunEntry {
    fn info(&self) -> InstanceInfo {
        let Self { task, attempt, plugin, reservation } = self;
        let snapshot = reservation.status().snapshot();
        InstanceInfo {
            task: *task,
            attempt: *attempt,
            plugin: plugin.name.clone(),
            digest: Arc::clone(&plugin.digest),
            kind: plugin.kind,
            is_on_demand: plugin.profile == Profile::OnDemand,
            age: snapshot.age,
            state: snapshot.state,
            cpu: snapshot.cpu,
            memory_bytes: reservation.used(),
            tables_bytes: snapshot.tables_bytes,
            memory_bytes_max: plugin.config.limits.memory_bytes,
            http: reservation.status().http_if_any().map(|calls| calls.list()).unwrap_or_default(),
            tcp: reservation.status().tcp_if_any().map(|sockets| sockets.entries()).unwrap_or_default(),
            has_files: !plugin.config.permissions.dirs.is_empty()
                || plugin.config.permissions.scratch.is_some(),
        }
    }
}
