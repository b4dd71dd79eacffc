//! What becomes of runs, good and bad: through `Runtime`, with guests built here.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod bounds;
mod files;
mod folder;
mod host_calls;
mod io_stub;
mod kept;
mod loading;
mod modules;
mod on_demand;
mod outcomes;
mod permissions;
mod programs;
mod reloading;
mod shapes;
mod stopping;
mod support;
mod suspension;
mod uploads;
