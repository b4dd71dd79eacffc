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
use crate::leash::Leash;
use crate::loader::{Loaded, Loader};
use crate::manifest;
use crate::registry::{PluginInfo, PluginSource, PluginState};
use crate::words;

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
    /// A folder lies where the file would.
    #[error(
        "a folder named {name}.wasm lies in the plugins folder, in the way of the file of this plugin; move the \
         folder away, or choose another name"
    )]
    FolderInTheWay {
        /// The plugin.
        name: PluginName,
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
    pub(crate) looked_at: Fingerprint,
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
    check_way(folder, name)?;
    // Before the work, so that a folder that cannot be written to is told of at once.
    let draft = Draft::write(folder, name, bytes).map_err(failed)?;
    let file = file_of(folder, name);
    let (schema, folders) = manifest::needs(&file.with_extension("toml"));
    let looked_at = Fingerprint::of_draft(&draft.path, &file, None);
    let looked_at = looked_at.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let looked_at = looked_at.with_schema(schema.as_deref()).with_granted(folders.into_iter());
    check_grants(loader, name, &file, bytes)?;
    let loaded = loader.load(name, PluginSource::File(file), bytes, &Leash::default());
    if let PluginState::Rejected(reason) = loaded.info.state {
        return Err(UploadError::Rejected(reason));
    }
    // A mount that hangs must not hang the watch over all plugins.
    let is_far = loaded.plugin.as_ref().is_some_and(|plugin| plugin.folders.are_far());
    let looked_at = looked_at.without_granted_if(is_far);
    Ok(Candidate { name: name.clone(), draft, loaded, looked_at })
}

/// Refuses bytes that would get what a manifest grants to others. Who may upload a plugin is not who may
/// read the secrets of the one before.
fn check_grants(loader: &Loader, name: &PluginName, file: &Path, bytes: &[u8]) -> Result<(), UploadError> {
    // One that is not valid is the reason why the plugin is rejected.
    let Ok(terms) = loader.terms_beside(file) else { return Ok(()) };
    let grants = terms.permissions.kinds();
    let digest = words::hex(&Sha256::digest(bytes));
    if grants.is_empty() || terms.sha256.as_ref() == Some(&digest) || is_there(file, bytes) {
        return Ok(());
    }
    Err(UploadError::Unpinned { name: name.clone(), grants: grants.join(", "), digest })
}

/// Says whether a file holds these bytes.
fn is_there(file: &Path, bytes: &[u8]) -> bool {
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

/// Refuses a name that a folder has. A link to one is a file, which may be replaced.
fn check_way(folder: &Path, name: &PluginName) -> Result<(), UploadError> {
    let is_folder = file_of(folder, name).symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    if is_folder { Err(UploadError::FolderInTheWay { name: name.clone() }) } else { Ok(()) }
}

/// Removes the file of a plugin; its manifest stays.
pub(crate) fn remove(folder: &Path, name: &PluginName) -> Result<Removed, UploadError> {
    check_way(folder, name)?;
    let removed = fs::remove_file(file_of(folder, name)).and_then(|()| sync(folder));
    match removed {
        Ok(()) => Ok(Removed::Removed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removed::NotFound),
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
        check_way(folder, name)?;
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
