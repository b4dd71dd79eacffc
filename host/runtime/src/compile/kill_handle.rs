//! Kills the child process of a load, and never another process.
//!
//! One per load: the compiler attaches its child, the watcher kills it when the file has changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

/// Kills the child of one load.
#[derive(Debug, Default)]
pub(crate) struct KillHandle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    child: Option<Pid>,
    kill: bool,
}

impl KillHandle {
    /// Attaches a child; if the load was aborted before, the child is killed at once.
    pub(crate) fn attach(&self, child: Pid) {
        let mut state = self.state();
        state.child = Some(child);
        if state.kill {
            end(child);
        }
    }

    /// Detaches a child that has ended, before its pid can be reused.
    pub(crate) fn detach(&self) {
        self.state().child = None;
    }

    /// Kills the attached child, if there is one.
    pub(crate) fn kill_child(&self) {
        if let Some(child) = self.state().child {
            end(child);
        }
    }

    /// Aborts the load: kills the attached child, and any that is attached later.
    pub(crate) fn kill(&self) {
        self.state().kill = true;
        self.kill_child();
    }

    /// Returns true if the load was aborted.
    pub(crate) fn is_killed(&self) -> bool {
        self.state().kill
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(child: Pid) {
    // This fails only if the child has ended and is not reaped yet.
    let _ = kill_process(child, Signal::KILL);
}
