//! Which files may be plugins: any, those that a list names, or those that are signed.
//!
//! Called by the loader with the bytes that it then hashes, compiles and runs, and with those of the manifest and the
//! schema before they are parsed. Reads the list and the signatures, and no file twice.

mod list;
mod signature;
mod version;
mod versions;

use std::cell::RefCell;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

pub use self::list::ListError;
pub(crate) use self::list::{LIST_FILE, list};
pub use self::signature::{SIGNATURE_BYTES_MAX, SigningKeys, SigningKeysError};
use self::signature::{Signatures, Signed};
pub(crate) use self::version::FileVersion;
use self::versions::Versions;
use crate::error::format;
use crate::files::regular_file;

/// What the name of a file with signatures ends in.
pub(crate) const SIGNATURE_SUFFIX: &str = ".minisig";

/// Which files may be plugins.
#[derive(Clone, Debug, Default)]
pub enum PluginTrust {
    /// Every file of the plugins folder.
    #[default]
    Any,
    /// Those that `trusted.toml` of this folder names with their SHA-256.
    Listed(PathBuf),
    /// Those with a signature beside them.
    Signed(SignedTrust),
}

/// How signatures are checked.
#[derive(Clone, Debug)]
pub struct SignedTrust {
    /// The keys, any of which may have signed a file.
    pub keys: Arc<SigningKeys>,
    /// Whether a file may have an older version than the one before.
    pub allow_older: bool,
    /// The file with the newest versions so far; `None` to compare with none.
    pub versions: Option<PathBuf>,
}

/// The files that vouch for those of a plugin, so that a change of them is one of the plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum VoucherFiles {
    #[default]
    None,
    /// The list of the folder.
    List,
    /// A signature for each file.
    Signatures,
}

impl VoucherFiles {
    /// Returns the files that vouch for a plugin of the plugins folder, whether they exist or not.
    pub(crate) fn of(self, wasm: &Path, schema: Option<&Path>) -> Vec<PathBuf> {
        match self {
            Self::None => Vec::new(),
            Self::List => vec![wasm.with_file_name(LIST_FILE)],
            Self::Signatures => {
                let manifest = wasm.with_extension("toml");
                [Some(wasm), Some(manifest.as_path()), schema]
                    .into_iter()
                    .flatten()
                    .map(signature_file)
                    .collect()
            }
        }
    }
}

/// Returns the file with the signatures of a file.
pub(crate) fn signature_file(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(SIGNATURE_SUFFIX);
    path.into()
}

/// Returns the name of a file relative to its plugin in its one spelling.
pub(crate) fn plain_name(name: &str) -> String {
    Path::new(name).components().collect::<PathBuf>().to_string_lossy().into_owned()
}

/// The metadata of the list: device, inode, size, and when it changed in seconds and nanoseconds.
type ListStamp = (u64, u64, u64, i64, i64);

/// Decides on the files of plugins.
#[derive(Debug)]
pub(crate) struct Trust {
    trust: PluginTrust,
    versions: Versions,
    /// The list at the last look.
    seen: Mutex<Option<ListStamp>>,
}

/// Decides on the files of one plugin, at one load.
pub(crate) struct Vouch<'a>(Kind<'a>);

enum Kind<'a> {
    Any,
    Listed { list: PathBuf, files: Result<list::Listed, String> },
    Signed(Box<SignedFiles<'a>>),
}

struct SignedFiles<'a> {
    trust: &'a SignedTrust,
    recorded: &'a Versions,
    /// The folder of the plugin file.
    folder: PathBuf,
    /// The signature that came with an upload, of the plugin file.
    given: Option<&'a [u8]>,
    versions: RefCell<Vec<FileVersion>>,
}

impl Trust {
    pub(crate) fn new(trust: PluginTrust) -> Self {
        let file = match &trust {
            PluginTrust::Signed(SignedTrust { versions, .. }) => versions.clone(),
            PluginTrust::Any | PluginTrust::Listed(_) => None,
        };
        let trust = Self { trust, versions: Versions::new(file), seen: Mutex::default() };
        trust.list_has_changed();
        trust
    }

