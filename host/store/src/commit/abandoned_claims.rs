//! Claims that never reached their caller. The next batch requeues their tasks; otherwise they would count as
//! running until the host restarts.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use wasmill_model::{Timestamp, Transition};

use crate::rules::finish::Finish;
use crate::{Claimed, Claims};

/// Tasks to requeue: added when an undelivered claim is dropped, taken by the writer.
#[derive(Debug, Default)]
pub struct AbandonedClaims(Mutex<Vec<Finish>>);

impl AbandonedClaims {
    /// Takes all of them.
    pub fn take(&self) -> Vec<Finish> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds claims to requeue.
    pub fn requeue(&self, finishes: impl IntoIterator<Item = Finish>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(finishes);
    }
}

/// Claims on their way to the caller. If the caller has hung up, dropping them abandons them.
///
/// Claims of a rolled-back batch are abandoned too. Requeuing them changes nothing, as their tasks are not
/// running: the writer requeues before it claims again.
#[derive(Debug)]
pub struct UndeliveredClaims {
    claims: Claims,
    claimed_at: Timestamp,
    abandoned: Arc<AbandonedClaims>,
}

impl UndeliveredClaims {
    /// Holds claims until they are delivered.
    pub fn new(claims: Claims, claimed_at: Timestamp, abandoned: Arc<AbandonedClaims>) -> Self {
        Self { claims, claimed_at, abandoned }
    }

    /// Delivers the claims.
    pub fn into_claims(mut self) -> Claims {
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
