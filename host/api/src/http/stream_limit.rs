//! Limits open streams and waiting requests, so that connections remain for other requests.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;
use crate::problem::kind;

/// Maximum number of streams and waiting requests: half of the server's connections.
const STREAMS_MAX: usize = 5_000;

/// The shared limit. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamLimit(Arc<Semaphore>);

impl Default for StreamLimit {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

/// Permission for one stream, released on drop.
pub(crate) struct StreamPermit(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl StreamLimit {
    /// Acquires a permit.
    ///
    /// # Errors
    ///
    /// Fails with `too-many-streams` if the limit is reached.
    pub(crate) fn permit(&self) -> Result<StreamPermit, Problem> {
        self.try_permit().ok_or_else(|| too_many_streams(STREAMS_MAX))
    }

    /// Returns true if there is no permit left.
    pub(crate) fn is_used_up(&self) -> bool {
        self.0.available_permits() == 0
    }

    /// Acquires a permit if the limit is not reached.
    pub(crate) fn try_permit(&self) -> Option<StreamPermit> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(StreamPermit)
    }
}

fn too_many_streams(streams_max: usize) -> Problem {
    let detail = format!(
        "this server has its maximum of {streams_max} open streams and waiting requests; try again later"
    );
    Problem::of(kind::TOO_MANY_STREAMS, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_is_available_again() {
        let limit = StreamLimit::default();
        let mut permits: Vec<_> = (0..STREAMS_MAX).map(|_| limit.try_permit().expect("a permit")).collect();
        assert!(limit.permit().is_err());
        permits.pop();
        assert!(limit.permit().is_ok());
    }
}
