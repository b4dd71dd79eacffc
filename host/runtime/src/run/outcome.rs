//! Maps the end of a run without a result, such as an error of wasmtime, to a `Failure` with a cause.
//!
//! Called by `instance`. Every message is bounded, whatever the guest put into it.

use std::fmt;
use std::time::Duration;

use wasmill_model::{Cause, Failure, Limits, Retry, RunHost};
use wasmtime::component::ResourceTableError;
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use crate::engine::engines;
use crate::error::format;
use crate::guest::call_error::{ExitedWithoutCode, RunEnded, host_fault};
use crate::guest::handle_bytes::FIELDS_BYTES_MAX;
use crate::guest::state::{Guest, HANDLES_MAX};
use crate::link::bindings::wasmill::task::types;
use crate::memory::{Evicted, MemoryReservation};
use crate::observe::backtrace::Backtrace;
use crate::plugin::context::PluginContext;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// With an exit code; returning counts as 0.
    Code(i32),
    /// With a failure and no code.
    Failure,
}

impl Exit {
    /// Returns the exit that an error of wasmtime stands for, if it does.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match error.downcast_ref() {
            Some(&I32Exit(code)) => Some(Self::Code(code)),
            None => error.is::<ExitedWithoutCode>().then_some(Self::Failure),
        }
    }

    /// Returns the exit code; a failure without one counts as 1.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Failure => 1,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "with exit code {code}"),
            Self::Failure => f.write_str("with a failure (`exit` of WASI 0.2 carries no code)"),
        }
    }
}

/// How far a run had come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The instance was being created.
    Starting,
    /// `run`, `resume` or the main function was running.
    Running,
}

/// Maps a failure that the plugin reported.
pub(crate) fn reported_failure(reported: types::Failure, guest: &Guest) -> Failure {
    let types::Failure { kind, message, retry } = reported;
    // Before it is cut, or the rest of a secret could stay.
    let message = guest.redact(message);
    let cause = match kind {
        types::FailureKind::Io => Cause::Io,
        types::FailureKind::InvalidInput => Cause::InvalidInput,
        types::FailureKind::Other => Cause::Plugin,
    };
    let retry = retry.map(|retry| match retry {
        types::Retry::Never => Retry::Never,
        types::Retry::After(wait) => Retry::After(Duration::from_nanos(wait)),
    });
    let failure = match guest.files.disk.refusal() {
        Some(refusal) if cause != Cause::InvalidInput => out_of_disk(&refusal, &message),
        _ => Failure::new(cause, format::truncate(message, format::MESSAGE_BYTES_MAX)),
    };
    Failure { retry, ..failure }
}

/// Returns the failure of a run that was refused a write, and then ended.
fn out_of_disk(refusal: &str, end: &str) -> Failure {
    let message = format!("the guest {refusal}, then ended: {end}");
    Failure::new(Cause::DiskLimit, format::truncate(message, format::MESSAGE_BYTES_MAX))
}

/// Returns the failure of a run whose result is too large.
pub(crate) fn result_too_large(bytes: Option<u64>, bytes_max: u64) -> Failure {
    let size = bytes.map_or_else(|| "too large".to_owned(), |bytes| format!("{bytes} bytes"));
    let limit = format::bytes(bytes_max);
    let message = format!(
        "the result is {size}; its limit `result` is {limit} (limits.result of the manifest, else the setting \
         result)"
    );
    Failure::new(Cause::ResultLimit, message)
}

/// Returns the result unless it is too large.
pub(crate) fn check_size(result: String, limits: &Limits) -> Result<String, Failure> {
    let bytes = result.len() as u64;
    if bytes > limits.result_bytes {
        Err(result_too_large(Some(bytes), limits.result_bytes))
    } else {
        Ok(result)
    }
}

/// Returns the failure of a step whose state is too large.
pub(crate) fn state_too_large(bytes: u64, bytes_max: u64) -> Failure {
    let limit = format::bytes(bytes_max);
    let message =
        format!("the state of the suspended task is {bytes} bytes; the limit of a checkpoint is {limit}");
    Failure::new(Cause::ResultLimit, message)
}

