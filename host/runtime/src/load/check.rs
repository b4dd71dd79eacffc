//! Loads a single file outside of the watched folder, for `wasmill plugin check` and `wasmill run`.

use std::io;
use std::path::Path;

use crate::compile::kill_handle::KillHandle;
use crate::config::RuntimeConfig;
use crate::error::RuntimeError;
use crate::load::config::LoaderConfig;
use crate::load::folder::Fingerprint;
use crate::load::loader::{Loaded, Loader};
use crate::plugin::info::PluginInfo;

/// Loads a file with the manifest beside it, without putting it into service. Compiled code goes into the cache, if
/// there is one.
///
/// # Errors
///
/// Fails if wasmtime does not work on this machine or the file cannot be read. A file that is not a plugin is not
/// an error: it is rejected, with a reason.
pub fn check(
    config: &RuntimeConfig,
    plugins: &LoaderConfig,
    file: &Path,
) -> Result<PluginInfo, RuntimeError> {
    load(&Loader::new(*config, plugins)?, file).map(|loaded| loaded.info)
}

/// Loads a file, with the manifest beside it.
pub(crate) fn load(loader: &Loader, file: &Path) -> Result<Loaded, RuntimeError> {
    let unreadable = |source| RuntimeError::File { path: file.to_owned(), source };
    let missing = || unreadable(io::ErrorKind::NotFound.into());
    let fingerprint = Fingerprint::of(file, None).ok_or_else(missing)?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let loaded = loader.load_file(&name, file, &fingerprint, &KillHandle::default());
    // The file changed while it was read; a retry reads the new one.
    loaded.ok_or_else(|| unreadable(io::ErrorKind::Interrupted.into()))
}
