//! Publishes plugins to the plugins folder and removes them, as copying and deleting a file would.
//!
//! Called by the runtime for the API, and by the watcher, which alone changes published files. Bytes that are not a
//! plugin never get a name that ends in `.wasm`.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::{Builder, TempPath};
use wasmill_model::PluginName;

use crate::compile::kill_handle::KillHandle;
use crate::error::format;
use crate::files::regular_file;
use crate::load::folder::{self, Fingerprint, PLUGINS_MAX};
use crate::load::loader::{Loaded, Loader};
use crate::load::registry::{InService, Registry};
use crate::plugin::info::{PluginInfo, PluginSource, PluginState};
use crate::trust::{SIGNATURE_BYTES_MAX, VoucherFiles, signature_file};

/// The outcome of an upload.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadOutcome {
    /// The plugin now in service.
    pub info: PluginInfo,
    /// The version that ran tasks before; `None` if there was none.
    pub replaced: Option<InService>,
    /// Whether there was no file of this name before.
    pub is_new: bool,
}

/// What an upload would do.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadPreview {
    /// The plugin as it would be.
    pub info: PluginInfo,
    /// The version that runs tasks now; `None` if there is none.
    pub in_service: Option<InService>,
    /// Whether there is no file of this name yet.
    pub is_new: bool,
}

/// The outcome of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// Its file was deleted.
    Removed,
    /// There is no such plugin.
    NotFound,
    /// It is built in and has no file.
    BuiltIn,
}

/// Why a plugin was not published or removed. The previous version stays in service.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The bytes are not a plugin, or its manifest does not allow them.
    #[error("{0}")]
    Rejected(String),
    /// The manifest grants permissions that were meant for another file.
    #[error(
        "the manifest {name}.toml grants {grants}, which were meant for another file: add `sha256 = \
         \"{digest}\"` to it, and upload again"
    )]
    Unpinned {
        /// The plugin.
        name: PluginName,
        /// The permissions granted.
        grants: String,
        /// The SHA-256 of the upload.
        digest: String,
    },
    /// A folder has the name of the plugin's file.
    #[error(
        "the plugins folder contains a folder named {name}.wasm, which blocks the file of this plugin; move that \
         folder away, or choose another name"
    )]
    FolderInTheWay {
        /// The plugin.
        name: PluginName,
    },
    /// The folder holds the maximum number of plugins.
    #[error("the plugins folder holds the maximum of {PLUGINS_MAX} plugins; remove one first")]
    TooMany,
    /// The server has no plugins folder.
    #[error("this server has no plugins folder")]
    NoFolder,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The folder cannot be written to.
    #[error("the plugins folder {path} cannot be changed: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl UploadError {
    fn folder(path: &Path, source: io::Error) -> Self {
        Self::Folder { path: path.to_owned(), source }
    }
}

/// The bytes of an upload.
#[derive(Clone, Copy)]
pub(crate) struct Uploaded<'a> {
    pub(crate) wasm: &'a [u8],
    /// The signature that came with them, as minisign writes it.
    pub(crate) signature: Option<&'a [u8]>,
}

/// A loaded plugin that is not published yet.
pub(crate) struct Candidate {
    pub(crate) name: PluginName,
    pub(crate) draft: Draft,
    /// The signature that lies beside the file once it is published.
    pub(crate) signature: Option<Vec<u8>>,
    pub(crate) loaded: Loaded,
    /// The fingerprint of the draft, and of the files beside its target, before loading.
    pub(crate) fingerprint: Fingerprint,
}

/// Loads bytes as a plugin of this name, without putting it into service.
pub(crate) fn prepare(
    loader: &Loader,
    folder: &Path,
    name: &PluginName,
    uploaded: Uploaded<'_>,
) -> Result<Candidate, UploadError> {
    let Uploaded { wasm: bytes, signature } = uploaded;
    let failed = |source| UploadError::folder(folder, source);
    fs::create_dir_all(folder).map_err(failed)?;
    check_no_folder(folder, name)?;
    // Before loading, so that a folder that cannot be written to is reported at once.
    let draft = Draft::write(folder, name, bytes).map_err(failed)?;
    let file = file_of(folder, name);
    let voucher_files = loader.trust.voucher_files();
    let fingerprint = Fingerprint::with_draft(&draft.0, &file, None, voucher_files);
    let fingerprint = fingerprint.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let fingerprint = loader.with_needs(fingerprint, &file);
    check_grants(loader, name, &file, bytes)?;
    let loaded = loader.load(name, PluginSource::File(file), bytes, signature, &KillHandle::default());
    if let PluginState::Rejected(reason) = loaded.info.state {
        return Err(UploadError::Rejected(reason));
    }
    // A hanging mount must not block the watch of all plugins.
    let is_remote = loaded.plugin.as_ref().is_some_and(|plugin| plugin.context.folders.are_remote());
    let fingerprint = fingerprint.of_ready(is_remote);
    // Where no signature is asked for, nobody has verified it.
    let signature = signature.filter(|_| voucher_files == VoucherFiles::Signatures).map(<[u8]>::to_vec);
    Ok(Candidate { name: name.clone(), draft, signature, loaded, fingerprint })
}

