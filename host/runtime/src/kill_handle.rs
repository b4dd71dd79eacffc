//! Holds on to a child process, so that others can end it as long as it exists, and never another.
//!
//! One for each load: the compiler attaches its child, the keeper cuts when the file has changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

/// Ends the child of one load.
#[derive(Debug, Default)]
pub(crate) struct KillHandle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    child: Option<Pid>,
    kill: bool,
}

impl KillHandle {
    /// Takes hold of a child; one that comes after the cut is ended at once.
    pub(crate) fn attach(&self, child: Pid) {
        let mut state = self.state();
        state.child = Some(child);
        if state.kill {
            end(child);
        }
    }

    /// Lets go of a child that has ended, before its number can be that of another.
    pub(crate) fn detach(&self) {
        self.state().child = None;
    }

    /// Ends the child that is attached, if there is one.
    pub(crate) fn kill_child(&self) {
        if let Some(child) = self.state().child {
            end(child);
        }
    }

    /// Ends the child that is attached, and any that comes later: nobody waits for the result.
    pub(crate) fn kill(&self) {
        self.state().kill = true;
        self.kill_child();
    }

    /// Says whether nobody waits for the result any more.
    pub(crate) fn is_killed(&self) -> bool {
        self.state().kill
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(child: Pid) {
    // It fails only if the child has ended already, and then nobody has waited for it yet.
    let _ = kill_process(child, Signal::KILL);
}
