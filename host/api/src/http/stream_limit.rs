//! Limits open streams and waiting requests, so that connections remain for other requests, and streams for other keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmill_access::Identity;

use crate::problem::Problem;
use crate::problem::kind;

/// Maximum number of streams and waiting requests: half of the server's connections.
const STREAMS_MAX: usize = 5_000;

/// Those of one key, or of one person: one alone cannot take all.
const STREAMS_OF_KEY_MAX: usize = 1_000;

/// How many each key has, by its id. A key without any is not in it.
type OfKeys = Arc<Mutex<HashMap<Arc<str>, usize>>>;

/// The shared limit. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamLimit {
    all: Arc<Semaphore>,
    of_keys: OfKeys,
}

impl Default for StreamLimit {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(STREAMS_MAX)), of_keys: OfKeys::default() }
    }
}

/// Permission for one stream, released on drop.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    _of_all: OwnedSemaphorePermit,
    _of_key: Option<KeyPermit>,
}

/// The part of the permission that counts for its key.
#[derive(Debug)]
struct KeyPermit {
    id: Arc<str>,
    of_keys: OfKeys,
}

impl KeyPermit {
    fn take(id: &Arc<str>, of_keys: &OfKeys) -> Option<Self> {
        let mut counts = of_keys.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(Arc::clone(id)).or_default();
        if *count == STREAMS_OF_KEY_MAX {
            return None;
        }
        *count += 1;
        Some(Self { id: Arc::clone(id), of_keys: Arc::clone(of_keys) })
    }
}

impl Drop for KeyPermit {
    fn drop(&mut self) {
        let mut counts = self.of_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.id);
            }
        }
    }
}

impl StreamLimit {
    /// Acquires a permit for a request of this sender.
    ///
    /// # Errors
    ///
    /// Fails with `key-streams-full` or `too-many-streams` if a limit is reached.
    pub(crate) fn permit(&self, sender: &Identity) -> Result<StreamPermit, Problem> {
        self.permit_of(sender.id())
    }

    fn permit_of(&self, key: Option<&Arc<str>>) -> Result<StreamPermit, Problem> {
        let of_key = key.map(|id| KeyPermit::take(id, &self.of_keys).ok_or_else(key_streams_full));
        let of_key = of_key.transpose()?;
        let of_all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| too_many_streams())?;
        Ok(StreamPermit { _of_all: of_all, _of_key: of_key })
    }

    /// Returns true if there is no permit left.
    pub(crate) fn is_used_up(&self) -> bool {
        self.all.available_permits() == 0
    }
}

fn too_many_streams() -> Problem {
    let detail = format!(
        "this server has its maximum of {STREAMS_MAX} open streams and waiting requests; try again later"
    );
    Problem::of(kind::TOO_MANY_STREAMS, detail)
}

fn key_streams_full() -> Problem {
    let detail = format!(
        "this key has its maximum of {STREAMS_OF_KEY_MAX} open streams and waiting requests; close some of them"
    );
    Problem::of(kind::KEY_STREAMS_FULL, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_is_available_again() {
        let limit = StreamLimit::default();
        let mut permits: Vec<_> =
            (0..STREAMS_MAX).map(|_| limit.permit_of(None).expect("a permit")).collect();
        assert_eq!(limit.permit_of(None).expect_err("all are taken").code(), "too-many-streams");
        assert!(limit.is_used_up());
        permits.pop();
        assert!(limit.permit_of(None).is_ok());
    }

    #[test]
    fn a_key_has_its_share_and_leaves_others_theirs() {
        let limit = StreamLimit::default();
        let (ours, theirs): (Arc<str>, Arc<str>) = ("ours".into(), "theirs".into());
        let mut permits: Vec<_> =
            (0..STREAMS_OF_KEY_MAX).map(|_| limit.permit_of(Some(&ours)).expect("a permit")).collect();
        assert_eq!(limit.permit_of(Some(&ours)).expect_err("its share is taken").code(), "key-streams-full");
        assert!(limit.permit_of(Some(&theirs)).is_ok() && limit.permit_of(None).is_ok());
        permits.pop();
        permits.push(limit.permit_of(Some(&ours)).expect("there is room again"));
        drop(permits);
        assert!(limit.of_keys.lock().unwrap().is_empty(), "nothing is kept of keys without streams");
    }
}
