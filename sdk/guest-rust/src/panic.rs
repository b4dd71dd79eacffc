//! The end of a plugin without the standard library that panics.

use core::panic::PanicInfo;

/// Traps, which fails the attempt. The message is not logged: its formatting would be half of a small plugin.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

// Copies and comparisons of memory come from libc, which the standard library would link.
#[link(name = "c")]
unsafe extern "C" {}
