//! The WASI context of a guest: clocks, randomness, log streams, and what the manifest permits.
//!
//! Called by `guest`. Nothing of the host's own environment, folders or network is inherited.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_model::{LogStream, RunRequest};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;

use crate::guest::log::GuestLog;
use crate::guest::output::GuestOutput;
use crate::guest::program::{ProgramInput, StderrTail, StdoutBuffer};
use crate::secrets::RunSecrets;

/// The variables that a manifest sets.
pub(crate) struct Variables<'a> {
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) secrets: Option<&'a Arc<RunSecrets>>,
}

/// Returns the context of a task, without folders: stdout and stderr are its log.
pub(crate) fn for_task(run: &RunRequest, variables: &Variables<'_>) -> WasiCtxBuilder {
    let mut wasi = sandboxed();
    let log = |stream| GuestOutput(GuestLog::new(&run.host, stream, variables.secrets));
    wasi.stdout(log(LogStream::Stdout)).stderr(log(LogStream::Stderr));
    variables.add_to(&mut wasi);
    wasi
}

/// Returns the context of a program, without folders: stdout is its result.
pub(crate) fn for_program(
    run: &RunRequest,
    input: ProgramInput,
    variables: &Variables<'_>,
    stdout: &StdoutBuffer,
    stderr_tail: &StderrTail,
) -> WasiCtxBuilder {
    let mut wasi = sandboxed();
    wasi.stdout(GuestOutput(stdout.clone()))
        .stderr(GuestOutput(GuestLog::with_stderr_tail(&run.host, stderr_tail, variables.secrets)))
        .stdin(MemoryInputPipe::new(input.stdin))
        .arg(run.plugin.as_str())
        .args(&input.args);
    variables.add_to(&mut wasi);
    for (name, value) in &input.env {
        wasi.env(name, value);
    }
    wasi
}

fn sandboxed() -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    wasi
}

impl Variables<'_> {
    /// Returns the names with their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let secrets = self.secrets.into_iter().flat_map(|secrets| secrets.env());
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(secrets)
    }

    fn add_to(&self, wasi: &mut WasiCtxBuilder) {
        for (name, value) in self.iter() {
            wasi.env(name, value);
        }
    }
}
