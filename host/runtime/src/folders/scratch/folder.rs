//! The scratch folder of one run.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{stat, statvfs};
use tokio::runtime::Handle;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;

use crate::folders::descriptors::DescriptorPermit;
use crate::folders::granted::GrantedFolders;
use crate::folders::rule::ScratchRule;
use crate::folders::scratch::removal::remove_tree;
use crate::folders::scratch::root::{ScratchRoot, Session};
use crate::folders::scratch::usage::Usage;

/// What is removed at once: more is left to a thread that may block.
const REMOVED_AT_ONCE_BYTES: u64 = 1 << 20;
const REMOVED_AT_ONCE_FILES: u64 = 16;

/// The scratch folder of one run, removed when it is dropped.
pub(crate) struct RunScratch {
    pub(crate) usage: Arc<Usage>,
    rule: ScratchRule,
    path: PathBuf,
    /// The granted folders, and this one after them.
    context: WasiFilesystemCtx,
    session: Option<Arc<Session>>,
    _permit: DescriptorPermit,
}

impl RunScratch {
    /// Creates an empty folder, which a guest sees beside the granted ones. Blocks.
    ///
    /// # Errors
    ///
    /// Says what failed.
    pub(crate) fn create(
        root: &ScratchRoot,
        rule: &ScratchRule,
        granted: &GrantedFolders,
        permit: DescriptorPermit,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("failed to create a scratch folder: {error}");
        let (path, session) = root.create().map_err(failed)?;
        let usage = stat(&path).map(|folder| Usage::new(rule.bytes_max, rule.files_max, &folder));
        let usage = Arc::new(usage.map_err(|error| failed(error.into()))?);
        let context = granted.context_with_scratch(&path, &rule.guest)?;
        Ok(Self { usage, rule: rule.clone(), path, context, session: Some(session), _permit: permit })
    }

    pub(crate) fn rule(&self) -> &ScratchRule {
        &self.rule
    }

    /// Returns its path on the host.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file system context of the guest.
    pub(crate) fn context(&self) -> WasiFilesystemCtx {
        self.context.clone()
    }

    /// Returns the bytes available to unprivileged users on its volume, and the size of the volume.
    pub(crate) fn volume_bytes(&self) -> io::Result<(u64, u64)> {
        let volume = statvfs(&self.path)?;
        Ok((volume.f_bavail.saturating_mul(volume.f_frsize), volume.f_blocks.saturating_mul(volume.f_frsize)))
    }
}

impl Drop for RunScratch {
    fn drop(&mut self) {
        let (path, session) = (std::mem::take(&mut self.path), self.session.take());
        let remove = move || {
            if let Err(error) = remove_tree(&path) {
                let path = path.display();
                tracing::warn!(%path, %error, "failed to remove a scratch folder; the next start removes it");
            }
            // The folder of the process goes after those in it.
            drop(session);
        };
        let (bytes, files) = self.usage.used();
        match Handle::try_current() {
            Ok(handle) if bytes > REMOVED_AT_ONCE_BYTES || files > REMOVED_AT_ONCE_FILES => {
                handle.spawn_blocking(remove);
            }
            _ => remove(),
        }
    }
}
