//! Looks at the bytes of a plugin before anything is compiled, and says in words why they do not fit.
//!
//! Called by the loader. Validation costs milliseconds; compiling what would be refused anyway can
//! cost minutes.

use wasmill_model::Limits;
use wasmtime::wasmparser::component_types::ComponentEntityType;
use wasmtime::wasmparser::types::Types;
use wasmtime::wasmparser::{BinaryReaderError, Validator, WasmFeatures};

use crate::capacity::{MEMORIES_PER_INSTANCE, TABLE_ELEMENTS, TABLES_PER_INSTANCE};
use crate::code::MAIN;
use crate::engine::Engines;
use crate::instance::START;
use crate::kind::{PluginKind, Profile};
use crate::limiter::ELEMENT_BYTES;
use crate::names::Names;
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
/// Core instances that one instance of a component may be made of. Those with linked libraries have dozens.
const CORE_INSTANCES_MAX: u64 = 1_000;
/// Definitions that one instance of a component may be made of, which cost the compiler some 200 bytes each.
const DEFINITIONS_MAX: u64 = 200_000;
/// The packages of interfaces that components may import functions from.
const PACKAGES: [&str; 8] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
    "wasmill:task/",
];
/// The functions of preview 1.
const PREVIEW1_FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// What was found in the bytes of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    pub(crate) kind: PluginKind,
    pub(crate) profile: Profile,
    /// The names of what it imports: `wasi:io/poll@0.2.6`, or `module.name` for a core module.
    pub(crate) imports: Names,
    /// The names of what it exports.
    pub(crate) exports: Names,
    /// Bytes of its memories before it has done anything.
    pub(crate) memory_bytes: u64,
    /// Bytes of its tables, likewise.
    pub(crate) table_bytes: u64,
}

impl Inspection {
    /// Checks that the plugin can start within its limits.
    ///
    /// # Errors
    ///
    /// Says both sizes.
    pub(crate) fn check_memory(&self, limits: &Limits) -> Result<(), String> {
        let start_bytes = self.memory_bytes.saturating_add(self.table_bytes);
        if start_bytes <= limits.memory_bytes {
            return Ok(());
        }
        let what = if self.table_bytes == 0 { "memory is" } else { "memory and tables are" };
        let [start, limit] = [start_bytes, limits.memory_bytes].map(words::bytes);
        Err(format!("its {what} {start} before it does anything; its limit `memory` is {limit}"))
    }
}

/// Accepts the bytes of a plugin of any kind.
///
/// # Errors
///
/// Says what was found and what would fit.
pub(crate) fn inspect(engines: &Engines, bytes: &[u8]) -> Result<Inspection, String> {
    check_format(bytes)?;
    let (needed, types) = validate(engines, bytes)?;
    let survey = Survey::of(bytes).map_err(|error| damaged(&error))?;
    let kind = check_parts(&survey).and_then(|()| {
        if survey.is_component { component_kind(&survey, &types) } else { module_kind(&survey) }
    });
    let kind =
        kind.map_err(|found| format!("{}; {WHAT_FITS}", words::cut(found, words::MESSAGE_BYTES_MAX)))?;
    let profile = if fits_pools(engines, &survey) { needed } else { Profile::Roomy };
    let Survey { imports, exports, memory_bytes, table_elements_total, .. } = survey;
    let table_bytes = table_elements_total.saturating_mul(ELEMENT_BYTES as u64);
    let (imports, exports) = (Names::of(imports), Names::of(exports));
    Ok(Inspection { kind, profile, imports, exports, memory_bytes, table_bytes })
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
        _ => {
            format!("this is not WebAssembly: it begins with 0x{}", words::hex(&bytes[..bytes.len().min(4)]))
        }
    };
    Err(format!("{found}; {WHAT_FITS}"))
}