    /// Returns true if the list is another one than at the last look, so that a copy that was rejected may be trusted.
    pub(crate) fn list_has_changed(&self) -> bool {
        let PluginTrust::Listed(folder) = &self.trust else { return false };
        let metadata = folder.join(LIST_FILE).metadata().ok();
        let found =
            metadata.map(|list| (list.dev(), list.ino(), list.size(), list.ctime(), list.ctime_nsec()));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *seen, found) != found
    }

    /// Returns which files vouch for those of a plugin.
    pub(crate) fn voucher_files(&self) -> VoucherFiles {
        match self.trust {
            PluginTrust::Any => VoucherFiles::None,
            PluginTrust::Listed(_) => VoucherFiles::List,
            PluginTrust::Signed(_) => VoucherFiles::Signatures,
        }
    }

    /// Begins to decide on the files of a plugin; `given` is the signature that came with the plugin file.
    pub(crate) fn vouch<'a>(&'a self, wasm: &Path, given: Option<&'a [u8]>) -> Vouch<'a> {
        Vouch(match &self.trust {
            PluginTrust::Any => Kind::Any,
            PluginTrust::Listed(folder) => {
                let list = folder.join(LIST_FILE);
                let files = list::Listed::read(&list);
                Kind::Listed { list, files }
            }
            PluginTrust::Signed(trust) => Kind::Signed(Box::new(SignedFiles {
                trust,
                recorded: &self.versions,
                folder: wasm.parent().unwrap_or(Path::new("")).to_owned(),
                given,
                versions: RefCell::default(),
            })),
        })
    }

    /// Records versions that came into service. Later ones may not be older.
    pub(crate) fn record(&self, versions: &[FileVersion]) {
        if let PluginTrust::Signed(SignedTrust { allow_older, .. }) = &self.trust {
            self.versions.record(versions, *allow_older);
        }
    }
}

impl Vouch<'static> {
    /// Vouches for every file: for those that are part of the binary.
    pub(crate) fn any() -> Self {
        Self(Kind::Any)
    }
}

impl Vouch<'_> {
    /// Checks the plugin file.
    ///
    /// # Errors
    ///
    /// Says why it is not trusted, and what to do.
    pub(crate) fn check_wasm(&self, wasm: &Path, bytes: &[u8]) -> Result<(), String> {
        let name = wasm.file_name().unwrap_or_default().to_string_lossy();
        if matches!(self.0, Kind::Listed { .. })
            && wasm.with_extension("toml").file_name() == Some(LIST_FILE.as_ref())
        {
            return Err(format!(
                "its manifest would be {LIST_FILE}, which is the list of trusted files; rename {name}"
            ));
        }
        let given = match &self.0 {
            Kind::Signed(signed) => signed.given,
            Kind::Any | Kind::Listed { .. } => None,
        };
        self.check_file(&name, bytes, given)
    }

    /// Checks a file beside a plugin: its manifest or its schema, by its name relative to the plugin.
    ///
    /// # Errors
    ///
    /// Says why it is not trusted, and what to do.
    pub(crate) fn check(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.check_file(&plain_name(name), bytes, None)
    }

    fn check_file(&self, name: &str, bytes: &[u8], given: Option<&[u8]>) -> Result<(), String> {
        match &self.0 {
            Kind::Any => Ok(()),
            Kind::Listed { list, files } => {
                let listed = files.as_ref().map_err(Clone::clone)?;
                let digest = format::hex(&Sha256::digest(bytes));
                if listed.has(name, &digest) {
                    return Ok(());
                }
                Err(format!(
                    "{name} is not listed with its SHA-256 {digest} in {}; if you trust it: \
                     wasmill plugin trust {name}",
                    list.display()
                ))
            }
            Kind::Signed(signed) => signed.check(name, bytes, given),
        }
    }

    /// Returns the versions of the files that were checked.
    pub(crate) fn versions(&self) -> Vec<FileVersion> {
        match &self.0 {
            Kind::Signed(signed) => signed.versions.borrow().clone(),
            Kind::Any | Kind::Listed { .. } => Vec::new(),
        }
    }
}

impl SignedFiles<'_> {
    fn check(&self, name: &str, bytes: &[u8], given: Option<&[u8]>) -> Result<(), String> {
        let signature_file = format!("{name}{SIGNATURE_SUFFIX}");
        let read;
        let signatures = match given {
            Some(given) => given,
            None => match regular_file::read_file(&self.folder.join(&signature_file), SIGNATURE_BYTES_MAX) {
                Ok(bytes) => {
                    read = bytes;
                    &read
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(format!(
                        "{name} is not signed: there is no {signature_file} beside it; sign it with minisign -S -m \
                         {name}"
                    ));
                }
                Err(error) => return Err(format!("its signature {signature_file} cannot be read: {error}")),
            },
        };
        let verified =
            Signatures::parse(signatures).and_then(|all| self.trust.keys.verify(&all, name, bytes));
        let Signed { version } =
            verified.map_err(|why| format!("the signature of {name} does not count: {why}"))?;
        if !self.trust.allow_older {
            self.recorded.check(name, version.as_ref())?;
        }
        if let Some(version) = version {
            self.versions.borrow_mut().push(FileVersion { file: name.to_owned(), version });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
