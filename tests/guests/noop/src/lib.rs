//! The cheapest possible plugin: ignores its input and returns `ok`. For benchmarks and load tests.

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });
}

use bindings::wasmill::task::failures::Failure;

struct Noop;

impl bindings::Guest for Noop {
    fn run_task(_input: String) -> Result<String, Failure> {
        Ok("ok".to_owned())
    }
}

bindings::export!(Noop with_types_in bindings);
