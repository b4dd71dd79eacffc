//! One file of the plugins folder: what was observed of it, what was handled, and its job.
//!
//! Held by the watch loop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::compile::kill_handle::KillHandle;
use crate::load::folder::{DEBOUNCE, Fingerprint};
use crate::load::loader::Loaded;

/// A file to load.
pub(super) struct Job {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) fingerprint: Fingerprint,
    pub(super) kill_handle: KillHandle,
}

/// The state of one file.
pub(super) struct WatchedFile {
    /// `None` once the file is gone.
    pub(super) observed: Option<(PathBuf, Fingerprint)>,
    /// When the observed state is considered stable.
    pub(super) stable_at: Instant,
    /// The state that was last handled; `None` if none was, or if it must be handled again.
    pub(super) handled: Option<Option<Fingerprint>>,
    pub(super) job: Option<Arc<Job>>,
}

impl WatchedFile {
    pub(super) fn observe(&mut self, observed: Option<(PathBuf, Fingerprint)>, now: Instant) {
        if self.observed != observed {
            self.observed = observed;
            let is_stable = self.fingerprint().is_some_and(Fingerprint::is_stable);
            self.stable_at = if is_stable { now } else { now + DEBOUNCE };
        }
    }

    /// Records the schema and the granted folders that the manifest names, so that changes to them are detected
    /// from now on.
    pub(super) fn record_dependencies(&mut self, job: &Job, loaded: &Loaded) {
        if let (Some((_, observed)), Some(fingerprint)) = (&mut self.observed, &loaded.fingerprint)
            && *observed == job.fingerprint
        {
            *observed = fingerprint.clone();
            self.handled = Some(Some(fingerprint.clone()));
        }
    }

    pub(super) fn fingerprint(&self) -> Option<&Fingerprint> {
        self.observed.as_ref().map(|(_, fingerprint)| fingerprint)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.handled.as_ref().is_some_and(|handled| handled.as_ref() == self.fingerprint())
            && self.job.is_none()
    }
}
