//! The latest progress of running tasks: in memory only, lost with the process.
//!
//! Every claim has a cell of its own and reports into it without looking anything up. The board
//! shows which cells belong to running tasks. A report that comes late goes into a cell that is no
//! longer on the board, so it can show up nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_model::Progress;

/// Where one claim reports its progress.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProgressCell(Arc<Mutex<Option<Progress>>>);

impl ProgressCell {
    pub(crate) fn set(&self, progress: Progress) {
        *locked(&self.0) = Some(progress);
    }

    fn get(&self) -> Option<Progress> {
        locked(&self.0).clone()
    }
}

/// The cells of all running tasks.
#[derive(Debug, Default)]
pub(crate) struct ProgressBoard(Mutex<HashMap<i64, Entry>>);

#[derive(Debug)]
struct Entry {
    token: i64,
    cell: ProgressCell,
}

/// How a committed command changes the board.
#[derive(Debug)]
pub(crate) enum Turn {
    /// A claim began.
    Began { seq: i64, token: i64, cell: ProgressCell },
    /// The claim of this task ended, if it had one.
    Ended { seq: i64 },
}

impl ProgressBoard {
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

    /// Returns the latest report of exactly this claim, if it still runs.
    pub(crate) fn latest(&self, seq: i64, token: i64) -> Option<Progress> {
        let entries = locked(&self.0);
        entries.get(&seq).filter(|entry| entry.token == token)?.cell.get()
    }
}

/// Locks even after a panic elsewhere: a report is replaced as a whole or not at all.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
