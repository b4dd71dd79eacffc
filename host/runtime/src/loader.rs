//! Turns a file, or bytes built into the binary, into a plugin that is ready to run, or a sentence.
//!
//! Called by the loaders of the keeper, and by the runtime for what is built in. Reads, validates,
//! compiles or takes from the cache, and links; puts nothing into service.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};
use wasmill_model::{InvalidPluginName, PluginName};
use wasmill_outside::Outside;
use wasmtime::Module;
use wasmtime::component::Component;

use crate::cache::{Cache, EntryName};
use crate::code::{Artifact, Code, Linkers};
use crate::compile::Compiler;
use crate::compile_child::environment;
use crate::denials::Denials;
use crate::engine::Engines;
use crate::figures::Figures;
use crate::files::descriptors::Descriptors;
use crate::files::granted::GrantedFolders;
use crate::files::grants::Grants;
use crate::folder::{self, Fingerprint, Unread};
use crate::inspect::{Inspection, inspect};
use crate::kind::{PluginKind, Profile};
use crate::leash::Leash;
use crate::manifest;
use crate::memory::Demand;
use crate::plugin::{InputCheck, Plugin};
use crate::registry::{PluginFacts, PluginInfo, PluginSource, PluginState};
use crate::samples::Samples;
use crate::terms::{Ceilings, Terms};
use crate::words;

/// The largest file that is read.
pub(crate) const FILE_BYTES_MAX: u64 = 128 << 20;

/// A plugin or what is wrong with it.
pub(crate) struct Loaded {
    pub(crate) info: PluginInfo,
    /// Present if the state is `Ready`.
    pub(crate) plugin: Option<Arc<Plugin>>,
    /// The file as it was looked at, with the schema and the folders that its manifest names.
    pub(crate) looked_at: Option<Fingerprint>,
}

/// What a file needs to become a plugin.
pub(crate) struct Loader {
    pub(crate) engines: Engines,
    pub(crate) linkers: Linkers,
    pub(crate) compiler: Compiler,
    /// `None` if it is not wanted or cannot be had.
    pub(crate) cache: Option<Cache>,
    /// The terms of a plugin without a manifest.
    pub(crate) terms: Arc<Terms>,
    /// The most that a manifest may ask for.
    pub(crate) ceilings: Ceilings,
    /// The folders that plugins were granted, and those that none can be.
    pub(crate) grants: Grants,
    pub(crate) descriptors: Descriptors,
    pub(crate) outside: Arc<Outside>,
    pub(crate) samples: Arc<Samples>,
    pub(crate) figures: Figures,
    /// Checks of inputs, by the names of built-in plugins.
    pub(crate) input_checks: &'static [(&'static str, InputCheck)],
}

/// Returns the files that decide what a plugin is and may do.
fn deciding_files(source: &PluginSource) -> Vec<PathBuf> {
    let PluginSource::File(wasm) = source else { return Vec::new() };
    let manifest = wasm.with_extension("toml");
    let (schema, _) = manifest::needs(&manifest);
    [wasm.clone(), manifest].into_iter().chain(schema).collect()
}

/// Refuses a file that is another than its manifest names.
fn check_pin(terms: &Terms, digest: &str) -> Result<(), String> {
    match &terms.sha256 {
        Some(pinned) if pinned != digest => {
            Err(format!("its manifest is for the file with the SHA-256 {pinned}, and this one has {digest}"))
        }
        _ => Ok(()),
    }
}

impl Loader {
    /// Makes a plugin of the file that was looked at; `None` if it is another by now, or nobody
    /// waits for it any more.
    pub(crate) fn load_file(
        &self,
        name: &str,
        path: &Path,
        looked_at: &Fingerprint,
        leash: &Leash,
    ) -> Option<Loaded> {
        let source = PluginSource::File(path.to_owned());
        let reason = match name.parse() {
            Err(error @ InvalidPluginName) => error.to_string(),
            Ok(name) => match folder::read(path, looked_at) {
                Ok(bytes) => {
                    // Before it is read: what changes from now on is another look.
                    let (schema, folders) = manifest::needs(&path.with_extension("toml"));
                    let looked_at = looked_at.clone().with_schema(schema.as_deref());
                    let looked_at = Some(looked_at.with_granted(folders.into_iter()));
                    let loaded = self.load(&name, source, &bytes, leash);
                    // A mount that hangs must not hang the watch over all plugins.
                    let is_far = loaded.plugin.as_ref().is_some_and(|plugin| plugin.folders.are_far());
                    let looked_at = looked_at.map(|looked_at| looked_at.without_granted_if(is_far));
                    return (!leash.is_cut()).then_some(Loaded { looked_at, ..loaded });
                }
                Err(Unread::Changed) => return None,
                Err(Unread::Refused(reason)) => reason,
            },
        };
        self.figures.loaded(false);
        let info = PluginInfo {
            digest: None,
            size_bytes: looked_at.size_bytes(),
            compile_ms: 0,
            state: PluginState::Rejected(reason),
            ..PluginInfo::compiling(name, source)
        };
        Some(Loaded { info, plugin: None, looked_at: None })
    }

    /// Makes a plugin of bytes that are part of the binary.
    pub(crate) fn load_built_in(&self, name: &str, wasm: &[u8]) -> Loaded {
        match name.parse() {
            Ok(name) => self.load(&name, PluginSource::BuiltIn, wasm, &Leash::default()),
            Err(error @ InvalidPluginName) => {
                let state = PluginState::Rejected(error.to_string());
                let info = PluginInfo { state, ..PluginInfo::compiling(name, PluginSource::BuiltIn) };
                Loaded { info, plugin: None, looked_at: None }
            }
        }
    }

