//! Runs the checks of task requests: short ones where they are, long ones on a thread of their own, few at once.
//!
//! Asked by every route that makes tasks. What makes a check long is the schema of a plugin: how many steps it
//! takes is up to whoever wrote the schema and whoever sends the input.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmill_runtime::InputBudget;

use crate::app::Api;
use crate::problem::Problem;

/// Long checks that run at the same time at least. Others wait, as requests that can be given up.
const LONG_CHECKS_MIN: usize = 2;

/// The turns of long checks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CheckPool(Arc<Semaphore>);

impl Default for CheckPool {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self(Arc::new(Semaphore::new(LONG_CHECKS_MIN.max(threads / 2))))
    }
}

impl CheckPool {
    /// Does work that checks input on a thread of its own when it is its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let failed = || Problem::internal_fault("checking a request panicked");
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(|_| failed())?;
        let worked = tokio::task::spawn_blocking(move || {
            // It is held until the work is done, also if the client has gone.
            let _turn = turn;
            work()
        });
        worked.await.map_err(|_| failed())
    }
}

/// Does a check here if it is short, else once more from its beginning on a thread of its own.
pub(crate) async fn checked<T: Send + 'static>(
    api: &Api,
    check: impl Fn(&Api, &mut InputBudget) -> T + Send + 'static,
) -> Result<T, Problem> {
    let mut budget = InputBudget::short();
    let checked = check(api, &mut budget);
    if !budget.is_spent() {
        return Ok(checked);
    }
    let api_there = api.clone();
    api.check_pool.run(move || check(&api_there, &mut InputBudget::full())).await
}
