//! Runs long checks of task requests on blocking threads, few at once.
//!
//! All operations that create tasks use it. A check is long because of the schema of a plugin: its author and
//! the sender of the input control the number of steps.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::problem::Problem;

/// Minimum number of concurrent long checks. Further ones wait as cancellable requests.
const LONG_CHECKS_MIN: usize = 2;

/// Limits concurrent long checks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CheckPool(Arc<Semaphore>);

impl Default for CheckPool {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self(Arc::new(Semaphore::new(LONG_CHECKS_MIN.max(threads / 2))))
    }
}

impl CheckPool {
    /// Runs a check on a blocking thread once a permit is available.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let failed = || Problem::internal_error("a request check panicked");
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|_| failed())?;
        let joined = tokio::task::spawn_blocking(move || {
            // Held until the check ends, even if the client hangs up.
            let _permit = permit;
            work()
        });
        joined.await.map_err(|_| failed())
    }
}
