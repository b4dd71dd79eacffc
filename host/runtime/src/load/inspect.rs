//! Inspects the bytes of a plugin before compilation, and explains why they are not accepted.
//!
//! Called by the loader. Validation takes milliseconds; compiling a file that is rejected anyway could take
//! minutes.

use wasmill_model::Limits;
use wasmtime::wasmparser::types::Types;
use wasmtime::wasmparser::{BinaryReaderError, Validator, WasmFeatures};

use crate::engine::capacity::{MEMORIES_PER_INSTANCE, TABLE_ELEMENTS, TABLES_PER_INSTANCE};
use crate::engine::engines::Engines;
use crate::engine::pool::CORE_INSTANCES_PER_COMPONENT;
use crate::engine::profile::Profile;
use crate::error::format;
use crate::link::entry_points::START;
use crate::link::preview1::{self, PREVIEW0, PREVIEW1};
use crate::load::component_kind::{self, WASI_0_3};
use crate::load::wasm_summary::WasmSummary;
use crate::memory::limiter::ELEMENT_BYTES;
use crate::plugin::kind::PluginKind;
use crate::plugin::name_list::NameList;

/// What is accepted, for error messages.
const WHAT_FITS: &str = "a plugin is a component that exports wasmill:task/job@0.2.0 or \
     wasmill:task/resumable-job@0.2.0, a component with a main function (wasi:cli/run@0.2), or a core module for \
     WASI preview 1 with `_start`";
/// The maximum size of code and data of a pooled guest. Larger ones are interpreters and the like, whose images are
/// expensive to copy and which recurse deeply.
const SMALL_PROGRAM_BYTES_MAX: u64 = 1 << 20;
/// Core instances per instance of a component. Components with linked libraries have dozens.
const CORE_INSTANCES_MAX: u64 = 1_000;
/// Definitions per instance of a component; each costs the compiler about 200 bytes.
const DEFINITIONS_MAX: u64 = 200_000;
/// The result of an inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    pub(crate) kind: PluginKind,
    pub(crate) profile: Profile,
    /// The names of its imports: `wasi:io/poll@0.2.6`, or `module.name` for a core module.
    pub(crate) imports: NameList,
    /// The names of its exports.
    pub(crate) exports: NameList,
    /// Initial bytes of its memories.
    pub(crate) memory_bytes: u64,
    /// Initial bytes of its tables.
    pub(crate) table_bytes: u64,
}

impl Inspection {
    /// Checks that the plugin can start within its memory limit.
    ///
    /// # Errors
    ///
    /// Names both sizes.
    pub(crate) fn check_memory(&self, limits: &Limits) -> Result<(), String> {
        let start_bytes = self.memory_bytes.saturating_add(self.table_bytes);
        if start_bytes <= limits.memory_bytes {
            return Ok(());
        }
        let what = if self.table_bytes == 0 { "memory is" } else { "memory and tables are" };
        let [start, limit] = [start_bytes, limits.memory_bytes].map(format::bytes);
        Err(format!("its {what} {start} before it does anything; its limit `memory` is {limit}"))
    }
}

/// Inspects the bytes of a plugin of any kind.
///
/// # Errors
///
/// Says what was found and what is accepted.
pub(crate) fn inspect(engines: &Engines, bytes: &[u8]) -> Result<Inspection, String> {
    check_format(bytes)?;
    let (needed, types) = validate(engines, bytes)?;
    let summary = WasmSummary::of(bytes).map_err(|error| damaged(&error))?;
    let kind = check_parts(&summary).and_then(|()| {
        if summary.is_component { component_kind::find(&summary, &types) } else { module_kind(&summary) }
    });
    let kind =
        kind.map_err(|found| format!("{}; {WHAT_FITS}", format::truncate(found, format::MESSAGE_BYTES_MAX)))?;
    let profile = if fits_pools(engines, &summary) { needed } else { Profile::OnDemand };
    let WasmSummary { imports, exports, memory_bytes, table_elements_total, .. } = summary;
    let table_bytes = table_elements_total.saturating_mul(ELEMENT_BYTES as u64);
    let (imports, exports) = (NameList::of(imports), NameList::of(exports));
    Ok(Inspection { kind, profile, imports, exports, memory_bytes, table_bytes })
}

