//! Limits of uploads: whether they are enabled, and how many may run at once.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::problem::Problem;
use crate::problem::kind;

/// Uploads received or held in memory at once; further ones wait before their body is read.
const RECEIVED_MAX: usize = 8;
/// Uploads checked and compiled at once.
const LOADED_MAX: usize = 2;
/// Plugins removed at once.
const REMOVED_MAX: usize = 2;

/// Whether uploads are enabled, and how many may run at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UploadLimits {
    permits: Option<UploadPermits>,
}

/// Limits of concurrent work.
#[derive(Clone, Debug)]
pub(crate) struct UploadPermits {
    pub(crate) received: Arc<Semaphore>,
    pub(crate) loaded: Arc<Semaphore>,
    pub(crate) removed: Arc<Semaphore>,
}

impl UploadLimits {
    /// Enables or disables uploads.
    pub fn new(allowed: bool) -> Self {
        let permits = |limit| Arc::new(Semaphore::new(limit));
        Self {
            permits: allowed.then(|| UploadPermits {
                received: permits(RECEIVED_MAX),
                loaded: permits(LOADED_MAX),
                removed: permits(REMOVED_MAX),
            }),
        }
    }

    /// Returns the permits.
    ///
    /// # Errors
    ///
    /// Fails if uploads are disabled.
    pub(crate) fn permits(&self) -> Result<&UploadPermits, Problem> {
        self.permits.as_ref().ok_or_else(uploads_disabled)
    }
}

pub(crate) fn uploads_disabled() -> Problem {
    let detail =
        "uploads are disabled, so change plugins in the plugins folder; --allow-upload enables uploads";
    Problem::of(kind::UPLOADS_DISABLED, detail)
}
