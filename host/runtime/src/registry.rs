//! The plugins in service, by name, and what is known of each file that was looked at.
//!
//! Made once by the runtime. A file stands above a built-in plugin of the same name, but a broken
//! one never does.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use wasmill_model::PluginName;
use wasmtime::component::Linker;

use crate::bindings::PluginPre;
use crate::guest::Guest;
use crate::loader::{self, Loaded};
use crate::runtime::RuntimeError;

/// Plugins that are read and compiled at once. Each of them is compiled by all cores, so more only
/// cost memory.
const LOADERS_MAX: usize = 4;

/// What is known of one plugin or one file that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// Its name, which is the stem of its file; not a valid plugin name if it was rejected for that.
    pub name: String,
    /// Where it came from.
    pub source: PluginSource,
    /// The SHA-256 of its bytes in hexadecimal; `None` if they were not read.
    pub digest: Option<String>,
    /// Bytes of the component.
    pub size_bytes: u64,
    /// How long it took to check and compile, in milliseconds.
    pub compile_ms: u64,
    /// Whether it is in service.
    pub state: PluginState,
}

/// Where a plugin came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// It is part of the binary.
    BuiltIn,
    /// It lies in the plugins folder.
    File(PathBuf),
}

/// Whether a plugin is in service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// It runs tasks.
    Ready,
    /// It does not, and this is why, in a sentence.
    Rejected(String),
}

/// The plugins in service.
pub(crate) struct Registry {
    plugins: BTreeMap<PluginName, PluginPre<Guest>>,
    infos: Vec<PluginInfo>,
}

impl Registry {
    /// Loads the built-in plugins, then every `*.wasm` in the folder; a folder that is not there is
    /// an empty one.
    pub(crate) fn load(
        linker: &Linker<Guest>,
        builtins: &[(&str, &'static [u8])],
        folder: Option<&Path>,
    ) -> Result<Self, RuntimeError> {
        let mut candidates: Vec<_> =
            builtins.iter().map(|&(name, bytes)| Candidate::BuiltIn(name, bytes)).collect();
        candidates
            .extend(folder.map(files).transpose()?.unwrap_or_default().into_iter().map(Candidate::File));

        let mut registry = Self { plugins: BTreeMap::new(), infos: Vec::new() };
        for loaded in load_all(linker, &candidates) {
            registry.admit(loaded);
        }
        Ok(registry)
    }

    pub(crate) fn get(&self, name: &PluginName) -> Option<&PluginPre<Guest>> {
        self.plugins.get(name)
    }

    /// Says whether a plugin is in service, or why it is not.
    pub(crate) fn check_ready(&self, name: &PluginName) -> Result<(), String> {
        if self.plugins.contains_key(name) {
            return Ok(());
        }
        let info = self.infos.iter().find(|info| info.name == name.as_str());
        Err(match info.map(|info| &info.state) {
            Some(PluginState::Rejected(reason)) => format!("plugin '{name}' was rejected: {reason}"),
            _ => format!("there is no plugin '{name}'; it would be {name}.wasm in the plugins folder"),
        })
    }

    pub(crate) fn names(&self) -> Vec<PluginName> {
        self.plugins.keys().cloned().collect()
    }

    pub(crate) fn infos(&self) -> &[PluginInfo] {
        &self.infos
    }

    /// Takes in what was loaded; built-ins come before files, so a file replaces.
    fn admit(&mut self, loaded: Loaded) {
        let Loaded { mut info, plugin } = loaded;
        if let Some(plugin) = plugin {
            match info.name.parse::<PluginName>() {
                Ok(name) => {
                    self.infos.retain(|earlier| earlier.name != info.name);
                    self.plugins.insert(name, plugin);
                }
                Err(error) => info.state = PluginState::Rejected(error.to_string()),
            }
        }
        log(&info);
        self.infos.push(info);
    }
}

/// Something that may turn out to be a plugin.
enum Candidate<'a> {
    BuiltIn(&'a str, &'static [u8]),
    File(PathBuf),
}

impl Candidate<'_> {
    fn load(&self, linker: &Linker<Guest>) -> Loaded {
        match self {
            Self::BuiltIn(name, bytes) => loader::load(linker, name, PluginSource::BuiltIn, bytes),
            Self::File(path) => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                match name.parse::<PluginName>() {
                    Ok(_) => loader::load_file(linker, &name, path),
                    Err(error) => loader::rejected(&name, path, error.to_string()),
                }
            }
        }
    }
}

/// Returns the `*.wasm` of a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, RuntimeError> {
    let failed = |source| RuntimeError::PluginsFolder { path: folder.to_owned(), source };
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Loads all of them, a few at a time, and returns them in their order.
fn load_all(linker: &Linker<Guest>, candidates: &[Candidate<'_>]) -> Vec<Loaded> {
    let next = AtomicUsize::new(0);
    let load_some = || {
        let mut some = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(candidate) = candidates.get(place) else { return some };
            some.push((place, candidate.load(linker)));
        }
    };
    let loaders = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(LOADERS_MAX);
    let mut loaded: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..loaders).map(|_| scope.spawn(load_some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a load catches its panics")).collect()
    });
    loaded.sort_by_key(|&(place, _)| place);
    loaded.into_iter().map(|(_, loaded)| loaded).collect()
}

fn log(info: &PluginInfo) {
    let PluginInfo { name, size_bytes, compile_ms, .. } = info;
    match (&info.state, &info.source) {
        (PluginState::Ready, _) => tracing::info!(plugin = %name, size_bytes, compile_ms, "plugin is ready"),
        (PluginState::Rejected(reason), PluginSource::File(path)) => {
            tracing::warn!(plugin = %name, path = %path.display(), reason, "plugin is rejected");
        }
        (PluginState::Rejected(reason), PluginSource::BuiltIn) => {
            tracing::error!(plugin = %name, reason, "built-in plugin is rejected");
        }
    }
}
