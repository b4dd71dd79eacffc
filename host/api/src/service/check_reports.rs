//! The reports of the doctor: made one at a time, and kept for a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use wasmill_model::{Clock, Timestamp};

use crate::service::check::Check;

/// How long a report is returned again, so that asking often costs nothing.
const KEPT: Duration = Duration::from_secs(5);
const KEPT_DEEP: Duration = Duration::from_secs(60);

/// The checks of a running server. Blocks while it checks; the deep ones compile, and write to the data folder.
pub type CheckFn = dyn Fn(bool) -> Vec<Check> + Send + Sync;

/// Runs the checks, one report at a time. Cheap to clone.
#[derive(Clone)]
pub struct Doctor(Arc<Reports>);

struct Reports {
    check: Box<CheckFn>,
    shallow: Arc<Mutex<Option<CheckReport>>>,
    deep: Arc<Mutex<Option<CheckReport>>>,
}

/// What was found, and when.
#[derive(Clone)]
pub(crate) struct CheckReport {
    made_at: Instant,
    pub(crate) checked_at: Timestamp,
    pub(crate) checks: Vec<Check>,
}

impl Doctor {
    /// Creates the doctor from the function that checks, whose argument is whether to check deeply.
    pub fn new(check: impl Fn(bool) -> Vec<Check> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Reports { check: Box::new(check), shallow: Arc::default(), deep: Arc::default() }))
    }

    /// Returns the newest report, or makes one if there is none or it is old. `None` if a check panicked.
    pub(crate) async fn report(&self, clock: &Arc<dyn Clock>, is_deep: bool) -> Option<CheckReport> {
        let (slot, kept) = if is_deep { (&self.0.deep, KEPT_DEEP) } else { (&self.0.shallow, KEPT) };
        let mut slot = Arc::clone(slot).lock_owned().await;
        if let Some(report) = slot.as_ref().filter(|report| report.made_at.elapsed() < kept) {
            return Some(report.clone());
        }
        let (reports, clock) = (Arc::clone(&self.0), Arc::clone(clock));
        // Holds the slot until it is done, also if the client hangs up: a check that hangs is not started again.
        let made = tokio::task::spawn_blocking(move || {
            let checked_at = clock.now();
            let checks = (reports.check)(is_deep);
            let report = CheckReport { made_at: Instant::now(), checked_at, checks };
            *slot = Some(report.clone());
            report
        });
        made.await.ok()
    }
}
