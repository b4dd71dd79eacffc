//! Puts a plugin into the plugins folder and takes one out, as dropping and removing a file does.
//!
//! Called by the runtime for the API, and by the keeper, which alone changes what has a name. What is not a
//! plugin never gets a name that ends in `.wasm`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use wasmill_model::PluginName;

use crate::folder::{self, Fingerprint, PLUGINS_MAX};
use crate::format;
use crate::kill_handle::KillHandle;
use crate::loader::{Loaded, Loader};
use crate::manifest;
use crate::registry::{PluginInfo, PluginSource, PluginState};

/// What became of an upload.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadOutcome {
    /// The plugin that is in service now.
    pub info: PluginInfo,
    /// Whether there was no file of this name before.
    pub is_new: bool,
}

/// What became of a wish to remove a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveOutcome {
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
    /// The manifest grants something, which was meant for another file.
    #[error(
        "the manifest {name}.toml grants {grants}, which was meant for the file that its author knew: put \
         `sha256 = \"{digest}\"` into it, and upload again"
    )]
    Unpinned {
        /// The plugin.
        name: PluginName,
        /// What is granted.
        grants: String,
        /// The SHA-256 of the upload.
        digest: String,
    },
    /// There is no room for another plugin.
    #[error("the plugins folder holds {PLUGINS_MAX} plugins, the most that are looked at; remove one first")]
    TooMany,
    /// The server has no plugins folder.
    #[error("this server has no plugins folder")]
    NoFolder,
    /// The server is about to end.
    #[error("the server stops")]
    Stopping,
    /// The folder cannot be written to.
    #[error("the plugins folder {path} cannot be changed: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl UploadError {
    fn folder(path: &Path, source: io::Error) -> Self {
        Self::Folder { path: path.to_owned(), source }
    }
}

/// A plugin that was loaded and lies in the folder, and has no name there yet.
pub(crate) struct Candidate {
    pub(crate) name: PluginName,
    pub(crate) draft: Draft,
    pub(crate) loaded: Loaded,
    /// The draft and what lay beside its file before it was loaded.
    pub(crate) fingerprint: Fingerprint,
}

/// Loads the bytes as a plugin of this name, which it is not in service under yet.
pub(crate) fn prepare(
    loader: &Loader,
    folder: &Path,
    name: &PluginName,
    bytes: &[u8],
) -> Result<Candidate, UploadError> {
    let failed = |source| UploadError::folder(folder, source);
    fs::create_dir_all(folder).map_err(failed)?;
    // Before the work, so that a folder that cannot be written to is told of at once.
    let draft = Draft::write(folder, name, bytes).map_err(failed)?;
    let file = file_of(folder, name);
    let (schema, folders) = manifest::needs(&file.with_extension("toml"));
    let fingerprint = Fingerprint::with_draft(&draft.path, &file, None);
    let fingerprint = fingerprint.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let fingerprint = fingerprint.with_schema(schema.as_deref()).with_granted(folders.into_iter());
    check_grants(loader, name, &file, bytes)?;
    let loaded = loader.load(name, PluginSource::File(file), bytes, &KillHandle::default());
    if let PluginState::Rejected(reason) = loaded.info.state {
        return Err(UploadError::Rejected(reason));
    }
    // A mount that hangs must not hang the watch over all plugins.
    let is_remote = loaded.plugin.as_ref().is_some_and(|plugin| plugin.folders.are_remote());
    let fingerprint = fingerprint.without_remote_granted(is_remote);
    Ok(Candidate { name: name.clone(), draft, loaded, fingerprint })
}

/// Refuses bytes that would get what a manifest grants to others. Who may upload a plugin is not who may
/// read the secrets of the one before.
fn check_grants(loader: &Loader, name: &PluginName, file: &Path, bytes: &[u8]) -> Result<(), UploadError> {
    // One that is not valid is the reason why the plugin is rejected.
    let Ok(config) = loader.config_beside(file) else { return Ok(()) };
    let grants = config.permissions.kinds();
    let digest = format::hex(&Sha256::digest(bytes));
    if grants.is_empty() || config.sha256.as_ref() == Some(&digest) || file_contains(file, bytes) {
        return Ok(());
    }
    Err(UploadError::Unpinned { name: name.clone(), grants: grants.join(", "), digest })
}

/// Says whether a file holds these bytes.
fn file_contains(file: &Path, bytes: &[u8]) -> bool {
    let read = || {
        let mut there = Vec::new();
        folder::open(file)?.take(bytes.len() as u64 + 1).read_to_end(&mut there)?;
        io::Result::Ok(there)
    };
    read().is_ok_and(|there| there == bytes)
}

fn file_of(folder: &Path, name: &PluginName) -> PathBuf {
    folder.join(format!("{name}.wasm"))
}

/// Removes the file of a plugin; its manifest stays.
pub(crate) fn remove(folder: &Path, name: &PluginName) -> Result<RemoveOutcome, UploadError> {
    let removed = fs::remove_file(file_of(folder, name)).and_then(|()| sync(folder));
    match removed {
        Ok(()) => Ok(RemoveOutcome::Removed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(RemoveOutcome::NotFound),
        Err(source) => Err(UploadError::folder(folder, source)),
    }
}

/// Has the names in a folder outlive a power cut.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file that is not a plugin yet; it goes when it is dropped unpublished.
pub(crate) struct Draft {
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

    /// Makes it the file of a plugin; returns its path, and whether there was none before.
    pub(crate) fn publish(
        mut self,
        folder: &Path,
        name: &PluginName,
    ) -> Result<(PathBuf, bool), UploadError> {
        let file = file_of(folder, name);
        let is_new = file.symlink_metadata().is_err();
        fs::rename(&self.path, &file).map_err(|source| UploadError::folder(folder, source))?;
        self.is_published = true;
        sync(folder).map_err(|source| UploadError::folder(folder, source))?;
        Ok((file, is_new))
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
