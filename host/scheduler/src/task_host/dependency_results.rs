//! Loads the dependency results of a run and explains failures to load them.
//!
//! Called by `task_host` when the guest asks for its input. Loading late keeps results out of memory until they are
//! used and keeps the claim short.

use wasmill_model::{Cause, DEPENDENCY_RESULTS_BYTES_MAX, DependencyResult, Failure};
use wasmill_store::{Claim, DependencyResults, Store};

/// Loads the outcomes and results of the task's dependencies.
pub(crate) async fn dependency_results(
    store: &Store,
    claim: &Claim,
) -> Result<Vec<DependencyResult>, Failure> {
    let invalid_input = |message| Err(Failure::new(Cause::InvalidInput, message));
    match store.dependency_results(claim).await {
        Ok(DependencyResults::Results(dependency_results)) => Ok(dependency_results),
        Ok(DependencyResults::Gone(id)) => {
            invalid_input(format!("the result of dependency {id} is not available: the task was deleted"))
        }
        Ok(DependencyResults::TooLarge { bytes }) => invalid_input(format!(
            "the dependency results take {bytes} bytes, more than the limit of {DEPENDENCY_RESULTS_BYTES_MAX}"
        )),
        Err(error) => {
            let message = format!("failed to load the dependency results: {error}");
            Err(Failure::new(Cause::HostFault, message))
        }
    }
}
