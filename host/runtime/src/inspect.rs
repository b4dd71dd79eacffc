//! Looks at the bytes of a plugin before anything is compiled, and says in words why they do not fit.
//!
//! Called by the loader. Validation costs milliseconds; compiling what would be refused anyway can
//! cost minutes.

use wasmill_model::Limits;
use wasmtime::wasmparser::Validator;

use crate::capacity::{MEMORIES_PER_INSTANCE, TABLE_ELEMENTS, TABLES_PER_INSTANCE};
use crate::code::MAIN;
use crate::engine::Engines;
use crate::instance::START;
use crate::kind::{PluginKind, Profile};
use crate::pool::CORE_INSTANCES_PER_COMPONENT;
use crate::survey::Survey;
use crate::words;

/// The export that makes a component a plugin of our world.
const ENTRY: &str = "run-task";
/// The export that makes it one that parks.
const PARKING_ENTRY: &str = "resume";
/// The module that preview 1 is imported from.
const PREVIEW1: &str = "wasi_snapshot_preview1.";
/// What a file could be.
const WHAT_FITS: &str = "a plugin is a component for the world wasmill:task/plugin or wasmill:task/parking-plugin, \
     a component with a main function (wasi:cli/run@0.2), or a core module for WASI preview 1 with `_start`";
/// Bytes of code and data up to which a guest is small. Above this are interpreters and the like,
/// whose images are dear to copy and which call themselves deeply.
const SMALL_PROGRAM_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a list of names that are shown.
const NAMES_BYTES_MAX: usize = 256;

/// What was found in the bytes of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    pub(crate) kind: PluginKind,
    pub(crate) profile: Profile,
    /// The names of what it imports: `wasi:io/poll@0.2.6`, or `module.name` for a core module.
    pub(crate) imports: Vec<String>,
    /// The names of what it exports.
    pub(crate) exports: Vec<String>,
    /// Bytes of its memories before it has done anything.
    pub(crate) memory_bytes: u64,
}

impl Inspection {
    /// Checks that the plugin can start within its limits.
    ///
    /// # Errors
    ///
    /// Says both sizes.
    pub(crate) fn check_memory(&self, limits: &Limits) -> Result<(), String> {
        if self.memory_bytes <= limits.memory_bytes {
            return Ok(());
        }
        let [start, limit] = [self.memory_bytes, limits.memory_bytes].map(words::bytes);
        Err(format!("its memory is {start} before it does anything; its limit `memory` is {limit}"))
    }
}

/// Accepts the bytes of a plugin of any kind.
///
/// # Errors
///
/// Says what was found and what would fit.
pub(crate) fn inspect(engines: &Engines, bytes: &[u8]) -> Result<Inspection, String> {
    check_format(bytes)?;
    let needed = validate(engines, bytes)?;
    let survey = Survey::of(bytes).map_err(|error| damaged(&error))?;
    let kind = if survey.is_component { component_kind(&survey) } else { module_kind(&survey) };
    let kind =
        kind.map_err(|found| format!("{}; {WHAT_FITS}", words::cut(found, words::MESSAGE_BYTES_MAX)))?;
    let profile = if fits_pools(engines, &survey) { needed } else { Profile::Roomy };
    let Survey { imports, exports, memory_bytes, .. } = survey;
    Ok(Inspection { kind, profile, imports, exports, memory_bytes })
}

/// Checks that this is binary WebAssembly of a version there is.
fn check_format(bytes: &[u8]) -> Result<(), String> {
    let found = match bytes {
        [] => "the file is empty".to_owned(),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] | [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => {
            return Ok(());
        }
        [b'\0', b'a', b's', b'm', ..] => {
            "the file is cut short or of an unknown version of WebAssembly".to_owned()
        }
        [0x7f, b'E', b'L', b'F', ..] => {
            "this is native code; precompiled plugins are never loaded, because nothing vouches for them"
                .to_owned()
        }
        [b'(', ..] => "this is WebAssembly text; `wasm-tools parse` makes it binary".to_owned(),
        _ => format!("this is not WebAssembly: it begins with {:02x?}", &bytes[..bytes.len().min(4)]),
    };
    Err(format!("{found}; {WHAT_FITS}"))
}

/// Validates with the features of the first engine that has them all.
fn validate(engines: &Engines, bytes: &[u8]) -> Result<Profile, String> {
    let with = |profile: Profile| {
        let features = engines.get(profile).get_wasm_features();
        Validator::new_with_features(features).validate_all(bytes)
    };
    if with(Profile::Pooled).is_ok() {
        return Ok(Profile::Pooled);
    }
    match with(Profile::Roomy) {
        Ok(_) => Ok(Profile::Roomy),
        Err(error) => {
            let found = unsupported(&Survey::of_as_much_as_possible(bytes), &error.to_string());
            Err(found.map_or_else(|| damaged(&error), |found| format!("{found}; {WHAT_FITS}")))
        }
    }
}

fn damaged(error: &impl std::fmt::Display) -> String {
    format!("the file is damaged, cut short or uses a feature that is not on offer: {error}")
}

