//! What the process asks of its system: signals, file descriptors, thread priorities, folders.

use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How much nicer guests are than the API, on the scale of nice(2).
///
/// A guest that computes then gives way to a request at once, and still has all idle time.
const GUEST_NICENESS: i32 = 5;

/// Where the kernel says which signals a process ignores.
const OWN_STATUS: &str = "/proc/self/status";

/// The signals that ask the server to stop: SIGTERM and SIGINT, and SIGHUP, which a terminal that is closed
/// sends, unless it is ignored as under `nohup`.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl StopSignals {
    /// Starts to listen for the signals.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("failed to listen for signals");
        let ignored = std::fs::read_to_string(OWN_STATUS).is_ok_and(|status| ignores_hang_up(&status));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: (!ignored).then(|| listen(SignalKind::hangup())).transpose()?,
        })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            // A terminal that is closed may send more than one; only a signal that somebody means cuts a drain short.
            () = hang_up(&mut self.hang_up) => self.hang_up = None,
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

/// Reads from the status of a process whether it ignores SIGHUP, the first of its signals.
fn ignores_hang_up(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Allows as many open files as the system lets this process have, since each client is one.
pub(crate) fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "failed to raise the limit of open files");
    }
}

/// Makes the current thread give way to the threads of the API.
pub(crate) fn yield_to_api() {
    let thread = rustix::thread::gettid();
    if let Err(error) = setpriority_process(Some(thread), GUEST_NICENESS) {
        tracing::debug!(%error, "failed to lower the priority of a guest thread");
    }
}

/// Starts to listen for changes of the size of the terminal.
pub(crate) fn resizes() -> Result<Signal> {
    signal(SignalKind::window_change()).context("failed to listen for signals")
}

/// Returns the folder where this user's caches are, and ours in it; `None` if the environment names none.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(caches.join("wasmill"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ignores_hang_ups_goes_on_doing_so() {
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
