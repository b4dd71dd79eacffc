//! Skips tests that need programs which are not installed.
//!
//! The tests of `store-postgres` include this file: they do not build the product.

use std::fs::File;
use std::io::Write;

/// Says why a test is skipped: on stderr, past the capture of the test, and in the file that `make test` shows at its
/// end, since nextest hides what a test prints that passes.
///
/// # Panics
///
/// If `WASMILL_TEST_REQUIRE=all` asks for every test.
pub fn skip(reason: &str) {
    assert!(std::env::var("WASMILL_TEST_REQUIRE").as_deref() != Ok("all"), "{reason}");
    let line = format!("skipped: {reason}\n");
    // Not `eprintln!`, which the test harness captures.
    std::io::stderr().write_all(line.as_bytes()).expect("stderr takes it");
    if let Some(file) = std::env::var_os("WASMILL_TEST_SKIPPED") {
        let file = File::options().create(true).append(true).open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of skipped tests");
    }
}
