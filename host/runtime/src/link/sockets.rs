//! `wasi:sockets` for components: wasmtime's TCP, to what the manifest names, counted and bounded.
//!
//! Linked by `wasi_overrides`. Guests connect, and do nothing else: to bind, to listen and UDP are refused, whatever the
//! manifest says. Names are looked up by `tcp`, not by wasmtime.

mod call;
mod names;
mod tcp;

use wasmtime::Result;
use wasmtime::component::Linker;

use crate::guest::state::Guest;

/// Replaces functions that were linked before.
pub(crate) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    names::add(linker)?;
    tcp::add(linker)
}
