//! Plugins: loaded, run and bounded.

mod bytes;
mod compiling;
mod folders;
mod guest_crate;
mod inputs;
mod late_failures;
mod limits;
mod logs;
mod manifests;
mod memory;
mod outcomes;
mod plugins;
mod scratch;
mod secrets;
mod task_files;
mod tcp;
mod third_party;
mod trust;
mod uploading;
mod usage;
