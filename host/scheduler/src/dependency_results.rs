//! Loads the dependency results of a run and explains failures to load them.
//!
//! Called by `task_host` when the guest asks for its input. Loading late keeps results out of memory until they are
//! used and keeps the claim short.

use wasmill_model::{Cause, Failure, HAND_OVER_BYTES_MAX, Handed};
use wasmill_store::{Claim, HandOver, Store};

/// Loads the outcomes and results of the task's dependencies.
pub(crate) async fn handed(store: &Store, claim: &Claim) -> Result<Vec<Handed>, Failure> {
    let refused = |message| Err(Failure::new(Cause::InvalidInput, message));
    match store.handed(claim).await {
        Ok(HandOver::Results(handed)) => Ok(handed),
        Ok(HandOver::Gone(id)) => {
            refused(format!("the result of dependency {id} is not available: the task was deleted"))
        }
        Ok(HandOver::TooLarge { bytes }) => refused(format!(
            "the dependency results take {bytes} bytes, more than the limit of {HAND_OVER_BYTES_MAX}"
        )),
        Err(error) => {
            let message = format!("failed to load the dependency results: {error}");
            Err(Failure::new(Cause::HostFault, message))
        }
    }
}
