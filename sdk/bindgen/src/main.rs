//! Writes the bindings of the guest crate into a folder: `cargo run -- FOLDER`, in this folder.
//!
//! They are committed, since making them takes most of the time in which a small plugin is built. A test compares them
//! with what this makes, and `make docs` writes them.

use std::path::{Path, PathBuf};

use wit_bindgen_core::wit_parser::{PackageId, Resolve};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

/// Interfaces of the world `plugin` that the others use as well.
const SHARED: [&str; 2] = ["types", "host"];

/// The functions of WASI that the guest crate calls.
const CALLED: [&str; 6] = [
    "now",
    "subscribe-duration",
    "[method]pollable.block",
    "get-random-u64",
    "get-stdout",
    "[method]output-stream.blocking-write-and-flush",
];

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("a folder to write to"));
    let exports = || Opts { generate_unused_types: true, pub_export_macro: true, ..Opts::default() };
    write(&folder, resolve("../../wit"), "plugin", exports());

    let shared = SHARED.iter().map(|interface| {
        let module = format!("crate::bindings::plugin::wasmill::task::{interface}");
        (format!("wasmill:task/{interface}@0.2.0"), WithOption::Path(module))
    });
    let with_shared = Opts { with: shared.collect(), ..exports() };
    write(&folder, resolve("../../wit"), "suspendable-plugin", with_shared);

    let (resolve, package) = resolve("../guest-rust/wit");
    let functions = resolve.interfaces.iter().flat_map(|(_, interface)| interface.functions.keys());
    let skip = functions.filter(|name| !CALLED.contains(&name.as_str())).cloned().collect();
    let options = Opts { generate_all: true, skip, ..Opts::default() };
    write(&folder, (resolve, package), "wasi", options);
}

/// Reads the WIT in a folder, relative to this package.
fn resolve(wit: &str) -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(wit);
    let (package, _) = resolve.push_path(folder).expect("WIT");
    (resolve, package)
}

/// Writes the bindings of a world.
fn write(folder: &Path, (mut resolve, package): (Resolve, PackageId), world: &str, options: Opts) {
    let id = resolve.select_world(&[package], Some(world)).expect("a world");
    let mut files = Files::default();
    let options = Opts { format: true, runtime_path: Some("crate::rt".to_owned()), ..options };
    options.build().generate(&mut resolve, id, &mut files).expect("bindings");
    for (name, source) in files.iter() {
        std::fs::write(folder.join(name), source).expect("a writable folder");
    }
}
