//! The check of a request: which key it has, and whether that still counts.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use wasmill_model::Clock;

use crate::keys::{Key, Keys};
use crate::meter::OverRate;
use crate::scope::Scope;
use crate::throttle::Throttle;

/// The keys in force, and whether they are asked for. Cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    keys: watch::Sender<Arc<Keys>>,
    /// Once set, it stays set: a server that loses its last key does not open.
    needs_key: AtomicBool,
    /// Whether the files have changed and cannot be read, so that earlier keys are in force.
    is_stale: AtomicBool,
    throttle: Throttle,
    clock: Arc<dyn Clock>,
}

/// Who sent a request.
///
/// The default has no key, and may do everything; a server in the open mode knows no other.
#[derive(Clone, Debug, Default)]
pub struct Identity(Option<Arc<Key>>);

impl Identity {
    /// Returns the key; `None` if none was asked for.
    pub fn key(&self) -> Option<&Key> {
        self.0.as_deref()
    }

    /// Returns the id that tasks name in `submitted_by`.
    pub fn id(&self) -> Option<&Arc<str>> {
        self.0.as_ref().map(|key| &key.id)
    }

    /// Returns true if it has this scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.0.as_ref().is_none_or(|key| key.scopes.allow(scope))
    }

    /// Counts further requests against the rate of its key, as those that one batch holds.
    ///
    /// # Errors
    ///
    /// Fails if they are too many for now.
    pub fn take_further(&self, requests: u32) -> Result<(), OverRate> {
        self.0.as_ref().map_or(Ok(()), |key| key.take_further(requests))
    }

    /// Returns true if it may read what a task was given and has returned: with `read`, or if it submitted the task.
    pub fn may_read(&self, submitted_by: Option<&str>) -> bool {
        self.may(Scope::Read) || (self.may(Scope::Submit) && self.id().map(|id| &**id) == submitted_by)
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no key.
    Missing,
    /// No key in force has this text.
    Unknown,
    /// The key has expired.
    Expired,
    /// The key has sent too many requests.
    OverRate(OverRate),
    /// Its address has presented too many wrong keys.
    Throttled {
        /// Seconds until it may try again.
        retry_after_secs: u32,
    },
}

impl Access {
    /// Creates the check. If no key is needed, every request may do everything until there is a key.
    pub fn new(keys: Keys, needs_key: bool, clock: Arc<dyn Clock>) -> Self {
        let needs_key = AtomicBool::new(needs_key || !keys.is_empty());
        let keys = watch::Sender::new(Arc::new(keys));
        Self(Arc::new(Shared {
            keys,
            needs_key,
            is_stale: AtomicBool::new(false),
            throttle: Throttle::default(),
            clock,
        }))
    }

    /// Returns true if requests need no key.
    pub fn is_open(&self) -> bool {
        !self.0.needs_key.load(Ordering::Relaxed)
    }

    /// Returns the keys in force.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.keys.borrow())
    }

    /// Puts other keys in force; those that stay keep their time of last use.
    pub fn replace(&self, mut keys: Keys) {
        keys.inherit(&self.keys());
        if !keys.is_empty() {
            self.0.needs_key.store(true, Ordering::Relaxed);
        }
        self.0.keys.send_replace(Arc::new(keys));
        self.0.is_stale.store(false, Ordering::Relaxed);
    }

    /// Records that the files cannot be read any more.
    pub(crate) fn set_stale(&self) {
        self.0.is_stale.store(true, Ordering::Relaxed);
    }

    /// Returns true if earlier keys are in force, since the files cannot be read.
    pub fn is_stale(&self) -> bool {
        self.0.is_stale.load(Ordering::Relaxed)
    }

    /// Finds who sent a request with this key from this address.
    ///
    /// # Errors
    ///
    /// Refuses a request without a key in force, unless none is needed, and one that is over the rate of its key. An address that has presented too many wrong
    /// keys is refused unless the id of its key is known, so that a stranger behind the same proxy locks nobody out.
    pub fn check(&self, text: Option<&[u8]>, peer: IpAddr) -> Result<Identity, Refusal> {
        if self.is_open() {
            return Ok(Identity(None));
        }
        let text = text.ok_or(Refusal::Missing)?;
        let now = self.0.clock.now();
        let keys = self.0.keys.borrow();
        if !keys.knows_id_of(text)
            && let Some(retry_after_secs) = self.0.throttle.wait_secs(peer, now)
        {
            return Err(Refusal::Throttled { retry_after_secs });
        }
        let Some(key) = keys.find(text) else {
            self.0.throttle.count(peer, now);
            return Err(Refusal::Unknown);
        };
        if key.is_expired(now) {
            return Err(Refusal::Expired);
        }
        key.last_used.set(now, peer);
        key.take().map_err(Refusal::OverRate)?;
        Ok(Identity(Some(Arc::clone(key))))
    }

    /// Waits until a request of this identity would be refused: its key was revoked, changed or has expired, or it has
    /// none and keys are needed by now.
    pub async fn ended(&self, identity: &Identity) {
        let mut keys = self.0.keys.subscribe();
        loop {
            let left = match self.time_left(identity, &keys.borrow_and_update()) {
                TimeLeft::None => return,
                TimeLeft::Bounded(left) => left,
                TimeLeft::Unbounded => Duration::MAX,
            };
            // Ends early when keys change; that fails only if the sender is gone, which `self` holds.
            let _ = tokio::time::timeout(left, keys.changed()).await;
        }
    }

    fn time_left(&self, identity: &Identity, keys: &Keys) -> TimeLeft {
        let Some(key) = identity.key() else {
            return if self.is_open() { TimeLeft::Unbounded } else { TimeLeft::None };
        };
        match keys.current(key).filter(|current| current.scopes == key.scopes) {
            None => TimeLeft::None,
            Some(Key { expires: None, .. }) => TimeLeft::Unbounded,
            Some(Key { expires: Some(expires), .. }) => {
                let left = (*expires - self.0.clock.now()).to_std().unwrap_or_default();
                if left.is_zero() { TimeLeft::None } else { TimeLeft::Bounded(left) }
            }
        }
    }
}

/// How long an identity is in force, unless the keys change.
enum TimeLeft {
    None,
    Bounded(Duration),
    Unbounded,
}

#[cfg(test)]
mod tests;
