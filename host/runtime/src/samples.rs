//! What guests compute, while somebody asks: their stacks, and the time that each stands for.
//!
//! A guest that computes gives its thread back on each tick. While samples are taken, its stack is noted
//! then, with the names of its functions, and the time of that turn is counted for it. So there is no
//! signal and no unwinding of the host, and a guest is found at the end of a loop iteration or at the
//! beginning of a function. Without anyone who asks, it costs a turn one load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::WasmBacktrace;

use crate::backtrace::demangled;
use crate::plugin::Plugin;

/// Stacks that are told apart; time on further ones is counted for their plugin alone.
const STACKS_MAX: usize = 20_000;
/// Functions of a stack that are kept, the innermost.
const FUNCTIONS_MAX: usize = 64;
/// Bytes of the name of a function.
const NAME_BYTES_MAX: usize = 256;

/// Time that guests of one plugin spent on one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestSample {
    /// The name of the plugin.
    pub plugin: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub digest: Arc<str>,
    /// The functions, innermost first; none for turns so short that no tick fell into them, which may as
    /// well be calls of the host.
    pub functions: Vec<String>,
    /// How many turns.
    pub polls: u64,
    /// The time of those turns.
    pub cpu: Duration,
}

/// Where samples are put.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    on: AtomicBool,
    stacks: Mutex<HashMap<Stack, Spent>>,
}

/// One guest's turn that is being sampled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stack {
    plugin: String,
    digest: Arc<str>,
    functions: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    polls: u64,
    cpu: Duration,
}

/// Takes samples until it is dropped. There is one at a time.
pub struct GuestSampler(Arc<Samples>);

impl Samples {
    /// Begins to take samples; `None` if that is being done.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<GuestSampler> {
        if self.on.swap(true, Relaxed) {
            return None;
        }
        // What late turns of earlier samples have left.
        self.stacks().clear();
        Some(GuestSampler(Arc::clone(self)))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Notes the time of one turn of a guest.
    pub(crate) fn spent(&self, plugin: &Plugin, stack: Option<Stack>, cpu: Duration) {
        let alone = || Stack::of(plugin, Vec::new());
        let mut stacks = self.stacks();
        let stack = stack.unwrap_or_else(alone);
        let stack = if stacks.len() < STACKS_MAX || stacks.contains_key(&stack) { stack } else { alone() };
        let spent = stacks.entry(stack).or_default();
        spent.polls += 1;
        spent.cpu += cpu;
    }

    fn stacks(&self) -> MutexGuard<'_, HashMap<Stack, Spent>> {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stack {
    /// Names the functions of a guest that has just been stopped in them.
    pub(crate) fn of_backtrace(plugin: &Plugin, backtrace: &WasmBacktrace) -> Self {
        let functions = backtrace.frames().iter().take(FUNCTIONS_MAX).map(|frame| {
            frame.func_name().map_or_else(
                || format!("function {}", frame.func_index()),
                |name| demangled(name, NAME_BYTES_MAX),
            )
        });
        Self::of(plugin, functions.collect())
    }

    fn of(plugin: &Plugin, functions: Vec<String>) -> Self {
        Self { plugin: plugin.name.to_string(), digest: Arc::clone(&plugin.digest), functions }
    }
}

impl GuestSampler {
    /// Ends it and returns what was found.
    pub fn finish(self) -> Vec<GuestSample> {
        let stacks = std::mem::take(&mut *self.0.stacks());
        let sample = |(stack, spent): (Stack, Spent)| {
            let Stack { plugin, digest, functions } = stack;
            GuestSample { plugin, digest, functions, polls: spent.polls, cpu: spent.cpu }
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
    fn one_sampling_at_a_time() {
        let samples = Arc::<Samples>::default();
        assert!(!samples.is_on());
        let sampling = samples.begin().expect("the first");
        assert!(samples.is_on() && samples.begin().is_none());
        drop(sampling);
        assert!(!samples.is_on() && samples.begin().is_some());
    }
}
