//! The cheapest possible plugin: ignores its input and returns `ok`. For benchmarks and load tests.

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });
}

use bindings::exports::wasmill::task::job::{Failure, Guest};

struct Noop;

impl Guest for Noop {
    fn run(_input: String) -> Result<String, Failure> {
        Ok("ok".to_owned())
    }
}

bindings::export!(Noop with_types_in bindings);