/// Checks the magic number and version of WebAssembly.
fn check_format(bytes: &[u8]) -> Result<(), String> {
    let found = match bytes {
        [] => "the file is empty".to_owned(),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] | [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => {
            return Ok(());
        }
        [b'\0', b'a', b's', b'm', ..] => {
            "the file is truncated or has an unknown version of WebAssembly".to_owned()
        }
        [0x7f, b'E', b'L', b'F', ..] => {
            "this is native code; precompiled plugins are never loaded, because they cannot be verified"
                .to_owned()
        }
        [b'(', ..] => "this is WebAssembly text; convert it to binary with `wasm-tools parse`".to_owned(),
        _ => {
            let first = format::hex(&bytes[..bytes.len().min(4)]);
            format!("this is not WebAssembly: it begins with 0x{first}")
        }
    };
    Err(format!("{found}; {WHAT_FITS}"))
}

/// Validates with the features of the first engine that supports them all.
fn validate(engines: &Engines, bytes: &[u8]) -> Result<(Profile, Types), String> {
    let with = |profile: Profile| {
        let features = engines.get(profile).get_wasm_features();
        Validator::new_with_features(features).validate_all(bytes)
    };
    if let Ok(types) = with(Profile::Pooled) {
        return Ok((Profile::Pooled, types));
    }
    match with(Profile::OnDemand) {
        Ok(types) => Ok((Profile::OnDemand, types)),
        Err(error) => {
            let found = unsupported(&WasmSummary::of_prefix(bytes), &error);
            Err(found.map_or_else(|| damaged(&error), |found| format!("{found}; {WHAT_FITS}")))
        }
    }
}

fn damaged(error: &impl std::fmt::Display) -> String {
    format!("the file is damaged, truncated or uses an unsupported feature: {error}")
}

/// Names the feature that the file uses and that is not supported.
fn unsupported(summary: &WasmSummary, error: &BinaryReaderError) -> Option<String> {
    if summary.has_shared_memory {
        return Some(THREADS.to_owned());
    }
    if component_kind::is_wasi_0_3(summary) {
        return Some(WASI_0_3.to_owned());
    }
    let (missing, message) = (error.missing_wasm_feature().unwrap_or(WasmFeatures::empty()), error.message());
    let needs = |features: WasmFeatures| missing.intersects(features);
    let says = |part: &str| message.contains(part);
    let asynchronous = WasmFeatures::CM_ASYNC
        | WasmFeatures::CM_ASYNC_STACKFUL
        | WasmFeatures::CM_MORE_ASYNC_BUILTINS
        | WasmFeatures::CM_ERROR_CONTEXT
        | WasmFeatures::CM_THREADING;
    let found = if needs(asynchronous) || says("component model async") {
        "it uses async functions of the component model, which belong to WASI 0.3 and are not supported \
         yet: build it for WASI 0.2"
    } else if needs(WasmFeatures::LEGACY_EXCEPTIONS) || says("legacy") {
        "it uses legacy wasm exceptions, which only browsers support: build it with \
         `-mllvm -wasm-use-legacy-eh=false`, or rewrite the file with `wasm-opt --translate-to-exnref`"
    } else if needs(WasmFeatures::MEMORY64 | WasmFeatures::CM64) || says("memory64") || says("64-bit") {
        "it is built for wasm64, which is not supported: build it for wasm32"
    } else if needs(WasmFeatures::STACK_SWITCHING) || says("stack switching") {
        "it uses stack switching, which is not supported: build it without"
    } else if needs(WasmFeatures::WIDE_ARITHMETIC) || says("wide arithmetic") {
        "it uses wide arithmetic, which is not supported: build it without `-mwide-arithmetic`"
    } else if needs(WasmFeatures::CUSTOM_PAGE_SIZES) || says("custom page sizes") {
        "it uses custom page sizes, which are not supported: build it without"
    } else if needs(WasmFeatures::SHARED_EVERYTHING_THREADS) || says("shared-everything-threads") {
        THREADS
    } else if needs(WasmFeatures::GC | WasmFeatures::GC_TYPES) || says("gc") {
        "it uses Wasm GC (as programs in Kotlin, Dart, Java or OCaml do), which is not supported: build it \
         with a compiler that includes its own garbage collector"
    } else {
        return None;
    };
    Some(found.to_owned())
}

const THREADS: &str = "it uses threads, which are not supported: build it without them";

/// Rejects shared memory, and components that would be too expensive to compile and instantiate.
fn check_parts(summary: &WasmSummary) -> Result<(), String> {
    // Atomic instructions alone are accepted: compilers emit them for programs that never start a thread.
    if summary.has_shared_memory {
        return Err(THREADS.to_owned());
    }
    let parts = summary.parts;
    let too_many = |what: &str, max: u64| {
        Err(format!(
            "the component is too large: counting everything it instantiates, it has more than {max} {what}"
        ))
    };
    if parts.core_instances > CORE_INSTANCES_MAX {
        too_many("instances of core modules", CORE_INSTANCES_MAX)
    } else if parts.definitions > DEFINITIONS_MAX {
        too_many("definitions", DEFINITIONS_MAX)
    } else {
        Ok(())
    }
}