/// Names what is valid elsewhere, if that is why a file was refused.
fn unsupported(survey: &Survey, error: &str) -> Option<String> {
    if survey.has_shared_memory {
        Some("it uses threads, which are not on offer: build it without them".to_owned())
    } else if is_wasi_0_3(survey) {
        Some(WASI_0_3.to_owned())
    } else if error.contains("legacy") {
        Some(
            "it uses wasm exceptions in their old form, which only browsers know: \
             build it with `-mllvm -wasm-use-legacy-eh=false`"
                .to_owned(),
        )
    } else if error.contains("memory64") || error.contains("64-bit") {
        Some("it is built for wasm64, whose memories are not on offer: build it for wasm32".to_owned())
    } else {
        None
    }
}

const WASI_0_3: &str = "it is built for WASI 0.3, which is not on offer yet: build it for WASI 0.2";

fn is_wasi_0_3(survey: &Survey) -> bool {
    let names = survey.imports.iter().chain(&survey.exports);
    names.into_iter().any(|name| name.starts_with("wasi:") && name.contains("@0.3."))
}

fn component_kind(survey: &Survey) -> Result<PluginKind, String> {
    let exports = |prefix: &str| survey.exports.iter().any(|name| name.starts_with(prefix));
    if survey.exports.iter().any(|name| name == ENTRY) {
        Ok(PluginKind::Task)
    } else if survey.exports.iter().any(|name| name == PARKING_ENTRY) {
        Ok(PluginKind::Parking)
    } else if exports(MAIN) {
        Ok(PluginKind::Command)
    } else if is_wasi_0_3(survey) {
        Err(WASI_0_3.to_owned())
    } else if exports("wasi:http/incoming-handler@") {
        Err("it answers HTTP requests (the world wasi:http/proxy), and nobody would ask it here".to_owned())
    } else if survey.exports.is_empty() {
        Err("the component exports nothing, so it is a library or empty".to_owned())
    } else {
        let names = words::cut(survey.exports.join(", "), NAMES_BYTES_MAX);
        Err(format!("the component has no function to start it by: it exports {names}"))
    }
}

fn module_kind(survey: &Survey) -> Result<PluginKind, String> {
    check_imports(survey)?;
    let exports = |name: &str| survey.exports.iter().any(|export| export == name);
    if survey.is_shared_library {
        Err("it is a shared library, a part of a program: link it statically".to_owned())
    } else if exports(START) && (survey.exports_memory || survey.imports.is_empty()) {
        Ok(PluginKind::Module)
    } else if exports(START) {
        Err("the module does not export its memory, without which WASI cannot reach it".to_owned())
    } else if exports("_initialize") {
        Err("the module is a library (a reactor) without a main function".to_owned())
    } else if survey.exports.is_empty() {
        Err("the core module exports nothing, not even `_start`".to_owned())
    } else {
        let names = words::cut(survey.exports.join(", "), NAMES_BYTES_MAX);
        Err(format!("the core module is a library without `_start`: it exports {names}"))
    }
}

/// Says what a core module was built for if it imports anything but preview 1.
fn check_imports(survey: &Survey) -> Result<(), String> {
    let Some(foreign) = survey.imports.iter().find(|name| !name.starts_with(PREVIEW1)) else {
        return Ok(());
    };
    let imports = |part: &str| survey.imports.iter().any(|name| name.contains(part));
    Err(if imports("wasi.thread-spawn") || survey.has_shared_memory {
        "it uses threads, which are not on offer: build it without them".to_owned()
    } else if imports("wasi_unstable.") {
        "it is built for WASI preview 0, of before 2020: build it with a newer compiler".to_owned()
    } else if imports("gojs.") || imports("go.runtime.") {
        "it is Go for JavaScript: build it with GOOS=wasip1".to_owned()
    } else if imports("__wbindgen") || imports("wbg.") {
        "it is Rust for JavaScript (wasm-bindgen): build it for wasm32-wasip2".to_owned()
    } else if imports("emscripten") || imports("env.invoke_") || imports("env.__syscall") {
        "it is built by Emscripten for JavaScript: build it with wasi-sdk".to_owned()
    } else if survey.imports.iter().any(|name| name.starts_with("wasi:") || name.contains("cm32p2")) {
        "it is a component that was not finished: `wasm-tools component new` does that".to_owned()
    } else {
        let foreign = words::cut(foreign.clone(), NAMES_BYTES_MAX);
        format!("the core module imports {foreign}, which nothing here provides")
    })
}

/// Says whether a guest is small enough for the pools.
fn fits_pools(engines: &Engines, survey: &Survey) -> bool {
    survey.program_bytes <= SMALL_PROGRAM_BYTES_MAX
        && survey.memory_bytes <= engines.pooled_memory_bytes_max()
        && survey.table_elements <= TABLE_ELEMENTS as u64
        && survey.memories <= MEMORIES_PER_INSTANCE
        && survey.tables <= TABLES_PER_INSTANCE
        && survey.modules <= CORE_INSTANCES_PER_COMPONENT
        // What is instantiated twice has its memories and tables twice.
        && survey.instances <= survey.modules
}
