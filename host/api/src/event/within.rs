//! Keeps a stream of all events within the reach of its reader.

use std::collections::{HashMap, HashSet, VecDeque};

use wasmill_access::Identity;
use wasmill_model::{Reach, TaskId};
use wasmill_store::{Event, Store, StoreError};

use crate::state::Api;

/// Tasks that a stream remembers, at about 100 bytes each; the longest known are forgotten, and looked up again.
const KNOWN_MAX: usize = 4_096;

/// The tasks of which a reader may learn. An event names its task and plugin only, so the store is asked for the rest, once
/// for each task: its labels never change.
pub(super) struct Within {
    store: Store,
    reach: Reach,
    known: HashMap<TaskId, bool>,
    /// In the order in which they became known.
    order: VecDeque<TaskId>,
}

impl Within {
    /// Returns `None` if the sender reaches everything.
    pub(super) fn of(api: &Api, sender: &Identity) -> Option<Self> {
        let reach = sender.reach();
        reach.is_bounded().then(|| Self {
            store: api.store.clone(),
            reach: reach.clone(),
            known: HashMap::new(),
            order: VecDeque::new(),
        })
    }

    /// Returns the events of tasks within. A task that is deleted before an event made it known is not among them.
    pub(super) async fn filter(&mut self, mut events: Vec<Event>) -> Result<Vec<Event>, StoreError> {
        events.retain(|event| self.reach.covers_plugin(event.payload.plugin.as_str()));
        if self.reach.divides_plugins() {
            self.look_up(&events).await?;
            events.retain(|event| self.known.get(&event.payload.task) == Some(&true));
        }
        Ok(events)
    }

    async fn look_up(&mut self, events: &[Event]) -> Result<(), StoreError> {
        // Before it looks what is known, so that none of these events loses its task.
        while self.known.len() > KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let tasks = events.iter().map(|event| event.payload.task);
        let unknown: HashSet<_> = tasks.filter(|task| !self.known.contains_key(task)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let within = self.store.within(unknown.iter().copied().collect(), self.reach.clone()).await?;
        for task in unknown {
            self.known.insert(task, within.contains(&task));
            self.order.push_back(task);
        }
        Ok(())
    }
}
