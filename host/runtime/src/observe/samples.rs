//! Samples of what guests compute: their stacks, and the CPU time of each.
//!
//! A computing guest yields its thread on each tick. While sampling is on, its stack is captured there and the CPU
//! time of that poll is attributed to it. This needs no signals and no unwinding of the host; guests are always
//! sampled at a loop back edge or a function entry. While sampling is off, a poll pays one load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_model::PluginName;
use wasmtime::WasmBacktrace;

use crate::observe::backtrace::demangled;

/// Distinct stacks kept; time on further ones is counted for their plugin alone.
const STACKS_MAX: usize = 20_000;
/// Functions kept per stack, the innermost.
const FUNCTIONS_MAX: usize = 64;
/// Bytes of a function name.
const NAME_BYTES_MAX: usize = 256;

/// Time that guests of one plugin spent on one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestSample {
    /// The name of the plugin.
    pub plugin: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub digest: Arc<str>,
    /// The functions, innermost first; empty for polls that ended before a tick, which may as well have been in
    /// host calls.
    pub functions: Vec<String>,
    /// The number of polls.
    pub polls: u64,
    /// The CPU time of those polls.
    pub cpu: Duration,
}

/// Collects samples.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    on: AtomicBool,
    stacks: Mutex<HashMap<Stack, Spend>>,
}

/// The stack of a sampled poll.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stack {
    plugin: String,
    digest: Arc<str>,
    functions: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spend {
    polls: u64,
    cpu: Duration,
}

/// Samples until it is dropped. Only one exists at a time.
pub struct GuestSampler(Arc<Samples>);

impl Samples {
    /// Starts sampling; `None` if it is already on.
    pub(crate) fn start(self: &Arc<Self>) -> Option<GuestSampler> {
        if self.on.swap(true, Relaxed) {
            return None;
        }
        // Left by late polls of an earlier sampling.
        self.stacks().clear();
        Some(GuestSampler(Arc::clone(self)))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Records the time of one poll.
    pub(crate) fn record(&self, plugin: &PluginName, digest: &Arc<str>, stack: Option<Stack>, cpu: Duration) {
        let alone = || Stack::of(plugin, digest, Vec::new());
        let mut stacks = self.stacks();
        let stack = stack.unwrap_or_else(alone);
        let stack = if stacks.len() < STACKS_MAX || stacks.contains_key(&stack) { stack } else { alone() };
        let record = stacks.entry(stack).or_default();
        record.polls += 1;
        record.cpu += cpu;
    }

    fn stacks(&self) -> MutexGuard<'_, HashMap<Stack, Spend>> {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stack {
    /// Captures the stack of a guest that is yielding.
    pub(crate) fn of_backtrace(plugin: &PluginName, digest: &Arc<str>, backtrace: &WasmBacktrace) -> Self {
        Self::of(plugin, digest, functions_of(backtrace))
    }

    fn of(plugin: &PluginName, digest: &Arc<str>, functions: Vec<String>) -> Self {
        Self { plugin: plugin.to_string(), digest: Arc::clone(digest), functions }
    }
}

/// Returns the functions of a stack, innermost first.
pub(crate) fn functions_of(backtrace: &WasmBacktrace) -> Vec<String> {
    let functions = backtrace.frames().iter().take(FUNCTIONS_MAX).map(|frame| {
        frame.func_name().map_or_else(
            || format!("function {}", frame.func_index()),
            |name| demangled(name, NAME_BYTES_MAX),
        )
    });
    functions.collect()
}

impl GuestSampler {
    /// Stops sampling and returns the samples.
    pub fn finish(self) -> Vec<GuestSample> {
        let stacks = std::mem::take(&mut *self.0.stacks());
        let sample = |(stack, record): (Stack, Spend)| {
            let Stack { plugin, digest, functions } = stack;
            GuestSample { plugin, digest, functions, polls: record.polls, cpu: record.cpu }
        };
        stacks.into_iter().map(sample).collect()
    }
}

impl Drop for GuestSampler {
    fn drop(&mut self) {
        self.0.on.store(false, Relaxed);
        self.0.stacks().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_sampler_exists_at_a_time() {
        let samples = Arc::<Samples>::default();
        assert!(!samples.is_on());
        let sampling = samples.start().expect("the first");
        assert!(samples.is_on() && samples.start().is_none());
        drop(sampling);
        assert!(!samples.is_on() && samples.start().is_some());
    }
}