    /// Makes a plugin of bytes.
    pub(crate) fn load(&self, name: &PluginName, source: PluginSource, wasm: &[u8], leash: &Leash) -> Loaded {
        let start = Instant::now();
        let digest: Arc<str> = words::hex(&Sha256::digest(wasm)).into();
        // A compiler or linker that panics over a hostile file refuses it and harms nothing else.
        let made = catch_unwind(AssertUnwindSafe(|| self.make(name, &source, &digest, wasm, leash)))
            .unwrap_or_else(|_| Err("the host gave up on it".to_owned()));
        let (plugin, facts, state) = match made {
            Ok((plugin, facts)) => (Some(Arc::new(plugin)), Some(Arc::new(facts)), PluginState::Ready),
            Err(reason) => (None, None, PluginState::Rejected(words::cut(reason, words::MESSAGE_BYTES_MAX))),
        };
        if !leash.is_cut() {
            self.figures.loaded(plugin.is_some());
        }
        let info = PluginInfo {
            facts,
            digest: Some(digest.to_string()),
            size_bytes: wasm.len() as u64,
            compile_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            state,
            ..PluginInfo::compiling(name.as_str(), source)
        };
        Loaded { info, plugin, looked_at: None }
    }

    fn make(
        &self,
        name: &PluginName,
        source: &PluginSource,
        digest: &Arc<str>,
        wasm: &[u8],
        leash: &Leash,
    ) -> Result<(Plugin, PluginFacts), String> {
        let terms = self.terms(source)?;
        check_pin(&terms, digest)?;
        let inspection = inspect(&self.engines, wasm)?;
        inspection.check_memory(&terms.limits)?;
        let Inspection { kind, profile, imports, exports, .. } = inspection;
        let profile = self.engines.profile_for(profile, terms.limits.memory_bytes);
        let code = self.code(kind, profile, digest, wasm, leash)?;
        let folders = Arc::new(GrantedFolders::open(&terms.permissions.dirs)?);
        self.grants.claim(name.as_str(), &deciding_files(source), &folders)?;
        let is_roomy = profile == Profile::Roomy;
        let facts = PluginFacts { kind, is_roomy, imports, exports, terms: Arc::clone(&terms) };
        let (name, digest) = (name.clone(), Arc::clone(digest));
        let (outside, samples) = (Arc::clone(&self.outside), Arc::clone(&self.samples));
        let descriptors = self.descriptors.clone();
        let (demand, denials) = (Demand::default(), Denials::default());
        let mut input_checks = self.input_checks.iter().filter(|_| *source == PluginSource::BuiltIn);
        let input_check = input_checks.find(|(of, _)| *of == name.as_str()).map(|(_, check)| *check);
        let plugin = Plugin {
            name,
            digest,
            kind,
            profile,
            code,
            terms,
            folders,
            descriptors,
            outside,
            samples,
            demand,
            denials,
            input_check,
        };
        Ok((plugin, facts))
    }

    /// Returns the terms a plugin runs on: those of the manifest beside its file, if there is one.
    fn terms(&self, source: &PluginSource) -> Result<Arc<Terms>, String> {
        match source {
            PluginSource::BuiltIn => Ok(Arc::clone(&self.terms)),
            PluginSource::File(path) => self.terms_beside(path),
        }
    }

    /// Returns the terms of the manifest beside a file, or those of a plugin that has none.
    pub(crate) fn terms_beside(&self, file: &Path) -> Result<Arc<Terms>, String> {
        manifest::read(&file.with_extension("toml"), &self.terms, &self.ceilings)
    }

    /// Returns linked code, from the cache if it is there and fits.
    fn code(
        &self,
        kind: PluginKind,
        profile: Profile,
        digest: &str,
        wasm: &[u8],
        leash: &Leash,
    ) -> Result<Code, String> {
        let environment = environment(self.engines.get(profile));
        let entry = EntryName::new(digest, &environment, profile.as_str());
        if let Some(cache) = &self.cache
            && let Some(code) = cache.get(entry)
        {
            match self.artifact(kind, profile, &code) {
                Ok(artifact) => {
                    self.figures.found_in_cache();
                    return self.linkers.link(kind, profile, &artifact);
                }
                Err(_) => cache.forget(entry),
            }
        }
        let start = Instant::now();
        let code = self.compiler.compile(&self.engines, profile, wasm, leash);
        if !leash.is_cut() {
            self.figures.compiled(start.elapsed());
        }
        let code = code?;
        let artifact = self.artifact(kind, profile, &code)?;
        let linked = self.linkers.link(kind, profile, &artifact)?;
        if let Some(cache) = &self.cache {
            cache.put(entry, &code);
        }
        Ok(linked)
    }

    /// Makes code that our compiler gave us part of this process.
    #[expect(unsafe_code, reason = "wasmtime cannot tell whether code is harmless; who made it can")]
    fn artifact(&self, kind: PluginKind, profile: Profile, code: &[u8]) -> Result<Artifact, String> {
        let engine = self.engines.get(profile);
        // SAFETY, of both: these are the bytes that our own compiler wrote for valid wasm: straight from
        // its pipe, or from the cache, which checked the MAC over all of them.
        let artifact = match kind {
            PluginKind::Task | PluginKind::Parking | PluginKind::Command => {
                unsafe { Component::deserialize(engine, code) }.map(Artifact::Component)
            }
            PluginKind::Module => unsafe { Module::deserialize(engine, code) }.map(Artifact::Module),
        };
        artifact
            .map_err(|error| words::bounded(format_args!("it cannot be compiled for this host: {error:#}")))
    }
}
