//! Loads a file, or bytes built into the binary, as a plugin that is ready to run, or rejects it with a reason.
//!
//! Called by the loader threads of the watcher, and by the runtime for built-in plugins. Reads, validates, compiles
//! (or uses the cache) and links; puts nothing into service.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};
use wasmill_egress::{ConnectionQuota, Connector};
use wasmill_model::{InvalidPluginName, PluginName};
use wasmtime::Module;
use wasmtime::component::Component;

use crate::compile::cache::{Cache, CacheConfig, EntryName};
use crate::compile::child::environment;
use crate::compile::compiler::Compiler;
use crate::compile::kill_handle::KillHandle;
use crate::config::RuntimeConfig;
use crate::engine::engines::Engines;
use crate::engine::profile::Profile;
use crate::error::RuntimeError;
use crate::error::format;
use crate::folders::descriptors::Descriptors;
use crate::folders::granted::GrantedFolders;
use crate::folders::scratch::root::ScratchRoot;
use crate::http::roots::connector;
use crate::link::linked_plugin::{Artifact, LinkedPlugin, Linkers};
use crate::link::plugin::Plugin;
use crate::load::config::LoaderConfig;
use crate::load::folder::{self, Fingerprint, ReadError};
use crate::load::grants::{Grants, ProtectedPath};
use crate::load::inspect::{Inspection, inspect};
use crate::manifest::{self, Needs};
use crate::memory::MemoryEstimate;
use crate::observe::load_stats::LoadCounters;
use crate::observe::samples::Samples;
use crate::plugin::config::{InputCheck, MaxLimits, PluginConfig};
use crate::plugin::context::PluginContext;
use crate::plugin::denial_log::DenialLog;
use crate::plugin::info::{PluginDetails, PluginInfo, PluginSource, PluginState};
use crate::plugin::kind::PluginKind;
use crate::secrets::{GrantedSecrets, Secrets};
use crate::trust::{FileVersion, LIST_FILE, PluginTrust, Trust, Vouch, VoucherFiles};

/// A loaded or rejected plugin.
pub(crate) struct Loaded {
    pub(crate) info: PluginInfo,
    /// Present if the state is `Ready`.
    pub(crate) plugin: Option<Arc<Plugin>>,
    /// The fingerprint of the loaded file, with the schema and the folders that its manifest names.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The versions that the signatures of its files name, to be recorded once it is in service.
    pub(crate) versions: Vec<FileVersion>,
}

/// Loads plugins.
pub(crate) struct Loader {
    pub(crate) engines: Engines,
    pub(crate) linkers: Linkers,
    pub(crate) compiler: Compiler,
    /// `None` if there is no cache or it cannot be opened.
    pub(crate) cache: Option<Cache>,
    /// The configuration of a plugin without a manifest.
    pub(crate) default_config: Arc<PluginConfig>,
    /// The maximum that a manifest may ask for.
    pub(crate) max_limits: MaxLimits,
    /// The folders granted to plugins, and the paths that cannot be granted.
    pub(crate) grants: Grants,
    pub(crate) descriptors: Descriptors,
    /// Where the scratch folders of runs are created.
    pub(crate) scratch: Arc<ScratchRoot>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) samples: Arc<Samples>,
    pub(crate) counters: LoadCounters,
    /// Input checks of built-in plugins, by plugin name.
    pub(crate) input_checks: &'static [(&'static str, InputCheck)],
    /// Decides which files may be plugins.
    pub(crate) trust: Trust,
    /// The secrets that manifests may name.
    pub(crate) secrets: Secrets,
}

/// Returns the paths that no plugin may be granted.
fn protected(plugins: &LoaderConfig) -> Vec<ProtectedPath> {
    let folder =
        |path: &PathBuf| ProtectedPath { path: path.clone(), what: "the plugins folder", is_secret: false };
    let list = match &plugins.trust {
        PluginTrust::Listed(folder) => Some(ProtectedPath {
            path: folder.join(LIST_FILE),
            what: "the list of trusted plugins",
            is_secret: false,
        }),
        PluginTrust::Any | PluginTrust::Signed(_) => None,
    };
    plugins.protected.iter().cloned().chain(plugins.folder.as_ref().map(folder)).chain(list).collect()
}

