//! How many clients may hold a connection open to follow or to wait, so that others still get one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Followers and waiters at the same time: half of the connections that the server takes.
const FOLLOWERS_MAX: usize = 5_000;

/// The places there are. Cheap to clone; all clones share them.
#[derive(Clone, Debug)]
pub struct StreamLimit(Arc<Semaphore>);

impl Default for StreamLimit {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FOLLOWERS_MAX)))
    }
}

/// One place; dropping it gives it back.
pub(crate) struct Place(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl StreamLimit {
    /// Takes a place.
    ///
    /// # Errors
    ///
    /// Fails if there is none left.
    pub(crate) fn place(&self) -> Result<Place, Problem> {
        self.try_place().ok_or_else(|| Problem::too_many_followers(FOLLOWERS_MAX))
    }

    /// Takes a place if one is left.
    pub(crate) fn try_place(&self) -> Option<Place> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(Place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_given_back_is_taken_again() {
        let followers = StreamLimit::default();
        let mut places: Vec<_> =
            (0..FOLLOWERS_MAX).map(|_| followers.try_place().expect("a place")).collect();
        assert!(followers.place().is_err());
        places.pop();
        assert!(followers.place().is_ok());
    }
}
