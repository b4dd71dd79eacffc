//! What the endpoints of the debug port read.

use std::sync::Arc;

use wasmill_access::Access;
use wasmill_model::Clock;
use wasmill_runtime::Runtime;
use wasmill_scheduler::Scheduler;

/// State of the debug port. Cheap to clone.
#[derive(Clone)]
pub struct DebugState {
    /// The keys in force; one with the scope `admin` is needed.
    pub access: Access,
    /// The scheduler, which knows the runs.
    pub scheduler: Scheduler,
    /// The runtime, which knows the instances.
    pub runtime: Runtime,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}