/// Loads bytes as a plugin of this name as an upload would, without writing anything to the folder. Compiled code goes
/// into the cache, so that the upload finds it there.
pub(crate) fn preview(
    loader: &Loader,
    registry: &Registry,
    folder: &Path,
    name: &PluginName,
    uploaded: Uploaded<'_>,
) -> Result<UploadPreview, UploadError> {
    let Uploaded { wasm: bytes, signature } = uploaded;
    check_no_folder(folder, name)?;
    let file = file_of(folder, name);
    let is_new = file.symlink_metadata().is_err();
    if is_new
        && folder::scan(folder, VoucherFiles::None, |_| None)
            .is_ok_and(|scan| scan.files.len() >= PLUGINS_MAX)
    {
        return Err(UploadError::TooMany);
    }
    check_grants(loader, name, &file, bytes)?;
    let loaded = loader.load(name, PluginSource::File(file), bytes, signature, &KillHandle::default());
    match loaded.info.state {
        PluginState::Rejected(reason) => Err(UploadError::Rejected(reason)),
        _ => Ok(UploadPreview { info: loaded.info, in_service: registry.in_service(name), is_new }),
    }
}

/// Rejects bytes that would inherit permissions granted to another file: a client that may upload plugins need not be
/// allowed to read the secrets of the previous one.
fn check_grants(loader: &Loader, name: &PluginName, file: &Path, bytes: &[u8]) -> Result<(), UploadError> {
    // An invalid manifest is reported when the plugin is loaded.
    let Ok(config) = loader.config_beside(file) else { return Ok(()) };
    let grants = config.permissions.kinds();
    let digest = format::hex(&Sha256::digest(bytes));
    if grants.is_empty() || config.sha256.as_ref() == Some(&digest) || file_contains(file, bytes) {
        return Ok(());
    }
    Err(UploadError::Unpinned { name: name.clone(), grants: grants.join(", "), digest })
}

/// Returns true if a file holds exactly these bytes.
fn file_contains(file: &Path, bytes: &[u8]) -> bool {
    regular_file::read_file(file, bytes.len() as u64).is_ok_and(|there| there == bytes)
}

fn file_of(folder: &Path, name: &PluginName) -> PathBuf {
    folder.join(format!("{name}.wasm"))
}

/// Refuses a plugin whose file would replace a folder. A link to a folder is a file, which may be replaced.
fn check_no_folder(folder: &Path, name: &PluginName) -> Result<(), UploadError> {
    let is_folder = file_of(folder, name).symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    if is_folder { Err(UploadError::FolderInTheWay { name: name.clone() }) } else { Ok(()) }
}

/// Removes the file of a plugin and its signature; its manifest stays.
pub(crate) fn remove(folder: &Path, name: &PluginName) -> Result<RemoveOutcome, UploadError> {
    check_no_folder(folder, name)?;
    let file = file_of(folder, name);
    let removed = fs::remove_file(&file).and_then(|()| sync(folder));
    match removed {
        Ok(()) => {
            // Without its file it says nothing; most have none.
            let _ = fs::remove_file(signature_file(&file));
            Ok(RemoveOutcome::Removed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(RemoveOutcome::NotFound),
        Err(source) => Err(UploadError::folder(folder, source)),
    }
}

/// Syncs the folder, so that its entries survive a power failure.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// An unpublished file; deleted on drop.
pub(crate) struct Draft(TempPath);

impl Draft {
    fn write(folder: &Path, name: &PluginName, bytes: &[u8]) -> io::Result<Self> {
        // Hidden, and without the extension of a plugin; readable as the umask allows, as a copied file would be.
        let prefix = format!(".{name}.");
        let mut file = Builder::new()
            .prefix(&prefix)
            .suffix(".upload")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(Self(file.into_temp_path()))
    }

    /// Renames the draft to the file of the plugin, with its signature beside it; returns its path, and whether it is
    /// new.
    pub(crate) fn publish(
        self,
        folder: &Path,
        name: &PluginName,
        signature: Option<&[u8]>,
    ) -> Result<(PathBuf, bool), UploadError> {
        let file = file_of(folder, name);
        let is_new = file.symlink_metadata().is_err();
        check_no_folder(folder, name)?;
        let published = self.persist(folder, name, &file, signature);
        published.map_err(|source| UploadError::folder(folder, source))?;
        Ok((file, is_new))
    }

    fn persist(
        self,
        folder: &Path,
        name: &PluginName,
        file: &Path,
        signature: Option<&[u8]>,
    ) -> io::Result<()> {
        let path = signature_file(file);
        let write =
            |bytes: &[u8]| Self::write(folder, name, bytes)?.0.persist(&path).map_err(io::Error::from);
        if let Some(signature) = signature {
            // Both signatures, until the file is replaced: whatever happens in between, the file there is signed.
            let earlier = regular_file::read_file(&path, SIGNATURE_BYTES_MAX).unwrap_or_default();
            let both = [signature, b"\n", &earlier].concat();
            write(if both.len() as u64 > SIGNATURE_BYTES_MAX { signature } else { &both })?;
            sync(folder)?;
        }
        self.0.persist(file).map_err(io::Error::from)?;
        sync(folder)?;
        if let Some(signature) = signature {
            write(signature)?;
            sync(folder)?;
        }
        Ok(())
    }
}
