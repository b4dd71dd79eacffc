//! Builds the guests that the tests and benchmarks run.

use std::path::Path;

fn main() {
    for guest in ["misbehave", "noop"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(guest);
        let component = wasmill_guest_build::build(&source);
        println!("cargo::rustc-env=GUEST_{}={}", guest.to_uppercase(), component.display());
    }
}