fn open_cache(config: &CacheConfig) -> Option<Cache> {
    let cache = Cache::open(config);
    if let Err(error) = &cache {
        let data = config.data.display();
        tracing::warn!(%data, %error, "failed to open the cache of compiled plugins; continuing without it");
    }
    cache.ok()
}

/// Returns the files that define a plugin and its permissions, and those that vouch for them.
fn defining_files(source: &PluginSource, vouchers: VoucherFiles) -> Vec<PathBuf> {
    let (PluginSource::File(wasm) | PluginSource::Cluster(wasm)) = source else { return Vec::new() };
    let manifest = wasm.with_extension("toml");
    let schema = manifest::needs(&manifest).schema;
    let vouchers = vouchers.of(wasm, schema.as_deref());
    [wasm.clone(), manifest].into_iter().chain(schema).chain(vouchers).collect()
}

/// Rejects a file whose digest differs from the one that its manifest pins.
fn check_pin(config: &PluginConfig, digest: &str) -> Result<(), String> {
    match &config.sha256 {
        Some(pinned) if pinned != digest => {
            Err(format!("its manifest is for the file with the SHA-256 {pinned}, and this one has {digest}"))
        }
        _ => Ok(()),
    }
}

impl Loader {
    /// Creates the loader. Its pools are sized for the limits of the host; a plugin whose manifest asks for more memory
    /// runs on the on-demand engine.
    pub(crate) fn new(config: RuntimeConfig, plugins: &LoaderConfig) -> Result<Self, RuntimeError> {
        let engines = Engines::new(&config)?;
        let linkers = Linkers::new(&engines)
            .map_err(|error| RuntimeError::Engine { slots: config.slots, reason: format!("{error:#}") })?;
        let connector =
            connector(plugins.http_roots.as_deref(), ConnectionQuota::Guests).map_err(|reason| {
                let path = plugins.http_roots.clone().unwrap_or_default();
                RuntimeError::HttpRoots { path, reason }
            })?;
        let max_limits = plugins.max_limits.unwrap_or_else(|| MaxLimits::of(&config.limits));
        let default_config = plugins.default_config.clone().unwrap_or_else(|| PluginConfig {
            limits: config.limits,
            concurrency: max_limits.concurrency,
            ..PluginConfig::default()
        });
        Ok(Self {
            engines,
            linkers,
            compiler: Compiler::new(config, plugins.compiler.clone()),
            cache: plugins.cache.as_ref().and_then(open_cache),
            default_config: Arc::new(default_config),
            max_limits,
            grants: Grants::new(protected(plugins)),
            descriptors: Descriptors::of_process(),
            scratch: Arc::new(ScratchRoot::open(plugins.scratch.clone())),
            connector: Arc::new(connector),
            samples: Arc::<Samples>::default(),
            counters: LoadCounters::default(),
            input_checks: plugins.input_checks,
            trust: Trust::new(plugins.trust.clone()),
            secrets: plugins.secrets.clone(),
        })
    }

    /// Loads the file with this fingerprint; `None` if the file has changed, or if the load was aborted.
    pub(crate) fn load_file(
        &self,
        name: &str,
        path: &Path,
        fingerprint: &Fingerprint,
        kill_handle: &KillHandle,
    ) -> Option<Loaded> {
        let source = PluginSource::File(path.to_owned());
        let reason = match name.parse() {
            Err(error @ InvalidPluginName) => error.to_string(),
            Ok(name) => match folder::read(path, fingerprint) {
                Ok(bytes) => {
                    // Before the file is read: later changes are detected by the next scan.
                    let fingerprint = Some(self.with_needs(fingerprint.clone(), path));
                    let loaded = self.load(&name, source, &bytes, None, kill_handle);
                    let fingerprint = match &loaded.plugin {
                        // A hanging mount must not block the watch of all plugins.
                        Some(plugin) => {
                            let is_remote = plugin.context.folders.are_remote();
                            fingerprint.map(|fingerprint| fingerprint.of_ready(is_remote))
                        }
                        None => fingerprint,
                    };
                    return (!kill_handle.is_killed()).then_some(Loaded { fingerprint, ..loaded });
                }
                Err(ReadError::Changed) => return None,
                Err(ReadError::Unusable(reason)) => reason,
            },
        };
        self.counters.loaded(false);
        let info = PluginInfo {
            digest: None,
            size_bytes: fingerprint.size_bytes(),
            compile_ms: 0,
            state: PluginState::Rejected(reason),
            ..PluginInfo::compiling(name, source)
        };
        Some(Loaded { info, plugin: None, fingerprint: None, versions: Vec::new() })
    }

