//! The process and its system: signals, file descriptors, thread priorities, folders.

use std::fs::File;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setpriority_process, setrlimit,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The nice(2) increment of guest threads against the API.
///
/// A CPU-bound guest then yields to a request at once and still gets all idle time.
const GUEST_NICENESS: i32 = 5;

/// Where the kernel lists the signals that a process ignores.
const OWN_STATUS: &str = "/proc/self/status";

/// The terminal that a process belongs to, if any.
const OWN_TERMINAL: &str = "/dev/tty";

/// The signals that stop a command: SIGTERM, SIGINT, and SIGHUP from a closed terminal, unless it is ignored as under
/// `nohup`.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
    reload: Option<Reload>,
}

/// What SIGHUP does while the terminal is there, or if there was none.
struct Reload {
    terminal: Option<File>,
    reload: Box<dyn Fn() + Send>,
}

impl Reload {
    /// Returns true if the terminal was closed: the kernel then sends SIGHUP, and the device fails.
    fn has_lost_terminal(&self) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| !terminal.is_terminal())
    }
}

impl StopSignals {
    /// Starts listening for the signals.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("failed to listen for signals");
        let ignored = std::fs::read_to_string(OWN_STATUS).is_ok_and(|status| ignores_hang_up(&status));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: (!ignored).then(|| listen(SignalKind::hangup())).transpose()?,
            reload: None,
        })
    }

    /// Makes SIGHUP do this instead, unless it comes from a terminal that was closed.
    pub(crate) fn reload_on_hang_up(&mut self, reload: impl Fn() + Send + 'static) {
        let terminal = File::open(OWN_TERMINAL).ok();
        self.reload = Some(Reload { terminal, reload: Box::new(reload) });
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = hang_up(&mut self.hang_up) => {}
            }
            match &self.reload {
                Some(reload) if !reload.has_lost_terminal() => (reload.reload)(),
                _ => {
                    // A closed terminal may send several; only a deliberate signal should cut a drain short.
                    self.hang_up = None;
                    return;
                }
            }
        }
    }
}

async fn hang_up(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Returns true if a process status says that SIGHUP, its first signal, is ignored.
fn ignores_hang_up(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Raises the open file limit to the maximum that the system allows; each client takes one.
pub(crate) fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "failed to raise the open file limit");
    }
}

/// Closes memory and environment of this process to other programs of its user, and leaves no core dump: both hold
/// secrets. What a process was started with stays in `/proc/PID/environ` for as long as it lives, whatever becomes of
/// its variables.
pub(crate) fn close_memory() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "other programs of this user may read the memory and the environment of the server");
    }
}

/// Lowers the priority of this thread below the API threads.
pub(crate) fn yield_to_api() {
    let thread = rustix::thread::gettid();
    if let Err(error) = setpriority_process(Some(thread), GUEST_NICENESS) {
        tracing::debug!(%error, "failed to lower the priority of a guest thread");
    }
}

/// Starts listening for changes of the terminal size.
pub(crate) fn resizes() -> Result<Signal> {
    signal(SignalKind::window_change()).context("failed to listen for signals")
}

/// Returns our folder in this user's cache folder; `None` if the environment names none.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(caches.join("wasmill"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hang_up_is_detected() {
        for (mask, ignores) in [("0000000000001001", true), ("0000000000001000", false), ("none", false)] {
            assert_eq!(
                ignores_hang_up(&format!("Name:\tx\nSigIgn:\t{mask}\nSigCgt:\t1\n")),
                ignores,
                "{mask}"
            );
        }
        assert!(!ignores_hang_up(""));
    }
}
