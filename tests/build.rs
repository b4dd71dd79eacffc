//! Builds the guests that the tests and benchmarks run, and the examples that need nothing but Rust.

fn main() {
    let guests = ["misbehave", "noop", "hello", "program", "flood", "secretive", "typed"]
        .map(|guest| ("guests", guest));
    let examples = ["approval", "fetch", "words", "io-stub-suspended", "map-reduce", "saga"]
        .map(|example| ("../plugins", example));
    for (folder, name) in guests.into_iter().chain(examples) {
        let component = wasmill_guest_build::build(&format!("{folder}/{name}"));
        println!("cargo::rustc-env=GUEST_{}={}", name.to_uppercase().replace('-', "_"), component.display());
    }
}
