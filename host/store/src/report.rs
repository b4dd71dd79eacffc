//! What running tasks report, their latest progress and the version of their plugin: in memory only.
//!
//! Every claim has a cell of its own and reports into it without looking anything up. The board
//! shows which cells belong to running tasks. A report that comes late goes into a cell that is no
//! longer on the board, so it can show up nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_model::Progress;

/// What one claim has reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report {
    /// How far the guest says it has come.
    pub(crate) progress: Option<Progress>,
    /// The digest of the plugin that runs.
    pub(crate) digest: Option<Arc<str>>,
}

/// Where one claim reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReportCell(Arc<Mutex<Report>>);

impl ReportCell {
    pub(crate) fn set_progress(&self, progress: Progress) {
        locked(&self.0).progress = Some(progress);
    }

    pub(crate) fn set_digest(&self, digest: Arc<str>) {
        locked(&self.0).digest = Some(digest);
    }

    pub(crate) fn digest(&self) -> Option<Arc<str>> {
        locked(&self.0).digest.clone()
    }

    fn get(&self) -> Report {
        locked(&self.0).clone()
    }
}

/// The cells of all running tasks.
#[derive(Debug, Default)]
pub(crate) struct ReportBoard(Mutex<HashMap<i64, Entry>>);

#[derive(Debug)]
struct Entry {
    token: i64,
    cell: ReportCell,
}

/// How a committed command changes the board.
#[derive(Debug)]
pub(crate) enum Turn {
    /// A claim began.
    Began { seq: i64, token: i64, cell: ReportCell },
    /// The claim of this task ended, if it had one.
    Ended { seq: i64 },
}

impl ReportBoard {
    /// Makes these changes in their order.
    pub(crate) fn turn(&self, turns: impl IntoIterator<Item = Turn>) {
        let mut entries = locked(&self.0);
        for turn in turns {
            match turn {
                Turn::Began { seq, token, cell } => entries.insert(seq, Entry { token, cell }),
                Turn::Ended { seq } => entries.remove(&seq),
            };
        }
    }

    /// Returns what exactly this claim has reported, if it still runs.
    pub(crate) fn latest(&self, seq: i64, token: i64) -> Option<Report> {
        let entries = locked(&self.0);
        Some(entries.get(&seq).filter(|entry| entry.token == token)?.cell.get())
    }
}

/// Locks even after a panic elsewhere: a report is replaced as a whole or not at all.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
