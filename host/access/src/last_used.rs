//! When and from where a key was last used.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use wasmill_model::Timestamp;

/// When and from where a key was last used.
#[derive(Debug, Default)]
pub struct LastUsed(Mutex<Option<(Timestamp, IpAddr)>>);

impl LastUsed {
    /// Records a use.
    pub(crate) fn set(&self, now: Timestamp, peer: IpAddr) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((now, peer));
    }

    /// Returns the time and the address; `None` if it was never used on this server.
    pub fn get(&self) -> Option<(Timestamp, IpAddr)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
