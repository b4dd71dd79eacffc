//! Finds out what kind of plugin a component is, from the versioned names that it exports, and checks its imports.
//!
//! Called by `inspect`.

use wasmtime::wasmparser::component_types::ComponentEntityType;
use wasmtime::wasmparser::types::Types;

use crate::error::format;
use crate::link::entry_points::{JOB, MAIN, RESUMABLE_JOB};
use crate::link::proposals::{CONFIG, LOGGING};
use crate::load::wasm_summary::WasmSummary;
use crate::plugin::kind::PluginKind;

/// The package of the contract, and the version of it that this host has.
const CONTRACT: &str = "wasmill:task/";
const CONTRACT_VERSION: &str = "@0.2.";
/// The functions that version 0.1 of the contract exported.
const CONTRACT_0_1: [&str; 2] = ["run-task", "resume"];
/// What to do with a plugin for another version of the contract.
const REBUILD: &str = "rebuild it for wasmill:task@0.2.0, whose wit/task.wit `wasmill plugin new` writes";
/// The packages and interfaces that components may import functions from.
const PACKAGES: [&str; 10] = [
    "wasi:cli/",
    "wasi:clocks/",
    CONFIG,
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    LOGGING,
    "wasi:random/",
    "wasi:sockets/",
    CONTRACT,
];

pub(crate) const WASI_0_3: &str =
    "it is built for WASI 0.3, which is not supported yet: build it for WASI 0.2";

/// Returns the kind of a component.
///
/// # Errors
///
/// Says what was found instead, or which import is not provided.
pub(crate) fn find(summary: &WasmSummary, types: &Types) -> Result<PluginKind, String> {
    let kind = kind_by_exports(summary)?;
    if is_wasi_0_3(summary) {
        return Err(WASI_0_3.to_owned());
    }
    check_imports(summary, types).map(|()| kind)
}

pub(crate) fn is_wasi_0_3(summary: &WasmSummary) -> bool {
    let names = summary.imports.iter().chain(&summary.exports);
    names.into_iter().any(|name| name.starts_with("wasi:") && name.contains("@0.3."))
}

/// Finds the entry point by its versioned name, whatever else the component exports.
fn kind_by_exports(summary: &WasmSummary) -> Result<PluginKind, String> {
    let exports = |interface| summary.exports.iter().any(|name| is_compatible(name, interface));
    let foreign = summary.exports.iter().find(|name| name.starts_with(CONTRACT));
    match (exports(JOB), exports(RESUMABLE_JOB)) {
        (true, false) => Ok(PluginKind::Task),
        (false, true) => Ok(PluginKind::Suspendable),
        (true, true) => {
            Err(format!("it exports both {JOB} and {RESUMABLE_JOB}: export the one that runs its tasks"))
        }
        (false, false) if let Some(foreign) = foreign => Err(unknown_contract("exports", foreign)),
        (false, false) if exports(MAIN) => Ok(PluginKind::Command),
        (false, false) => Err(no_entry_point(summary)),
    }
}

/// Returns true if a name is this interface in the same minor version; any patch of that is compatible.
fn is_compatible(name: &str, interface: &str) -> bool {
    name.starts_with(interface.trim_end_matches('0'))
}

fn unknown_contract(verb: &str, name: &str) -> String {
    let name = format::truncate(name.to_owned(), format::NAMES_BYTES_MAX);
    format!("it {verb} {name}, which this host does not know: {REBUILD}")
}

/// Names what a component exports instead of an entry point.
fn no_entry_point(summary: &WasmSummary) -> String {
    let exports = |prefix: &str| summary.exports.iter().any(|name| name.starts_with(prefix));
    let first = CONTRACT_0_1.into_iter().find(|function| summary.exports.iter().any(|name| name == function));
    if is_wasi_0_3(summary) {
        WASI_0_3.to_owned()
    } else if exports("wasi:http/incoming-handler@") {
        "it is an HTTP server (world wasi:http/proxy), which cannot run as a task".to_owned()
    } else if let Some(function) = first {
        format!("it exports the function `{function}`, as plugins of wasmill:task@0.1 did: {REBUILD}")
    } else if summary.exports.is_empty() {
        "the component exports nothing, so it is a library or empty".to_owned()
    } else {
        let names = format::names(&summary.exports);
        format!("the component has no entry point: it exports {names}")
    }
}

/// Names an imported function that is not provided. Interfaces that contain only types need nothing.
fn check_imports(summary: &WasmSummary, types: &Types) -> Result<(), String> {
    let types = types.as_ref();
    let is_on_offer = |name: &str| match name.strip_prefix(CONTRACT) {
        Some(interface) => interface.contains(CONTRACT_VERSION),
        None => PACKAGES.iter().any(|package| name.starts_with(package)),
    };
    let missing = summary.imports.iter().filter(|name| !is_on_offer(name)).find_map(|name| {
        match types.component_item_for_import(name)?.ty {
            ComponentEntityType::Type { .. } => None,
            ComponentEntityType::Instance(instance) => {
                let mut exports = types[instance].exports.iter();
                let asks = |item: &ComponentEntityType| !matches!(item, ComponentEntityType::Type { .. });
                let (function, _) = exports.find(|(_, item)| asks(&item.ty))?;
                Some((name, format!("`{function}` of {name}")))
            }
            _ => Some((name, format!("`{name}`"))),
        }
    });
    let Some((name, missing)) = missing else { return Ok(()) };
    if name.starts_with(CONTRACT) {
        return Err(unknown_contract("imports", name));
    }
    let missing = format::truncate(missing, format::NAMES_BYTES_MAX);
    let on_offer = PACKAGES.map(|package| package.trim_end_matches('/')).join(", ");
    Err(format!("it imports {missing}, which is not provided; supported packages: {on_offer}"))
}
