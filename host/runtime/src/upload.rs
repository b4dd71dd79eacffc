//! Puts a plugin into the plugins folder and takes one out, as dropping and removing a file does.
//!
//! Called by the runtime for the API. What is not a plugin never gets a name that ends in `.wasm`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use wasmill_model::PluginName;

use crate::leash::Leash;
use crate::loader::{Loaded, Loader};
use crate::registry::{PluginInfo, PluginSource, PluginState};

/// What became of an upload.
#[derive(Clone, Debug, PartialEq)]
pub struct Uploaded {
    /// The plugin that is in service now.
    pub info: PluginInfo,
    /// Whether there was no file of this name before.
    pub is_new: bool,
}

/// What became of a wish to remove a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Its file is gone.
    Removed,
    /// There is no such plugin.
    NotFound,
    /// It is part of the binary and has no file.
    BuiltIn,
}

/// Why a plugin was not put into the folder or taken out of it. The one before is still in service.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The bytes are no plugin, or its manifest does not allow it.
    #[error("{0}")]
    Rejected(String),
    /// The server has no plugins folder.
    #[error("this server has no plugins folder")]
    NoFolder,
    /// The folder cannot be written to.
    #[error("the plugins folder {path} cannot be changed: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Loads the bytes as a plugin of this name and, if it is one, makes them its file.
pub(crate) fn store(
    loader: &Loader,
    folder: &Path,
    name: &PluginName,
    bytes: &[u8],
) -> Result<Loaded, UploadError> {
    let failed = |source| UploadError::Folder { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    // Before the work, so that a folder that cannot be written to is told of at once.
    let draft = Draft::write(folder, name, bytes).map_err(failed)?;
    let file = folder.join(format!("{name}.wasm"));
    let loaded = loader.load(name, PluginSource::File(file.clone()), bytes, &Leash::default());
    if let PluginState::Rejected(reason) = loaded.info.state {
        return Err(UploadError::Rejected(reason));
    }
    draft.publish(&file).map_err(failed)?;
    Ok(loaded)
}

/// Removes the file of a plugin.
pub(crate) fn remove(folder: &Path, file: &Path) -> Result<Removed, UploadError> {
    match fs::remove_file(file) {
        Ok(()) => Ok(Removed::Removed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removed::NotFound),
        Err(source) => Err(UploadError::Folder { path: folder.to_owned(), source }),
    }
}

/// A file that is not a plugin yet; it goes when it is dropped unpublished.
struct Draft {
    path: PathBuf,
    is_published: bool,
}

impl Draft {
    fn write(folder: &Path, name: &PluginName, bytes: &[u8]) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Hidden, and without the ending that would make it a plugin.
        let path = folder.join(format!(".{name}.{}-{number}.upload", std::process::id()));
        // One that a host with this process id left behind when it was killed.
        let _ = fs::remove_file(&path);
        let mut file = File::create_new(&path)?;
        let draft = Self { path, is_published: false };
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(draft)
    }

    fn publish(mut self, file: &Path) -> io::Result<()> {
        fs::rename(&self.path, file)?;
        self.is_published = true;
        // The name has to outlive a power cut, too.
        file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "failed to remove the file of an upload");
        }
    }
}
