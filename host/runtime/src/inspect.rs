//! Looks at the bytes of a plugin before anything is compiled, and says in words why they do not fit.
//!
//! Called by the loader. Validation costs milliseconds; compiling what would be refused anyway can
//! cost minutes.

use wasmtime::Engine;
use wasmtime::wasmparser::{Encoding, Parser, Payload, Validator};

/// The export that makes a component a plugin.
const ENTRY: &str = "run-task";
const WORLD: &str = "the world wasmill:task/plugin";

/// Accepts the bytes of a component that exports `run-task`.
///
/// # Errors
///
/// Says what was found and what would fit.
pub(crate) fn inspect(engine: &Engine, bytes: &[u8]) -> Result<(), String> {
    check_kind(bytes)?;
    // Exceptions and the like need more of wasmtime than this host switches on.
    Validator::new_with_features(engine.get_wasm_features()).validate_all(bytes).map_err(|error| {
        format!("the component is damaged, cut short or uses a feature that is not on offer: {error}")
    })?;
    check_exports(&exports(bytes)?)
}

fn check_kind(bytes: &[u8]) -> Result<(), String> {
    let found = match bytes {
        [] => "the file is empty".to_owned(),
        [b'\0', b'a', b's', b'm', version @ ..] => return check_encoding(version),
        [0x7f, b'E', b'L', b'F', ..] => {
            "this is native code; precompiled plugins are never loaded, because nothing vouches for them"
                .to_owned()
        }
        [b'(', ..] => "this is WebAssembly text; `wasm-tools parse` makes it binary".to_owned(),
        _ => format!("this is not WebAssembly: it begins with {:02x?}", &bytes[..bytes.len().min(4)]),
    };
    Err(format!("{found}; a plugin is a component for {WORLD}"))
}

fn check_encoding(version: &[u8]) -> Result<(), String> {
    match version {
        [_, _, 1, 0, ..] => Ok(()),
        [1, 0, 0, 0, ..] => Err(format!(
            "this is a core module, and a plugin is a component for {WORLD}; \
             build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"
        )),
        _ => Err("the file is cut short or of an unknown version of WebAssembly".to_owned()),
    }
}

/// Returns the names that the outermost component exports.
fn exports(bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| error.to_string())? {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names.push(export.map_err(|error| error.to_string())?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn check_exports(names: &[String]) -> Result<(), String> {
    let exports = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
    if names.iter().any(|name| name == ENTRY) {
        return Ok(());
    }
    let found = if exports("wasi:cli/run@") {
        "it is a command, with a main function".to_owned()
    } else if exports("wasi:http/incoming-handler@") {
        "it handles HTTP requests".to_owned()
    } else if names.is_empty() {
        "it exports nothing".to_owned()
    } else {
        format!("it exports {}", crate::words::cut(names.join(", "), 256))
    };
    Err(format!("the component does not export `{ENTRY}`: {found}; build it for {WORLD}"))
}
