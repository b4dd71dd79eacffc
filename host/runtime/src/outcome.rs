//! How a run that gave no result ended: from the errors of wasmtime to a `Failure` with a cause.
//!
//! Called by `instance`. Every message is bounded, whatever the guest put into it.

use std::fmt;
use std::time::Duration;

use wasmill_model::{Cause, Failure, Limits, RunHost};
use wasmtime::component::ResourceTableError;
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use crate::backtrace::Backtrace;
use crate::bindings::wasmill::task::failures;
use crate::engine;
use crate::format;
use crate::guest::{Guest, HANDLES_MAX};
use crate::kept::FIELDS_BYTES_MAX;
use crate::memory::{Evicted, Hold};
use crate::plugin::Plugin;
use crate::plugin_config::OutputFormat;

/// The host could not do what the guest asked for; the guest is not to blame.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostFault(pub(crate) String);

/// The guest asked for more in one call than one call may have.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CallRefused(pub(crate) String);

/// The guest ended itself with a failure and without an exit code: `exit` of WASI 0.2 passes none on.
#[derive(Debug, thiserror::Error)]
#[error("the guest ended itself with a failure")]
pub(crate) struct ExitedWithoutCode;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By an exit code; returning is 0.
    Code(i32),
    /// With a failure of which nothing else is known.
    Failure,
}

impl Exit {
    /// Reads the error that a guest ends with when it ends itself.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match error.downcast_ref() {
            Some(&I32Exit(code)) => Some(Self::Code(code)),
            None => error.is::<ExitedWithoutCode>().then_some(Self::Failure),
        }
    }

    fn cause(self) -> Cause {
        match self {
            Self::Code(code) => Cause::Exit(code),
            Self::Failure => Cause::Exit(1),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "with exit code {code}"),
            Self::Failure => f.write_str("with a failure (`exit` of WASI 0.2 passes on no exit code)"),
        }
    }
}

/// How far a run had come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The instance was being made.
    Starting,
    /// `run-task` or the main function was called.
    Running,
}

/// Words the failure that a plugin reported itself.
pub(crate) fn reported(failure: failures::Failure, guest: &Guest) -> Failure {
    let (cause, message) = match failure {
        failures::Failure::Io(message) => (Cause::Io, message),
        failures::Failure::InvalidInput(message) => (Cause::InvalidInput, message),
        failures::Failure::Other(message) => (Cause::Plugin, message),
    };
    if guest.files.disk.has_refused() && cause != Cause::InvalidInput {
        return out_of_disk(&message, guest);
    }
    Failure::new(cause, format::truncate(message, format::MESSAGE_BYTES_MAX))
}

/// Words the failure of a run that wrote more than its limit and came to an end over it.
fn out_of_disk(end: &str, guest: &Guest) -> Failure {
    let limit = format::bytes(guest.plugin.config.limits.disk_bytes);
    let message = format!(
        "the guest wrote more to its folders than its limit `disk` of {limit} (limits.disk of the manifest, else \
         the setting disk), then ended: {end}"
    );
    Failure::new(Cause::DiskLimit, format::truncate(message, format::MESSAGE_BYTES_MAX))
}

/// Words the failure of a result that is too large.
pub(crate) fn too_large(bytes: Option<u64>, bytes_max: u64) -> Failure {
    let size = bytes.map_or_else(|| "larger than it may be".to_owned(), |bytes| format!("{bytes} bytes"));
    let limit = format::bytes(bytes_max);
    let message = format!(
        "the result is {size}; its limit `output` is {limit} (limits.output of the manifest, else the setting \
         output)"
    );
    Failure::new(Cause::OutputLimit, message)
}

/// Passes a result on unless it is too large.
pub(crate) fn check_size(output: String, limits: &Limits) -> Result<String, Failure> {
    let bytes = output.len() as u64;
    if bytes > limits.output_bytes { Err(too_large(Some(bytes), limits.output_bytes)) } else { Ok(output) }
}

