//! Builds the guests that the tests and benchmarks run.

fn main() {
    for guest in ["misbehave", "noop"] {
        let component = wasmill_guest_build::build(&format!("guests/{guest}"));
        println!("cargo::rustc-env=GUEST_{}={}", guest.to_uppercase(), component.display());
    }
}