pub(crate) fn cpu_limit_exceeded(used: Duration, max: Duration) -> Failure {
    let (used_ms, max) = (used.as_millis(), humantime::format_duration(max));
    let message = format!(
        "the attempt used {used_ms} ms of CPU time; its limit `cpu` is {max} \
         (limits.cpu of the manifest, else the setting cpu)"
    );
    Failure::new(Cause::CpuLimit, message)
}

/// Checks the exit of a program: any code is a failure but 0 and those that the manifest names. The failure shows what
/// the program wrote last.
pub(crate) fn check_exit(exit: Exit, guest: &Guest) -> Result<(), Failure> {
    let code = exit.code();
    if code == 0 || guest.plugin.config.exit_ok.contains(&code) {
        return Ok(());
    }
    let mut message = format!("the program ended {exit}{}", refused_memory_note(guest));
    let (stdout, stderr) = guest
        .program
        .as_ref()
        .map(|program| (program.stdout.tail(), program.stderr_tail.text()))
        .unwrap_or_default();
    match stderr.as_str() {
        "" => message.push_str(" and wrote nothing to stderr"),
        stderr => message.push_str(&format!("; the end of its stderr:\n{stderr}")),
    }
    if !stdout.is_empty() {
        message.push_str(&format!(
            "{}the end of its stdout:\n{stdout}",
            if stderr.is_empty() { "; " } else { "\n" }
        ));
    }
    if let Some(refusal) = guest.files.disk.refusal() {
        return Err(out_of_disk(&refusal, &message));
    }
    Err(Failure::new(Cause::Exit(code), format::truncate(message, format::MESSAGE_BYTES_MAX)))
}

/// Returns a note that the guest was denied memory before it ended by itself.
fn refused_memory_note(guest: &Guest) -> String {
    if guest.account.has_refused() {
        format!(", after it asked for more memory than {},", memory_limit(guest))
    } else {
        String::new()
    }
}

/// Returns the failure of a run that wasmtime ended.
pub(crate) fn run_failure(error: &Error, stage: Stage, guest: &Guest) -> Failure {
    if guest.program.as_ref().is_some_and(|program| program.stdout.has_overflowed()) {
        return result_too_large(None, guest.plugin.config.limits.result_bytes);
    }
    if let Some(exit) = Exit::of(error) {
        return exited(exit, guest);
    }
    // The order matters: a guest that was denied something often traps over it, and the trap is not the cause.
    ended_by_host(error, guest)
        .or_else(|| limit_exceeded(error, guest))
        .or_else(|| trapped(error, guest))
        .unwrap_or_else(|| failed_at(stage, error, guest))
}

/// Returns the failure of a run whose guest ended itself without a result.
fn exited(exit: Exit, guest: &Guest) -> Failure {
    if let Some(refusal) = guest.files.disk.refusal() {
        return out_of_disk(&refusal, &format!("the guest ended itself {exit}"));
    }
    let message = format!("the guest ended itself {exit}{} without a result", refused_memory_note(guest));
    Failure::new(Cause::Exit(exit.code()), message)
}

/// Returns the failure if the host ended the run: by a fault of its own, or by a call that it refused.
fn ended_by_host(error: &Error, guest: &Guest) -> Option<Failure> {
    if let Some(RunEnded(failure)) = error.downcast_ref() {
        return Some(failure.clone());
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Some(host_fault(format_args!("the instance pool is exhausted: {full}")));
    }
    let &reason = error.downcast_ref::<Evicted>()?;
    Some(evicted(&guest.plugin, &*guest.run.host, guest.account.reservation(), reason))
}

