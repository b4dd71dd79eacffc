//! The plugins that are part of the binary, and the checks of their input.

mod io_stub;

use wasmill_runtime::InputCheck;

/// The built-in plugins.
pub(crate) const BUILT_IN: [(&str, &[u8]); 1] = [("io-stub", include_bytes!(env!("WASMILL_IO_STUB")))];

/// Input checks of built-in plugins, by plugin name.
pub(crate) const INPUT_CHECKS: [(&str, InputCheck); 1] = [("io-stub", io_stub::check)];