/// Validates with the features of the first engine that has them all.
fn validate(engines: &Engines, bytes: &[u8]) -> Result<(Profile, Types), String> {
    let with = |profile: Profile| {
        let features = engines.get(profile).get_wasm_features();
        Validator::new_with_features(features).validate_all(bytes)
    };
    if let Ok(types) = with(Profile::Pooled) {
        return Ok((Profile::Pooled, types));
    }
    match with(Profile::Roomy) {
        Ok(types) => Ok((Profile::Roomy, types)),
        Err(error) => {
            let found = unsupported(&Survey::of_as_much_as_possible(bytes), &error);
            Err(found.map_or_else(|| damaged(&error), |found| format!("{found}; {WHAT_FITS}")))
        }
    }
}

fn damaged(error: &impl std::fmt::Display) -> String {
    format!("the file is damaged, cut short or uses a feature that is not on offer: {error}")
}

/// Names what is valid elsewhere, if that is why a file was refused.
fn unsupported(survey: &Survey, error: &BinaryReaderError) -> Option<String> {
    if survey.has_shared_memory {
        return Some(THREADS.to_owned());
    }
    if is_wasi_0_3(survey) {
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
        "it uses async functions of the component model, which come with WASI 0.3 and are not on offer yet: build \
         it for WASI 0.2"
    } else if needs(WasmFeatures::LEGACY_EXCEPTIONS) || says("legacy") {
        "it uses wasm exceptions in their old form, which only browsers know: build it with \
         `-mllvm -wasm-use-legacy-eh=false`, or rewrite the file with `wasm-opt --translate-to-exnref`"
    } else if needs(WasmFeatures::MEMORY64 | WasmFeatures::CM64) || says("memory64") || says("64-bit") {
        "it is built for wasm64, whose memories are not on offer: build it for wasm32"
    } else if needs(WasmFeatures::STACK_SWITCHING) || says("stack switching") {
        "it uses stack switching, a proposal that is not on offer: build it without"
    } else if needs(WasmFeatures::WIDE_ARITHMETIC) || says("wide arithmetic") {
        "it uses wide arithmetic, a proposal that is not on offer: build it without `-mwide-arithmetic`"
    } else if needs(WasmFeatures::CUSTOM_PAGE_SIZES) || says("custom page sizes") {
        "it uses custom page sizes, a proposal that is not on offer: build it without"
    } else if needs(WasmFeatures::SHARED_EVERYTHING_THREADS) || says("shared-everything-threads") {
        THREADS
    } else if needs(WasmFeatures::GC | WasmFeatures::GC_TYPES) || says("gc") {
        "it uses Wasm GC (as programs in Kotlin, Dart, Java or OCaml do), which is not on offer: build it with \
         a compiler that brings its own garbage collector"
    } else {
        return None;
    };
    Some(found.to_owned())
}

const THREADS: &str = "it uses threads, which are not on offer: build it without them";
const WASI_0_3: &str = "it is built for WASI 0.3, which is not on offer yet: build it for WASI 0.2";

fn is_wasi_0_3(survey: &Survey) -> bool {
    let names = survey.imports.iter().chain(&survey.exports);
    names.into_iter().any(|name| name.starts_with("wasi:") && name.contains("@0.3."))
}

