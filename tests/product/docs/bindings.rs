//! The bindings of the guest crate are what `wit-bindgen` makes of the contract. `make docs` writes them.
//!
//! They are committed, since making them takes most of the time in which a small plugin is built.

use std::fs;

use wasmill_tests::repository;
use wit_bindgen_core::wit_parser::{PackageId, Resolve};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

/// The variable that makes the tests write the bindings.
const WRITE: &str = "WRITE_DOCS";

/// Where the WIT of the guest crate and its bindings are.
const GUEST_CRATE: &str = "sdk/guest-rust";

/// Interfaces of the first world that the others use as well.
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

/// Reads the WIT in this folder.
fn resolve(wit: &str) -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(repository().join(wit)).expect("WIT");
    (resolve, package)
}

/// Returns the bindings of a world.
fn bindings((mut resolve, package): (Resolve, PackageId), world: &str, options: Opts) -> String {
    let id = resolve.select_world(&[package], Some(world)).expect("a world");
    let mut files = Files::default();
    let options = Opts { format: true, runtime_path: Some("crate::rt".to_owned()), ..options };
    options.build().generate(&mut resolve, id, &mut files).expect("bindings");
    let (_, source) = files.iter().next().expect("a file");
    String::from_utf8(source.to_vec()).expect("UTF-8")
}

/// Compares the bindings with those of the guest crate, or writes them.
#[track_caller]
fn assert_committed(world: &str, made: &str) {
    let file = repository().join(format!("{GUEST_CRATE}/src/bindings/{}.rs", world.replace('-', "_")));
    if std::env::var_os(WRITE).is_some() {
        fs::write(&file, made).expect("written");
    } else {
        let committed = fs::read_to_string(&file).expect("bindings");
        assert!(committed == made, "{} differs from the WIT: run `make docs`", file.display());
    }
}

#[test]
fn the_bindings_of_the_guest_crate_are_those_of_the_contract() {
    let exports = || Opts { generate_unused_types: true, pub_export_macro: true, ..Opts::default() };
    assert_committed("plugin", &bindings(resolve("wit"), "plugin", exports()));
    let shared = SHARED.iter().map(|interface| {
        let module = format!("crate::bindings::plugin::wasmill::task::{interface}");
        (format!("wasmill:task/{interface}@0.2.0"), WithOption::Path(module))
    });
    let with_shared = Opts { with: shared.collect(), ..exports() };
    assert_committed("suspendable-plugin", &bindings(resolve("wit"), "suspendable-plugin", with_shared));
}

#[test]
fn the_bindings_of_wasi_are_those_of_the_part_that_the_guest_crate_names() {
    let (resolve, package) = resolve(&format!("{GUEST_CRATE}/wit"));
    let functions = resolve.interfaces.iter().flat_map(|(_, interface)| interface.functions.keys());
    let skip = functions.filter(|name| !CALLED.contains(&name.as_str())).cloned().collect();
    let options = Opts { generate_all: true, skip, ..Opts::default() };
    assert_committed("wasi", &bindings((resolve, package), "wasi", options));
}
