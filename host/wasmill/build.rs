//! Builds the default plugin, which is part of the binary.

use std::path::Path;

fn main() {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/io-stub");
    let component = wasmill_guest_build::build(&plugin);
    println!("cargo::rustc-env=WASMILL_IO_STUB={}", component.display());
}
