//! Holds on to a child process, so that others can end it as long as it exists, and never another.
//!
//! One for each load: the compiler attaches its child, the keeper cuts when the file has changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

/// Ends the child of one load.
#[derive(Debug, Default)]
pub(crate) struct Leash(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    child: Option<Pid>,
    cut: bool,
}

impl Leash {
    /// Takes hold of a child; one that comes after the cut is ended at once.
    pub(crate) fn attach(&self, child: Pid) {
        let mut held = self.held();
        held.child = Some(child);
        if held.cut {
            end(child);
        }
    }

    /// Lets go of a child that has ended, before its number can be that of another.
    pub(crate) fn detach(&self) {
        self.held().child = None;
    }

    /// Ends the child that is attached, if there is one.
    pub(crate) fn end_child(&self) {
        if let Some(child) = self.held().child {
            end(child);
        }
    }

    /// Ends the child that is attached, and any that comes later: nobody waits for the result.
    pub(crate) fn cut(&self) {
        self.held().cut = true;
        self.end_child();
    }

    /// Says whether nobody waits for the result any more.
    pub(crate) fn is_cut(&self) -> bool {
        self.held().cut
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(child: Pid) {
    // It fails only if the child has ended already, and then nobody has waited for it yet.
    let _ = kill_process(child, Signal::KILL);
}
