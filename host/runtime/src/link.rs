//! What guests are linked against: `wasmill:task`, WASI with the functions that this host replaces, and the linkers.

pub(crate) mod bindings;
pub(crate) mod entry_points;
pub(crate) mod file_components;
pub(crate) mod file_modules;
pub(crate) mod host_imports;
pub(crate) mod linked_plugin;
pub(crate) mod plugin;
pub(crate) mod preview1;
pub(crate) mod proposals;
pub(crate) mod sockets;
pub(crate) mod wasi_overrides;
