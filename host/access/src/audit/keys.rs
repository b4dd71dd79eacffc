//! Tells the audit of keys that are new or gone, and of files of keys that cannot be read.

use std::sync::Arc;

use wasmill_model::Clock;

use crate::access::Access;
use crate::audit::{Audit, AuditLine};
use crate::keys::{Key, Keys};

/// Follows the keys in force until the server stops.
pub async fn audit_keys(access: Access, audit: Audit, clock: Arc<dyn Clock>) {
    let mut keys = access.watch();
    let mut before = Arc::clone(&keys.borrow_and_update());
    let mut was_stale = access.is_stale();
    // It fails only if the sender is gone, which `access` holds.
    while keys.changed().await.is_ok() {
        let (now, is_stale) = (Arc::clone(&keys.borrow_and_update()), access.is_stale());
        for (did, what) in changes(&before, &now) {
            audit.tell(AuditLine::seen(clock.now(), did, &what));
        }
        if is_stale && !was_stale {
            let what = "the files of keys are not valid; the keys before stay in force";
            audit.tell(AuditLine::seen(clock.now(), "keysBad", what));
        }
        (before, was_stale) = (now, is_stale);
    }
}

/// Returns which keys are new, and which are gone, by name and id.
fn changes(before: &Arc<Keys>, now: &Arc<Keys>) -> Vec<(&'static str, String)> {
    if Arc::ptr_eq(before, now) {
        return Vec::new();
    }
    let missing = |of: &Keys, from: &Keys| {
        let known = from.list();
        let is_missing = |key: &&Arc<Key>| !known.iter().any(|known| known.id == key.id);
        of.list()
            .into_iter()
            .filter(is_missing)
            .map(|key| format!("{} {}", key.name, key.id))
            .collect::<Vec<_>>()
    };
    let gone = missing(before, now).into_iter().map(|key| ("keyGone", key));
    gone.chain(missing(now, before).into_iter().map(|key| ("keyNew", key))).collect()
}
