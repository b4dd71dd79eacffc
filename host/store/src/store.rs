//! The handle of the store.

use std::ops::Deref;
use std::sync::Arc;

use wasmill_model::TaskId;

use crate::{Backend, Subscriber, TaskSubscriber};

/// Durable state, kept by a [`Backend`], whose methods it has. Cheap to clone; all clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

impl Deref for Store {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        &*self.backend
    }
}

impl Store {
    /// Builds the store of an open backend.
    pub fn new(backend: impl Backend + 'static) -> Self {
        Self { backend: Arc::new(backend) }
    }

    /// Resolves when a dependency, a child or a posted event made tasks available since the last call.
    pub async fn wait_for_ready(&self) {
        self.live_runs().wait_for_ready.notified().await;
    }

    /// Subscribes to the events of a task from now on. The task need not exist.
    pub fn subscribe(&self, id: TaskId) -> TaskSubscriber {
        self.live_runs().event_bus.subscribe(id)
    }

    /// Subscribes to the events of all tasks from now on.
    pub fn subscribe_all(&self) -> Subscriber {
        self.live_runs().event_bus.subscribe_all()
    }

    /// Resolves when there is unpublished progress.
    pub async fn wait_for_progress(&self) {
        self.live_runs().wait_for_progress().await;
    }
}