    /// Adds to a fingerprint what the manifest of the plugin file at `file` names.
    pub(crate) fn with_needs(&self, fingerprint: Fingerprint, file: &Path) -> Fingerprint {
        let Needs { schema, folders, secrets } = manifest::needs(&file.with_extension("toml"));
        fingerprint
            .with_schema(file, schema.as_deref())
            .with_granted(folders.into_iter())
            .with_secret_files(self.secrets.files_of(&secrets))
    }

    /// Loads bytes that are part of the binary.
    pub(crate) fn load_built_in(&self, name: &str, wasm: &[u8]) -> Loaded {
        match name.parse() {
            Ok(name) => self.load(&name, PluginSource::BuiltIn, wasm, None, &KillHandle::default()),
            Err(error @ InvalidPluginName) => {
                let state = PluginState::Rejected(error.to_string());
                let info = PluginInfo { state, ..PluginInfo::compiling(name, PluginSource::BuiltIn) };
                Loaded { info, plugin: None, fingerprint: None, versions: Vec::new() }
            }
        }
    }

    /// Loads bytes as a plugin; `signature` is the one that came with an upload. The bytes that are trusted are those that
    /// are hashed, compiled and run.
    pub(crate) fn load(
        &self,
        name: &PluginName,
        source: PluginSource,
        wasm: &[u8],
        signature: Option<&[u8]>,
        kill_handle: &KillHandle,
    ) -> Loaded {
        let start = Instant::now();
        let vouch = match &source {
            PluginSource::BuiltIn => Vouch::any(),
            PluginSource::File(path) | PluginSource::Cluster(path) => self.trust.vouch(path, signature),
        };
        let digest: Arc<str> = format::hex(&Sha256::digest(wasm)).into();
        // A panic of the compiler or linker on a hostile file rejects the file and affects nothing else.
        let made =
            catch_unwind(AssertUnwindSafe(|| self.make(name, &source, &digest, wasm, &vouch, kill_handle)))
                .unwrap_or_else(|_| Err("internal error while loading".to_owned()));
        let (plugin, details, state) = match made {
            Ok((plugin, details)) => (Some(Arc::new(plugin)), Some(Arc::new(details)), PluginState::Ready),
            Err(reason) => {
                (None, None, PluginState::Rejected(format::truncate(reason, format::MESSAGE_BYTES_MAX)))
            }
        };
        if !kill_handle.is_killed() {
            self.counters.loaded(plugin.is_some());
        }
        let info = PluginInfo {
            details,
            digest: Some(digest.to_string()),
            size_bytes: wasm.len() as u64,
            compile_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            state,
            ..PluginInfo::compiling(name.as_str(), source)
        };
        Loaded { info, plugin, fingerprint: None, versions: vouch.versions() }
    }