/// Refuses what shares memory between threads, and a component that would take too much to make: to compile
/// it, and to make each instance of it.
fn check_parts(survey: &Survey) -> Result<(), String> {
    // Atomic instructions alone are fine: compilers emit them for programs that never start a thread.
    if survey.has_shared_memory {
        return Err(THREADS.to_owned());
    }
    let parts = survey.parts;
    let too_many = |what: &str, most: u64| {
        Err(format!(
            "the component is too large once all that it instantiates is counted as often as it is: it is made \
             of over {most} {what}"
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

/// Says which functions nothing here provides. Interfaces with types alone ask for nothing.
fn check_component_imports(survey: &Survey, types: &Types) -> Result<(), String> {
    let types = types.as_ref();
    let is_on_offer = |name: &str| PACKAGES.iter().any(|package| name.starts_with(package));
    let missing = survey.imports.iter().filter(|name| !is_on_offer(name)).find_map(|name| {
        match types.component_item_for_import(name)?.ty {
            ComponentEntityType::Type { .. } => None,
            ComponentEntityType::Instance(instance) => {
                let mut exports = types[instance].exports.iter();
                let asks = |item: &ComponentEntityType| !matches!(item, ComponentEntityType::Type { .. });
                let (function, _) = exports.find(|(_, item)| asks(&item.ty))?;
                Some(format!("`{function}` of {name}"))
            }
            _ => Some(format!("`{name}`")),
        }
    });
    let Some(missing) = missing else { return Ok(()) };
    let missing = words::cut(missing, NAMES_BYTES_MAX);
    let on_offer = PACKAGES.map(|package| package.trim_end_matches('/')).join(", ");
    Err(format!("it imports {missing}, which nothing here provides; on offer are {on_offer}"))
}

fn component_kind(survey: &Survey, types: &Types) -> Result<PluginKind, String> {
    let kind = component_kind_by_exports(survey)?;
    if is_wasi_0_3(survey) {
        return Err(WASI_0_3.to_owned());
    }
    check_component_imports(survey, types).map(|()| kind)
}

fn component_kind_by_exports(survey: &Survey) -> Result<PluginKind, String> {
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
        let names = listed(&survey.exports);
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
        let functions =
            listed(survey.exports.iter().filter(|name| *name != "_initialize" && *name != "memory"));
        Err(format!(
            "the module is a library (a reactor) without a main function, which exports {functions}: build it as \
             a command, whose main function calls what is wanted"
        ))
    } else if survey.exports.is_empty() {
        Err("the core module exports nothing, not even `_start`".to_owned())
    } else {
        let names = listed(&survey.exports);
        Err(format!("the core module is a library without `_start`: it exports {names}"))
    }
}

/// Writes names, as many as can be shown, and how many more there are.
fn listed(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let (mut text, mut left_out) = (String::new(), 0_u64);
    for name in names {
        let name = name.as_ref();
        if left_out > 0 || text.len() + name.len() > NAMES_BYTES_MAX {
            left_out += 1;
            continue;
        }
        text.push_str(if text.is_empty() { "" } else { ", " });
        text.push_str(name);
    }
    match (text.is_empty(), left_out) {
        (true, 0) => "nothing".to_owned(),
        (true, left_out) => format!("{left_out} names that are too long to show"),
        (false, 0) => text,
        (false, left_out) => format!("{text} and {left_out} more"),
    }
}

/// Says which functions of preview 1 a core module imports that there are none of.
fn check_functions(survey: &Survey) -> Result<(), String> {
    let functions = survey.imports.iter().filter_map(|name| name.strip_prefix(PREVIEW1));
    let mut missing = functions.filter(|name| !PREVIEW1_FUNCTIONS.contains(name)).peekable();
    if missing.peek().is_none() {
        return Ok(());
    }
    Err(format!("it imports {}, which WASI preview 1 does not have here", listed(missing)))
}

/// Says what a core module was built for if it imports anything but preview 1.
fn check_imports(survey: &Survey) -> Result<(), String> {
    let Some(foreign) = survey.imports.iter().find(|name| !name.starts_with(PREVIEW1)) else {
        return check_functions(survey);
    };
    let imports = |part: &str| survey.imports.iter().any(|name| name.contains(part));
    Err(if imports("wasi.thread-spawn") {
        THREADS.to_owned()
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
    } else if is_minified(survey) {
        format!(
            "the core module imports {}, which nothing here provides; names as short as these are those of \
             Emscripten for JavaScript, minified: build it with wasi-sdk",
            listed(&survey.imports)
        )
    } else {
        let foreign = words::cut(foreign.clone(), NAMES_BYTES_MAX);
        format!("the core module imports {foreign}, which nothing here provides")
    })
}

/// Says whether the names of all imports are as short as minifying makes them: `a.b`.
fn is_minified(survey: &Survey) -> bool {
    let is_short =
        |name: &String| name.split_once('.').is_some_and(|(from, what)| from.len() == 1 && what.len() <= 2);
    survey.imports.iter().all(is_short)
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
        && survey.parts.core_instances <= u64::from(survey.modules)
}
