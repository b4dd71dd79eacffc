//! The bindings of the guest crate are what `sdk/bindgen` makes of the contract. `make docs` writes them.

use std::fs;
use std::process::Command;

use wasmill_tests::{binary, builds_plugins, repository};

/// The variable that makes the tests write the bindings.
const WRITE: &str = "WRITE_DOCS";

#[test]
fn the_bindings_of_the_guest_crate_are_those_of_the_contract() {
    let committed = repository().join("sdk/guest-rust/src/bindings");
    let made = tempfile::tempdir().expect("a folder");
    let mut bindgen = Command::new("cargo");
    builds_plugins(&mut bindgen);
    bindgen.args(["run", "--quiet", "--locked", "--target-dir"]);
    bindgen.arg(binary().expect("a binary").with_file_name("tests-cache").join("bindgen"));
    bindgen.arg("--").arg(made.path()).current_dir(repository().join("sdk/bindgen"));
    let output = bindgen.output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for world in ["plugin.rs", "suspendable_plugin.rs", "wasi.rs"] {
        let bindings = fs::read_to_string(made.path().join(world)).expect("bindings");
        let file = committed.join(world);
        if std::env::var_os(WRITE).is_some() {
            fs::write(&file, bindings).expect("written");
        } else {
            let shipped = fs::read_to_string(&file).expect("bindings");
            assert!(shipped == bindings, "{} differs from the WIT: run `make docs`", file.display());
        }
    }
}
