//! Words why a run cannot be handed the results of the tasks that its own one waited for.
//!
//! `task_host` calls it when a run begins: so results take memory only while they are used, and the claim does
//! not wait for them.

use wasmill_model::{Cause, Failure, HAND_OVER_BYTES_MAX, Handed};
use wasmill_store::{Claim, HandOver, Store};

/// Reads how those tasks ended, and their results.
pub(crate) async fn handed(store: &Store, claim: &Claim) -> Result<Vec<Handed>, Failure> {
    let refused = |message| Err(Failure::new(Cause::InvalidInput, message));
    match store.handed(claim).await {
        Ok(HandOver::Results(handed)) => Ok(handed),
        Ok(HandOver::Gone(id)) => {
            refused(format!("the result of task {id} was to be handed over, but that task has been deleted"))
        }
        Ok(HandOver::TooLarge { bytes }) => refused(format!(
            "the results to be handed over take {bytes} bytes together, and {HAND_OVER_BYTES_MAX} are the most"
        )),
        Err(error) => {
            let message = format!("the results to be handed over could not be read: {error}");
            Err(Failure::new(Cause::HostFault, message))
        }
    }
}
