//! Builds the default plugin, which is part of the binary.

fn main() {
    let component = wasmill_guest_build::build("../../plugins/io-stub");
    println!("cargo::rustc-env=WASMILL_IO_STUB={}", component.display());
}
