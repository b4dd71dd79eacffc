//! Builds the guests that the tests and benchmarks run, and the examples that need nothing but Rust.

fn main() {
    let folders =
        [("guests", "misbehave"), ("guests", "noop"), ("../plugins", "fetch"), ("../plugins", "words")];
    for (folder, guest) in folders {
        let component = wasmill_guest_build::build(&format!("{folder}/{guest}"));
        println!("cargo::rustc-env=GUEST_{}={}", guest.to_uppercase(), component.display());
    }
}