fn module_kind(summary: &WasmSummary) -> Result<PluginKind, String> {
    check_imports(summary)?;
    let exports = |name: &str| summary.exports.iter().any(|export| export == name);
    if summary.is_shared_library {
        Err("it is a shared library: link it statically".to_owned())
    } else if exports(START) && (summary.exports_memory || summary.imports.is_empty()) {
        Ok(PluginKind::Module)
    } else if exports(START) {
        Err("the module does not export its memory, which WASI requires".to_owned())
    } else if exports("_initialize") {
        let functions =
            format::names(summary.exports.iter().filter(|name| *name != "_initialize" && *name != "memory"));
        Err(format!(
            "the module is a library (a reactor) without a main function, which exports {functions}: build \
             it as a command with a main function"
        ))
    } else if summary.exports.is_empty() {
        Err("the core module exports nothing, not even `_start`".to_owned())
    } else {
        let names = format::names(&summary.exports);
        Err(format!("the core module is a library without `_start`: it exports {names}"))
    }
}

/// Names the unknown functions of preview 1 and 0 that a core module imports.
fn check_functions(summary: &WasmSummary) -> Result<(), String> {
    let unknown = |module: &str, number: u32| {
        let functions =
            summary.imports.iter().filter_map(|name| name.strip_prefix(module)?.strip_prefix('.'));
        let mut missing = functions.filter(|name| !preview1::has_function(module, name)).peekable();
        if missing.peek().is_none() {
            return Ok(());
        }
        let missing = format::names(missing);
        Err(format!("it imports {missing}, which WASI preview {number} does not provide here"))
    };
    unknown(PREVIEW1, 1).and_then(|()| unknown(PREVIEW0, 0))
}

/// Names the target that a core module was built for, if it imports anything but preview 1 or 0.
fn check_imports(summary: &WasmSummary) -> Result<(), String> {
    let is_wasi =
        |name: &str| name.split_once('.').is_some_and(|(module, _)| matches!(module, PREVIEW1 | PREVIEW0));
    let Some(foreign) = summary.imports.iter().find(|name| !is_wasi(name)) else {
        return check_functions(summary);
    };
    let imports = |part: &str| summary.imports.iter().any(|name| name.contains(part));
    Err(if imports("wasi.thread-spawn") {
        THREADS.to_owned()
    } else if imports("gojs.") || imports("go.runtime.") {
        "it is Go for JavaScript: build it with GOOS=wasip1".to_owned()
    } else if imports("__wbindgen") || imports("wbg.") {
        "it is Rust for JavaScript (wasm-bindgen): build it for wasm32-wasip2".to_owned()
    } else if imports("emscripten") || imports("env.invoke_") || imports("env.__syscall") {
        "it is built by Emscripten for JavaScript: build it with wasi-sdk".to_owned()
    } else if summary.imports.iter().any(|name| name.starts_with("wasi:") || name.contains("cm32p2")) {
        "it is an unfinished component: run `wasm-tools component new`".to_owned()
    } else if is_minified(summary) {
        format!(
            "the core module imports {}, which is not provided; such short names are minified by Emscripten \
             for JavaScript: build it with wasi-sdk",
            format::names(&summary.imports)
        )
    } else {
        let foreign = format::truncate(foreign.clone(), format::NAMES_BYTES_MAX);
        format!("the core module imports {foreign}, which is not provided")
    })
}

/// Returns true if all import names are minified, such as `a.b`.
fn is_minified(summary: &WasmSummary) -> bool {
    let is_short =
        |name: &String| name.split_once('.').is_some_and(|(from, what)| from.len() == 1 && what.len() <= 2);
    summary.imports.iter().all(is_short)
}

/// Returns true if a guest fits into the pools.
fn fits_pools(engines: &Engines, summary: &WasmSummary) -> bool {
    summary.program_bytes <= SMALL_PROGRAM_BYTES_MAX
        && summary.memory_bytes <= engines.pooled_memory_bytes_max()
        && summary.table_elements <= TABLE_ELEMENTS as u64
        && summary.memories <= MEMORIES_PER_INSTANCE
        && summary.tables <= TABLES_PER_INSTANCE
        && summary.modules <= CORE_INSTANCES_PER_COMPONENT
        // A module instantiated twice has its memories and tables twice.
        && summary.parts.core_instances <= u64::from(summary.modules)
}
