//! Brings plugins into service: watches the folder, inspects and loads files, takes uploads.

pub(crate) mod bundle;
pub(crate) mod check;
mod component_kind;
pub(crate) mod config;
pub(crate) mod folder;
pub(crate) mod grants;
mod ignored_files;
pub(crate) mod inspect;
pub(crate) mod loader;
pub(crate) mod published;
pub(crate) mod registry;
pub(crate) mod trusted;
pub(crate) mod upload;
pub(crate) mod wasm_summary;
mod watch_loop;
mod watched_file;
pub(crate) mod watcher;