/// Words the failure of a step whose state is too large to be kept.
pub(crate) fn state_too_large(bytes: u64, bytes_max: u64) -> Failure {
    let limit = format::bytes(bytes_max);
    let message =
        format!("the state of the suspended task is {bytes} bytes; the limit of a checkpoint is {limit}");
    Failure::new(Cause::OutputLimit, message)
}

/// Words the failure of a run that computed for longer than its limit.
pub(crate) fn computed_too_long(used: Duration, most: Duration) -> Failure {
    let (used_ms, most) = (used.as_millis(), humantime::format_duration(most));
    let message = format!(
        "the attempt computed for {used_ms} ms; its limit `cpu` is {most} \
         (limits.cpu of the manifest, else the setting cpu)"
    );
    Failure::new(Cause::CpuLimit, message)
}

/// Says how a program that came to its end did: by returning or by exiting, with code 0 or another.
pub(crate) fn exited(exit: Exit, guest: &Guest) -> Result<(), Failure> {
    if exit == Exit::Code(0) {
        return Ok(());
    }
    let last_words = guest.program.as_ref().map(|program| program.last_words.text()).unwrap_or_default();
    let ended = format!("the program ended {exit}{}", refused_memory(guest));
    if guest.files.disk.has_refused() {
        let end = match last_words.as_str() {
            "" => ended,
            last_words => format!("{ended}; the end of its stderr:\n{last_words}"),
        };
        return Err(out_of_disk(&end, guest));
    }
    let message = match last_words.as_str() {
        "" => format!("{ended} and wrote nothing to stderr"),
        last_words => format!("{ended}; the end of its stderr:\n{last_words}"),
    };
    Err(Failure::new(exit.cause(), format::truncate(message, format::MESSAGE_BYTES_MAX)))
}

/// Says that a guest was refused memory, for one that then ended by itself.
fn refused_memory(guest: &Guest) -> String {
    if guest.account.has_refused() {
        format!(", after it had asked for more than {},", memory_limit(guest))
    } else {
        String::new()
    }
}

/// Checks that an answer is what the manifest of its plugin says that it is.
pub(crate) fn check_format(answer: &str, format: OutputFormat) -> Result<(), Failure> {
    if format == OutputFormat::Json
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(answer)
    {
        let message = format!("the plugin answers in JSON by its manifest, but this answer is none: {error}");
        return Err(Failure::new(Cause::Plugin, message));
    }
    Ok(())
}