    fn make(
        &self,
        name: &PluginName,
        source: &PluginSource,
        digest: &Arc<str>,
        wasm: &[u8],
        vouch: &Vouch<'_>,
        kill_handle: &KillHandle,
    ) -> Result<(Plugin, PluginDetails), String> {
        let config = self.config(source, wasm, vouch)?;
        check_pin(&config, digest)?;
        let secrets = GrantedSecrets::new(&self.secrets, &config.permissions.secrets, name, digest)?;
        let inspection = inspect(&self.engines, wasm)?;
        inspection.check_memory(&config.limits)?;
        let Inspection { kind, profile, imports, exports, .. } = inspection;
        let profile = self.engines.profile_for(profile, config.limits.memory_bytes);
        let code = self.code(kind, profile, digest, wasm, kill_handle)?;
        let folders = Arc::new(GrantedFolders::open(&config.permissions.dirs)?);
        self.grants.claim(name.as_str(), &defining_files(source, self.trust.voucher_files()), &folders)?;
        let is_on_demand = profile == Profile::OnDemand;
        let details = PluginDetails { kind, is_on_demand, imports, exports, config: Arc::clone(&config) };
        let mut input_checks = self.input_checks.iter().filter(|_| *source == PluginSource::BuiltIn);
        let input_check = input_checks.find(|(of, _)| *of == name.as_str()).map(|(_, check)| *check);
        let context = PluginContext {
            name: name.clone(),
            digest: Arc::clone(digest),
            kind,
            profile,
            config,
            folders,
            scratch: Arc::clone(&self.scratch),
            descriptors: self.descriptors.clone(),
            connector: Arc::clone(&self.connector),
            samples: Arc::clone(&self.samples),
            estimate: MemoryEstimate::default(),
            secrets,
            denial_log: DenialLog::new(name, kind, digest),
        };
        let plugin = Plugin { context: Arc::new(context), code, input_check };
        Ok((plugin, details))
    }

    /// Returns the configuration of a plugin that is trusted: that of the manifest beside its file, if there is one.
    fn config(
        &self,
        source: &PluginSource,
        wasm: &[u8],
        vouch: &Vouch<'_>,
    ) -> Result<Arc<PluginConfig>, String> {
        let (PluginSource::File(path) | PluginSource::Cluster(path)) = source else {
            return Ok(Arc::clone(&self.default_config));
        };
        vouch.check_wasm(path, wasm)?;
        manifest::read(&path.with_extension("toml"), &self.default_config, &self.max_limits, vouch)
    }

    /// Returns the configuration of the manifest beside a file, trusted or not, or the default one.
    pub(crate) fn config_beside(&self, file: &Path) -> Result<Arc<PluginConfig>, String> {
        manifest::read(&file.with_extension("toml"), &self.default_config, &self.max_limits, &Vouch::any())
    }

    /// Records the versions of a plugin that is in service now.
    pub(crate) fn record(&self, loaded: &Loaded) {
        if loaded.plugin.is_some() {
            self.trust.record(&loaded.versions);
        }
    }

    /// Returns linked code, from the cache if possible.
    fn code(
        &self,
        kind: PluginKind,
        profile: Profile,
        digest: &str,
        wasm: &[u8],
        kill_handle: &KillHandle,
    ) -> Result<LinkedPlugin, String> {
        let environment = environment(self.engines.get(profile));
        let entry = EntryName::new(digest, &environment, profile.as_str());
        if let Some(cache) = &self.cache
            && let Some(code) = cache.get(entry)
        {
            match self.artifact(kind, profile, &code) {
                Ok(artifact) => {
                    self.counters.found_in_cache();
                    return self.linkers.link(kind, profile, &artifact);
                }
                Err(_) => cache.remove(entry),
            }
        }
        let start = Instant::now();
        let code = self.compiler.compile(&self.engines, profile, wasm, kill_handle);
        if !kill_handle.is_killed() {
            self.counters.compiled(start.elapsed());
        }
        let code = code?;
        let artifact = self.artifact(kind, profile, &code)?;
        let linked = self.linkers.link(kind, profile, &artifact)?;
        if let Some(cache) = &self.cache {
            cache.put(entry, &code);
        }
        Ok(linked)
    }

    /// Deserializes code that our own compiler produced.
    #[expect(unsafe_code, reason = "wasmtime cannot verify machine code; its origin is verified instead")]
    fn artifact(&self, kind: PluginKind, profile: Profile, code: &[u8]) -> Result<Artifact, String> {
        let engine = self.engines.get(profile);
        // SAFETY, of both: these bytes were written by our own compiler for valid wasm. They come straight from its
        // pipe, or from the cache, which verified the MAC over all of them.
        let artifact = match kind {
            PluginKind::Task | PluginKind::Suspendable | PluginKind::Command => {
                unsafe { Component::deserialize(engine, code) }.map(Artifact::Component)
            }
            PluginKind::Module => unsafe { Module::deserialize(engine, code) }.map(Artifact::Module),
        };
        artifact.map_err(|error| format::bounded(format_args!("compilation failed: {error:#}")))
    }
}
