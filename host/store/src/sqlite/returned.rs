//! Claims that reached nobody. Their tasks wait again with the next batch, instead of running
//! nowhere until the next start of the host.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use wasmill_model::{Timestamp, Transition};

use super::finish::Finish;
use crate::{Claimed, Claims};

/// Tasks to requeue, put down by whoever drops an undelivered claim and taken by the writer.
#[derive(Debug, Default)]
pub(super) struct Returned(Mutex<Vec<Finish>>);

impl Returned {
    pub(super) fn take(&self) -> Vec<Finish> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put_back(&self, finishes: impl IntoIterator<Item = Finish>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(finishes);
    }
}

/// Claims on their way to the caller. Dropped on the way, as when the caller has hung up, they go
/// back.
///
/// Claims of a batch that was rolled back go back too. That changes nothing, as the task is not
/// running: the writer takes what came back before it claims again.
#[derive(Debug)]
pub(super) struct Delivery {
    claims: Claims,
    claimed_at: Timestamp,
    returned: Arc<Returned>,
}

impl Delivery {
    pub(super) fn new(claims: Claims, claimed_at: Timestamp, returned: Arc<Returned>) -> Self {
        Self { claims, claimed_at, returned }
    }

    /// Hands the claims over.
    pub(super) fn accept(mut self) -> Claims {
        mem::take(&mut self.claims)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.claims.claimed.is_empty() {
            return;
        }
        let now = self.claimed_at;
        let requeue =
            |claimed: Claimed| Finish { claim: claimed.claim, next: Transition::Requeued, log: None, now };
        self.returned.put_back(self.claims.claimed.drain(..).map(requeue));
    }
}
