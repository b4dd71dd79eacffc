//! The contract and a part of WASI, in Rust. `make docs` writes the files in this folder, and a test compares them with
//! the WIT that they are made from.

#[rustfmt::skip]
pub mod plugin;
#[rustfmt::skip]
pub mod suspendable_plugin;
#[rustfmt::skip]
#[cfg(target_arch = "wasm32")]
pub mod wasi;
