//! Turns a file, or bytes built into the binary, into a plugin that is ready to run, or a sentence.
//!
//! Called by the registry, at start. Reads and compiles; puts nothing into service.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Linker};
use wasmtime_wasi::p2;

use crate::bindings::{Plugin, PluginPre};
use crate::guest::Guest;
use crate::inspect::inspect;
use crate::registry::{PluginInfo, PluginSource, PluginState};
use crate::words;

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A plugin or what is wrong with it.
pub(crate) struct Loaded {
    pub(crate) info: PluginInfo,
    /// Present if the state is `Ready`.
    pub(crate) plugin: Option<PluginPre<Guest>>,
}

/// Returns what every plugin is linked against.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    Plugin::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

/// Makes a plugin of bytes.
pub(crate) fn load(linker: &Linker<Guest>, name: &str, source: PluginSource, bytes: &[u8]) -> Loaded {
    let start = Instant::now();
    let compiled = compile_safely(linker, bytes);
    let compile_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (plugin, state) = match compiled {
        Ok(plugin) => (Some(plugin), PluginState::Ready),
        Err(reason) => (None, PluginState::Rejected(words::cut(reason, words::MESSAGE_BYTES_MAX))),
    };
    let info = PluginInfo {
        name: name.to_owned(),
        source,
        digest: Some(digest(bytes)),
        size_bytes: bytes.len() as u64,
        compile_ms,
        state,
    };
    Loaded { info, plugin }
}

/// Makes a plugin of a file.
pub(crate) fn load_file(linker: &Linker<Guest>, name: &str, path: &Path) -> Loaded {
    match read(path) {
        Ok(bytes) => load(linker, name, PluginSource::File(path.to_owned()), &bytes),
        Err(reason) => rejected(name, path, reason),
    }
}

/// Words a file that is not even read.
pub(crate) fn rejected(name: &str, path: &Path, reason: String) -> Loaded {
    let info = PluginInfo {
        name: name.to_owned(),
        source: PluginSource::File(path.to_owned()),
        digest: None,
        size_bytes: path.metadata().map_or(0, |metadata| metadata.len()),
        compile_ms: 0,
        state: PluginState::Rejected(reason),
    };
    Loaded { info, plugin: None }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error| format!("failed to read the file: {error}");
    let metadata = path.metadata().map_err(failed)?;
    // Opening a pipe would wait for somebody to write to it.
    if !metadata.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file is larger than {}", words::bytes(FILE_BYTES_MAX)));
    }
    Ok(bytes)
}

/// Compiles; a compiler that panics over a hostile file refuses it and harms nothing else.
fn compile_safely(linker: &Linker<Guest>, bytes: &[u8]) -> Result<PluginPre<Guest>, String> {
    catch_unwind(AssertUnwindSafe(|| compile(linker, bytes)))
        .unwrap_or_else(|_| Err("the compiler gave up on it".to_owned()))
}

fn compile(linker: &Linker<Guest>, bytes: &[u8]) -> Result<PluginPre<Guest>, String> {
    inspect(linker.engine(), bytes)?;
    let component = Component::from_binary(linker.engine(), bytes)
        .map_err(|error| words::bounded(format_args!("it cannot be compiled for this host: {error:#}")))?;
    let linked = linker.instantiate_pre(&component).map_err(|error| {
        words::bounded(format_args!("it asks for what this host does not offer: {error:#}"))
    })?;
    PluginPre::new(linked).map_err(|error| {
        words::bounded(format_args!("its `run-task` is not that of wasmill:task/plugin@0.1.0: {error:#}"))
    })
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
