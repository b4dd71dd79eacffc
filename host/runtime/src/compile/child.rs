//! The compiler child: limits itself, reads wasm from stdin, writes compiled code to stdout.
//!
//! Started by `compiler`, entered through a hidden subcommand of the binary. It creates an engine with the settings
//! of its parent but without pools, and refuses to compile if the two do not match.

use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};

use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmill_model::Limits;
use wasmtime::Engine;
use wasmtime::wasmparser::Parser;

use crate::compile::config::CompilerConfig;
use crate::config::FILE_BYTES_MAX;
use crate::config::RuntimeConfig;
use crate::engine::engines::{self, Engines};
use crate::engine::memory_reset::MemoryReset;
use crate::engine::profile::Profile;
use crate::error::format;

/// The first argument of the child; the second is the request.
pub(crate) const SUBCOMMAND: &str = "compile";

/// The niceness of the child relative to the server; see nice(2).
const NICENESS: i32 = 10;

/// The request to the child, as one JSON argument.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompileRequest {
    profile: Profile,
    slots: u32,
    guest_memory_bytes: u64,
    reset: MemoryReset,
    /// The [`environment`] of the parent's engine.
    environment: String,
    memory_bytes: u64,
    cpu_s: u64,
}

impl CompileRequest {
    pub(crate) fn new(
        runtime: &RuntimeConfig,
        engines: &Engines,
        profile: Profile,
        config: &CompilerConfig,
    ) -> Self {
        Self {
            profile,
            slots: runtime.slots,
            guest_memory_bytes: runtime.limits.memory_bytes,
            reset: engines.memory_reset(),
            environment: format::hex(&environment(engines.get(profile))),
            memory_bytes: config.memory_bytes,
            cpu_s: config.cpu.as_secs().max(1),
        }
    }

    /// Creates an engine that compiles like the parent's.
    fn engine(&self) -> Result<Engine, String> {
        let limits = Limits { memory_bytes: self.guest_memory_bytes, ..Limits::default() };
        let runtime = RuntimeConfig { slots: self.slots, limits, memory_total_bytes: None };
        let engine = engines::compiler(&runtime, self.profile, self.reset)
            .map_err(|error| format!("failed to create the compiler engine: {error:#}"))?;
        if format::hex(&environment(&engine)) == self.environment {
            Ok(engine)
        } else {
            Err("the compiler's version differs from the server's; restart the server".to_owned())
        }
    }

    fn limit(&self) -> Result<(), String> {
        let limit = |resource, current, spare| {
            let rlimit = Rlimit { current: Some(current), maximum: Some(current + spare) };
            setrlimit(resource, rlimit).map_err(|error| format!("failed to limit the compiler: {error}"))
        };
        limit(Resource::As, self.memory_bytes, 0)?;
        // At the soft limit, SIGXCPU identifies the exceeded limit; a second later the hard limit kills.
        limit(Resource::Cpu, self.cpu_s, 1)?;
        limit(Resource::Core, 0, 0)?;
        // The child writes no files.
        limit(Resource::Fsize, 0, 0)
    }
}

/// Serializes the request as an argument.
impl std::fmt::Display for CompileRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

/// Compiles wasm from stdin as requested by the server, and writes the length of the code and the code to stdout.
/// Call this first in a process started as [`CompilerConfig::program`](crate::CompilerConfig), and nowhere else:
/// the limits it sets stay.
///
/// # Errors
///
/// Returns the reason, to be written to stderr.
pub fn compile_child(request: &str) -> Result<(), String> {
    let system = |error: io::Error| format!("failed to compile in a child process: {error}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| system(error.into()))?;
    nice(NICENESS).map_err(|error| system(error.into()))?;
    let request: CompileRequest = serde_json::from_str(request)
        .map_err(|error| format!("`{SUBCOMMAND}` is internal to the server: {error}"))?;
    // Before the limits: the available address space affects the memory layout.
    let engine = request.engine()?;
    request.limit()?;
    let mut wasm = Vec::new();
    io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut wasm).map_err(system)?;
    let artifact = precompile(&engine, &wasm)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&(artifact.len() as u64).to_le_bytes()).map_err(system)?;
    stdout.write_all(&artifact).and_then(|()| stdout.flush()).map_err(system)
}

/// Compiles a component or a core module.
pub(crate) fn precompile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, String> {
    let compiled = if Parser::is_component(wasm) {
        engine.precompile_component(wasm)
    } else {
        engine.precompile_module(wasm)
    };
    compiled.map_err(|error| format::bounded(format_args!("compilation failed: {error:#}")))
}

/// Digests everything that decides whether an engine can run code compiled by another one.
pub(crate) fn environment(engine: &Engine) -> [u8; 32] {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sha = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sha);
    sha.0.finalize().into()
}
