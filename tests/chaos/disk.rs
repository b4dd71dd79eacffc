//! The disk of the server: a small one of its own that can be filled, where that is permitted.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Room for a run with all its tasks, so that only the ballast fills it.
const SIZE: &str = "size=256m,mode=0700";
/// Says that this process has mounts of its own, which go with it.
const OWN_MOUNTS: &str = "CHAOS_OWN_MOUNTS";
const UNSHARE: [&str; 3] = ["--mount", "--propagation", "private"];

/// Where the data folder lies.
pub(crate) struct Disk {
    ballast: Option<PathBuf>,
}

/// Starts this program again where it can mount without anybody else seeing it, if it may.
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
    /// Makes the data folder, on a small disk of its own if this process may mount one.
    pub(crate) fn make(data: &Path) -> Result<Self> {
        fs::create_dir(data)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(data).stderr(Stdio::null());
        let mounted =
            std::env::var_os(OWN_MOUNTS).is_some() && mount.status().is_ok_and(|status| status.success());
        if !mounted {
            println!("Skipped: the disk is not filled, as that needs the right to mount one (run as root)");
        }
        Ok(Self { ballast: mounted.then(|| data.join("ballast")) })
    }

    /// Says whether it can be filled.
    pub(crate) fn is_small(&self) -> bool {
        self.ballast.is_some()
    }

    /// Writes until nothing fits any more.
    pub(crate) fn fill(&self) -> Result<()> {
        let Some(path) = &self.ballast else { return Ok(()) };
        let mut ballast = OpenOptions::new().create(true).append(true).open(path)?;
        for bytes in [1 << 20, 1 << 12] {
            let block = vec![7; bytes];
            // It ends with the error that this is about.
            while ballast.write_all(&block).is_ok() {}
        }
        Ok(())
    }

    /// Makes room again.
    pub(crate) fn free(&self) -> Result<()> {
        match &self.ballast {
            Some(path) if path.exists() => fs::remove_file(path).context("failed to free the disk"),
            _ => Ok(()),
        }
    }
}