/// Returns the failure if the guest exceeded one of its limits.
fn limit_exceeded(error: &Error, guest: &Guest) -> Option<Failure> {
    if guest.account.is_overdrawn() {
        return Some(overdrawn(guest));
    }
    if guest.account.has_refused() {
        return Some(out_of_memory(error, guest));
    }
    if let Some(FieldMapError::TotalSizeTooBig) = error.downcast_ref() {
        let limit = format::bytes(FIELDS_BYTES_MAX as u64);
        let message = format!("the header fields of one request exceed the limit of {limit}");
        return Some(Failure::new(Cause::CallLimit, message));
    }
    if let Some(refusal) = guest.files.disk.refusal() {
        return Some(out_of_disk(&refusal, &error.root_cause().to_string()));
    }
    if is_out_of_handles(error) {
        let message = format!(
            "the guest held more than its limit of {HANDLES_MAX} handles (timers, streams, files and the \
             like); \
             the limit is the same for every plugin"
        );
        return Some(Failure::new(Cause::HandleLimit, message));
    }
    if guest_was_on_the_stack(error) && is_out_of_copying(error) {
        let limit = format::bytes(guest.call_bytes_max as u64);
        let message = format!(
            "one call of the guest passed more than its limit of {limit} to the host, which is derived from \
             the limits `result` and checkpoint"
        );
        return Some(Failure::new(Cause::CallLimit, message));
    }
    None
}

/// Returns the failure if the guest trapped.
fn trapped(error: &Error, guest: &Guest) -> Option<Failure> {
    let has_trapped = error.is::<Trap>() || guest_was_on_the_stack(error);
    has_trapped.then(|| Failure::new(Cause::Trap, trap_message(error, guest)))
}

/// Returns the failure of a run that ended outside the guest's code, while it started or returned its result.
fn failed_at(stage: Stage, error: &Error, guest: &Guest) -> Failure {
    match stage {
        Stage::Starting => host_fault(format_args!("failed to start: {error:#}")),
        Stage::Running if is_out_of_copying(error) => {
            result_too_large(None, guest.plugin.config.limits.result_bytes)
        }
        Stage::Running => {
            Failure::new(Cause::Trap, format::bounded(format_args!("the result cannot be read: {error:#}")))
        }
    }
}

/// Returns true if the guest's code was running when the error arose.
fn guest_was_on_the_stack(error: &Error) -> bool {
    error.is::<WasmBacktrace>()
}

/// Names the memory limit of a guest, and the settings for it.
fn memory_limit(guest: &Guest) -> String {
    let limit = format::bytes(guest.account.bytes_max());
    format!("its limit `memory` of {limit} (limits.memory of the manifest, else the setting memory)")
}

fn overdrawn(guest: &Guest) -> Failure {
    let message = format!(
        "the guest's memory and what the host keeps for it (requests, streams, input, result and the like) \
         exceed {}",
        memory_limit(guest)
    );
    Failure::new(Cause::MemoryLimit, message)
}

fn out_of_memory(error: &Error, guest: &Guest) -> Failure {
    let end = error.root_cause();
    let message = format!("the guest asked for more memory than {}, then ended: {end}", memory_limit(guest));
    Failure::new(Cause::MemoryLimit, format::truncate(message, format::MESSAGE_BYTES_MAX))
}

fn trap_message(error: &Error, guest: &Guest) -> String {
    let reason: &dyn fmt::Display = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            let max = format::bytes(engines::wasm_stack_bytes(guest.plugin.profile) as u64);
            &format!("stack overflow: the guest's recursion exceeded its stack of {max}")
        }
        Some(trap) => trap,
        None => &error.root_cause(),
    };
    match error.downcast_ref::<WasmBacktrace>() {
        Some(backtrace) => format::bounded(format_args!("{reason}{}", Backtrace(backtrace))),
        None => format::bounded(reason),
    }
}

/// Marks a run as evicted, so that its task is requeued, and raises the estimate of its plugin.
pub(crate) fn evicted(
    plugin: &PluginContext,
    host: &dyn RunHost,
    reservation: &MemoryReservation,
    evicted: Evicted,
) -> Failure {
    host.evicted();
    plugin.estimate.record_eviction(reservation, evicted, plugin.config.limits.memory_bytes);
    Failure::new(Cause::HostFault, evicted.to_string())
}

/// Returns true if a call exceeded the bound on copied bytes. That error has no public type in wasmtime, so its
/// text is compared; a test guards it.
fn is_out_of_copying(error: &Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls has been exhausted")
}

/// Returns true if a handle table was full: the host's, or wasmtime's own, whose error has no type; a test guards
/// its text.
fn is_out_of_handles(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || error.root_cause().to_string().contains("store handle limit exceeded")
}