/// Words the failure of a run that wasmtime ended.
pub(crate) fn ended(error: &Error, stage: Stage, guest: &Guest) -> Failure {
    let output_bytes_max = guest.plugin.config.limits.output_bytes;
    if guest.program.as_ref().is_some_and(|program| program.answer.has_overflowed()) {
        return too_large(None, output_bytes_max);
    }
    if let Some(exit) = Exit::of(error) {
        if guest.files.disk.has_refused() {
            return out_of_disk(&format!("the guest ended itself {exit}"), guest);
        }
        let message = format!("the guest ended itself {exit}{} and gave no result", refused_memory(guest));
        return Failure::new(exit.cause(), message);
    }
    if let Some(HostFault(reason)) = error.downcast_ref() {
        return Failure::new(Cause::HostFault, format::bounded(reason));
    }
    if let Some(CallRefused(reason)) = error.downcast_ref() {
        return Failure::new(Cause::CallLimit, reason.clone());
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Failure::new(Cause::HostFault, format!("no room for another instance: {full}"));
    }
    if let Some(&evicted) = error.downcast_ref::<Evicted>() {
        return self::evicted(&guest.plugin, &*guest.run.host, guest.account.hold(), evicted);
    }
    if guest.account.is_overdrawn() {
        return overdrawn(guest);
    }
    if guest.account.has_refused() {
        return out_of_memory(error, guest);
    }
    if let Some(FieldMapError::TotalSizeTooBig) = error.downcast_ref() {
        let limit = format::bytes(FIELDS_BYTES_MAX as u64);
        let message = format!("the header fields of one request take more than the limit of {limit}");
        return Failure::new(Cause::CallLimit, message);
    }
    if guest.files.disk.has_refused() {
        return out_of_disk(&error.root_cause().to_string(), guest);
    }
    if is_out_of_handles(error) {
        let message = format!(
            "the guest held more than its limit of {HANDLES_MAX} handles (timers, streams, files and the like); \
             the limit is the same for every plugin"
        );
        return Failure::new(Cause::HandleLimit, message);
    }
    let guest_was_on_the_stack = error.is::<WasmBacktrace>();
    if guest_was_on_the_stack && is_out_of_copying(error) {
        let limit = format::bytes(guest.call_bytes_max as u64);
        let message = format!(
            "one call of the guest handed the host more than its limit of {limit}, \
             which is the larger one of the limits `output` and checkpoint, and some more"
        );
        return Failure::new(Cause::CallLimit, message);
    }
    if error.is::<Trap>() || guest_was_on_the_stack {
        return Failure::new(Cause::Trap, trap_message(error, guest));
    }
    match stage {
        Stage::Starting => {
            Failure::new(Cause::HostFault, format::bounded(format_args!("failed to start: {error:#}")))
        }
        Stage::Running if is_out_of_copying(error) => too_large(None, output_bytes_max),
        Stage::Running => {
            Failure::new(Cause::Trap, format::bounded(format_args!("the result cannot be read: {error:#}")))
        }
    }
}

/// Names the memory limit of a guest, and what sets it.
fn memory_limit(guest: &Guest) -> String {
    let limit = format::bytes(guest.account.bytes_max());
    format!("its limit `memory` of {limit} (limits.memory of the manifest, else the setting memory)")
}

fn overdrawn(guest: &Guest) -> Failure {
    let message = format!(
        "what the host had to keep for the guest (requests, streams, input, output and the like) was, with the \
         guest's own memory, more than {}",
        memory_limit(guest)
    );
    Failure::new(Cause::MemoryLimit, message)
}

fn out_of_memory(error: &Error, guest: &Guest) -> Failure {
    let end = error.root_cause();
    let message = format!("the guest asked for more than {}, then ended: {end}", memory_limit(guest));
    Failure::new(Cause::MemoryLimit, format::truncate(message, format::MESSAGE_BYTES_MAX))
}

fn trap_message(error: &Error, guest: &Guest) -> String {
    let reason: &dyn fmt::Display = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            let most = format::bytes(engine::wasm_stack_bytes(guest.plugin.profile) as u64);
            &format!("stack overflow: the guest called itself too deeply for its stack of {most}")
        }
        Some(trap) => trap,
        None => &error.root_cause(),
    };
    match error.downcast_ref::<WasmBacktrace>() {
        Some(backtrace) => format::bounded(format_args!("{reason}{}", Backtrace(backtrace))),
        None => format::bounded(reason),
    }
}

/// Has a run put back that the host has no memory for, and lets its plugin learn from it.
pub(crate) fn evicted(plugin: &Plugin, host: &dyn RunHost, hold: &Hold, evicted: Evicted) -> Failure {
    host.evicted();
    plugin.demand.learn_more(hold, evicted, plugin.config.limits.memory_bytes);
    Failure::new(Cause::HostFault, evicted.to_string())
}

/// Says whether the bound on bytes copied in one call was hit. wasmtime keeps the type of that error
/// to itself, so its text has to do; a test holds the two together.
fn is_out_of_copying(error: &Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls has been exhausted")
}

/// Says whether a table of handles was full: that of the host's side, or wasmtime's own, whose error has
/// no type; a test holds the two together.
fn is_out_of_handles(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || error.root_cause().to_string().contains("store handle limit exceeded")
}
