//! A child process with everything that it starts.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How often a child is asked whether it has exited.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long a child may take to end by itself: longer than the grace of a guest.
const END_TIMEOUT: Duration = Duration::from_secs(4);

/// A child in a process group of its own; dropping it kills the group.
pub(super) struct ChildGroup {
    child: Child,
    has_exited: bool,
}

impl ChildGroup {
    /// Starts a command. It has no stdin: this command's terminal is not its own.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).stdin(Stdio::null()).spawn()?;
        Ok(Self { child, has_exited: false })
    }

    /// Waits until the child exits; what it left behind is killed.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                // The group has the id of the child, which no other process gets while the group exists.
                self.signal(Signal::KILL);
                self.has_exited = true;
                return Ok(status);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Asks the group to end, and kills what is left of it after a while.
    pub(super) async fn end(&mut self) {
        self.signal(Signal::TERM);
        // An error means that it takes too long, or cannot be waited for: dropping it kills it.
        let _ = tokio::time::timeout(END_TIMEOUT, self.exited()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // An error means that the group is gone.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for ChildGroup {
    fn drop(&mut self) {
        if !self.has_exited {
            self.signal(Signal::KILL);
            // It was killed, so this does not block.
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> ChildGroup {
        ChildGroup::start(Command::new("sh").args(["-c", script]).stdout(Stdio::null())).unwrap()
    }

    fn is_alive(pid_file: &std::path::Path) -> bool {
        let pid = std::fs::read_to_string(pid_file).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        // One that nobody waits for stays as a zombie.
        status.is_ok_and(|status| !status.contains(") Z "))
    }

    async fn until(what: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_a_child_left_behind_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let mut child = shell(&format!("sleep 300 & echo $! > {}; exit 3", file.display()));
        assert_eq!(child.exited().await.unwrap().code(), Some(3));
        until(|| !is_alive(&file)).await;
    }

    #[tokio::test]
    async fn ending_a_child_ends_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let mut child =
            shell(&format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display()));
        until(|| file.exists()).await;
        assert!(is_alive(&file));
        child.end().await;
        until(|| !is_alive(&file)).await;
    }

    #[tokio::test]
    async fn dropping_a_child_kills_it_although_it_ignores_signals() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!(
            "trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1; done",
            file.display()
        );
        let child = shell(&script);
        until(|| file.exists()).await;
        drop(child);
        until(|| !is_alive(&file)).await;
    }
}
