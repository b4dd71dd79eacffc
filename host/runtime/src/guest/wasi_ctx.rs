//! The WASI context of a guest: clocks, randomness, log streams, and what the manifest permits.
//!
//! Called by `guest`. Nothing of the host's own environment, folders or network is inherited.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_model::{LogStream, RunHost, RunRequest};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;

use crate::guest::log::GuestLog;
use crate::guest::output::GuestOutput;
use crate::guest::program::{ProgramInput, StderrTail, StdoutBuffer};

/// Returns the context of a task, without folders: stdout and stderr are its log.
pub(crate) fn for_task(host: &Arc<dyn RunHost>, env: &BTreeMap<String, String>) -> WasiCtxBuilder {
    let mut wasi = sandboxed();
    let log = |stream| GuestOutput(GuestLog::new(host, stream));
    wasi.stdout(log(LogStream::Stdout)).stderr(log(LogStream::Stderr));
    add_env(&mut wasi, env);
    wasi
}

/// Returns the context of a program, without folders: stdout is its result.
pub(crate) fn for_program(
    run: &RunRequest,
    input: ProgramInput,
    env: &BTreeMap<String, String>,
    stdout: &StdoutBuffer,
    stderr_tail: &StderrTail,
) -> WasiCtxBuilder {
    let mut wasi = sandboxed();
    wasi.stdout(GuestOutput(stdout.clone()))
        .stderr(GuestOutput(GuestLog::with_stderr_tail(&run.host, stderr_tail)))
        .stdin(MemoryInputPipe::new(input.stdin))
        .arg(run.plugin.as_str())
        .args(&input.args);
    add_env(&mut wasi, env);
    add_env(&mut wasi, &input.env);
    wasi
}

fn sandboxed() -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    wasi
}

fn add_env(wasi: &mut WasiCtxBuilder, env: &BTreeMap<String, String>) {
    for (name, value) in env {
        wasi.env(name, value);
    }
}
