//! Claims that reached nobody. Their tasks wait again with the next batch, instead of running
//! nowhere until the next start of the host.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use wasmill_model::{Timestamp, Transition};

use super::finish::Finish;
use crate::{Claimed, Claims};

/// Tasks to requeue, put down by whoever drops an undelivered claim and taken by the writer.
#[derive(Debug, Default)]
pub(super) struct AbandonedClaims(Mutex<Vec<Finish>>);

impl AbandonedClaims {
    pub(super) fn take(&self) -> Vec<Finish> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn requeue(&self, finishes: impl IntoIterator<Item = Finish>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(finishes);
    }
}

/// Claims on their way to the caller. Dropped on the way, as when the caller has hung up, they go
/// back.
///
/// Claims of a batch that was rolled back go back too. That changes nothing, as the task is not
/// running: the writer takes what came back before it claims again.
#[derive(Debug)]
pub(super) struct UndeliveredClaims {
    claims: Claims,
    claimed_at: Timestamp,
    abandoned: Arc<AbandonedClaims>,
}

impl UndeliveredClaims {
    pub(super) fn new(claims: Claims, claimed_at: Timestamp, abandoned: Arc<AbandonedClaims>) -> Self {
        Self { claims, claimed_at, abandoned }
    }

    /// Hands the claims over.
    pub(super) fn into_claims(mut self) -> Claims {
        mem::take(&mut self.claims)
    }
}

impl Drop for UndeliveredClaims {
    fn drop(&mut self) {
        if self.claims.claimed.is_empty() {
            return;
        }
        let now = self.claimed_at;
        let requeue =
            |claimed: Claimed| Finish { claim: claimed.claim, next: Transition::Requeued, log: None, now };
        self.abandoned.requeue(self.claims.claimed.drain(..).map(requeue));
    }
}
