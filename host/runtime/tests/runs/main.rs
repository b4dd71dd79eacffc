//! Runs guests that are built here, through `Runtime`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod bounds;
mod files;
mod folder;
mod host_calls;
mod io_stub;
mod loading;
mod modules;
mod on_demand;
mod outcomes;
mod permissions;
mod programs;
mod proposals;
mod reloading;
mod scratch;
mod shapes;
mod stopping;
mod support;
mod suspension;
mod uploads;
