//! The compiled code of the guests that nearly all servers of tests load: it is made once for each build of the binary,
//! and copied into the data folder of each new server.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

use crate::{Server, binary};

/// Fills the cache of a data folder that does not exist yet.
pub(crate) fn fill(data: &Path) -> Result<()> {
    static WARM: OnceLock<PathBuf> = OnceLock::new();
    let warm = match WARM.get() {
        Some(warm) => warm,
        None => {
            let made = make()?;
            WARM.get_or_init(|| made)
        }
    };
    copy(warm, data)?;
    Ok(())
}

/// Copies the cache of one data folder into another, new one.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(to.join("cache"))?;
    fs::copy(from.join("cache.key"), to.join("cache.key"))?;
    for entry in fs::read_dir(from.join("cache"))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join("cache").join(entry.file_name()))?;
    }
    Ok(())
}

/// Returns the data folder of a server of this binary that has compiled the guests. Other processes may ask for it, too.
fn make() -> Result<PathBuf> {
    let binary = binary()?;
    let built = binary.metadata()?.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
    let folder = binary.with_file_name("tests-cache");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("warm.lock"))?;
    lock.lock()?;
    let warm = folder.join(format!("warm-{built}"));
    if !warm.exists() {
        for old in fs::read_dir(&folder)?.flatten() {
            if old.file_name().to_string_lossy().starts_with("warm-") {
                fs::remove_dir_all(old.path())?;
            }
        }
        let mut server = Server::start_cold()?;
        server.wait_for_plugins();
        server.terminate();
        let partial = folder.join("partial");
        // Left over by a process that was killed here.
        let _ = fs::remove_dir_all(&partial);
        copy(&server.folder().join("data"), &partial)?;
        fs::rename(&partial, &warm).context("failed to keep the compiled guests")?;
    }
    Ok(warm)
}
