//! The world a guest sees through WASI: clocks, randomness, a log, and what it was permitted.
//!
//! Called by `guest`. Nothing of the host's own environment, folders or network ever gets in.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_model::{LogStream, RunHost, RunRequest};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;

use crate::guest_log::GuestLog;
use crate::program::{Answer, LastWords, ProgramInput};

/// Returns the surroundings of a task without folders: stdout and stderr are its log.
pub(crate) fn of_task(host: &Arc<dyn RunHost>, env: &BTreeMap<String, String>) -> WasiCtxBuilder {
    let mut wasi = bare();
    wasi.stdout(GuestLog::new(host, LogStream::Stdout)).stderr(GuestLog::new(host, LogStream::Stderr));
    add_env(&mut wasi, env);
    wasi
}

/// Returns the surroundings of a program without folders: stdout is its answer.
pub(crate) fn of_program(
    run: &RunRequest,
    input: ProgramInput,
    env: &BTreeMap<String, String>,
    answer: &Answer,
    last_words: &LastWords,
) -> WasiCtxBuilder {
    let mut wasi = bare();
    wasi.stdout(answer.clone())
        .stderr(GuestLog::with_last_words(&run.host, last_words))
        .stdin(MemoryInputPipe::new(input.stdin))
        .arg(run.plugin.as_str())
        .args(&input.args);
    add_env(&mut wasi, env);
    add_env(&mut wasi, &input.env);
    wasi
}

fn bare() -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    wasi
}

fn add_env(wasi: &mut WasiCtxBuilder, env: &BTreeMap<String, String>) {
    for (name, value) in env {
        wasi.env(name, value);
    }
}
