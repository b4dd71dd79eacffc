//! The server's disk: a small one of its own that can be filled, where mounting is permitted.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use wasmill_tests::test_database;

/// Space for a run with all its tasks, so that only the ballast fills it.
const SIZE: &str = "size=256m,mode=0700";
/// Marks this process as having a mount namespace of its own.
const OWN_MOUNTS: &str = "CHAOS_OWN_MOUNTS";
const UNSHARE: [&str; 3] = ["--mount", "--propagation", "private"];

/// The location of the data folder.
pub(crate) struct Disk {
    ballast: Option<PathBuf>,
}

/// Restarts this program in its own mount namespace, if permitted.
pub(crate) fn in_own_mounts() -> Result<()> {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return Ok(());
    }
    let mut probe = Command::new("unshare");
    probe.args(UNSHARE).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let mut again = Command::new("unshare");
    again.args(UNSHARE).arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(OWN_MOUNTS, "1");
    bail!("failed to start with own mounts: {}", again.exec());
}

impl Disk {
    /// Creates the data folder, on a small disk of its own if this process may mount one.
    pub(crate) fn make(data: &Path) -> Result<Self> {
        fs::create_dir(data)?;
        if test_database().is_some() {
            println!("Skipped: the disk that is filled is not that of the database");
            return Ok(Self { ballast: None });
        }
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(data).stderr(Stdio::null());
        let mounted =
            std::env::var_os(OWN_MOUNTS).is_some() && mount.status().is_ok_and(|status| status.success());
        if !mounted {
            println!("Skipped: filling the disk needs permission to mount one (run as root)");
        }
        Ok(Self { ballast: mounted.then(|| data.join("ballast")) })
    }

    /// Returns true if the disk can be filled.
    pub(crate) fn is_small(&self) -> bool {
        self.ballast.is_some()
    }

    /// Writes until the disk is full.
    pub(crate) fn fill(&self) -> Result<()> {
        let Some(path) = &self.ballast else { return Ok(()) };
        let mut ballast = OpenOptions::new().create(true).append(true).open(path)?;
        for bytes in [1 << 20, 1 << 12] {
            let block = vec![7; bytes];
            // The write fails with the expected error.
            while ballast.write_all(&block).is_ok() {}
        }
        Ok(())
    }

    /// Frees the disk.
    pub(crate) fn free(&self) -> Result<()> {
        match &self.ballast {
            Some(path) if path.exists() => fs::remove_file(path).context("failed to free the disk"),
            _ => Ok(()),
        }
    }
}
