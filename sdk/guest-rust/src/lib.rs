//! Plugins for Wasmill in Rust: a plain function becomes a task.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use wasmill_guest::{Failure, progress};
//!
//! #[derive(Deserialize)]
//! struct Input {
//!     words: Vec<String>,
//! }
//!
//! #[derive(Serialize)]
//! struct Output {
//!     letters: usize,
//! }
//!
//! wasmill_guest::task!(run);
//!
//! fn run(input: Input) -> Result<Output, Failure> {
//!     progress(0.5, "counting");
//!     Ok(Output { letters: input.words.iter().map(|word| word.len()).sum() })
//! }
//! ```
//!
//! The crate type is `cdylib`, and the target `wasm32-wasip2`. Stdout and stderr are the log of the task.
//!
//! The bindings are generated once and committed, so a plugin is built without the macro of `wit-bindgen` and its
//! dependencies. Without the feature `serde` this crate depends on nothing; [`text_task!`] is for that.

#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", not(target_arch = "wasm32")))]
extern crate std;

#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
mod allocator;
#[doc(hidden)]
#[allow(missing_docs, warnings, clippy::all, reason = "they are generated")]
pub mod bindings;
mod failure;
mod host;
#[cfg(feature = "serde")]
mod json;
#[cfg(all(target_arch = "wasm32", feature = "panic"))]
mod panic;
#[doc(hidden)]
pub mod rt;
mod step;
mod wasi;

pub use bindings::plugin::wasmill::task::types::{
    Child, ChildState, Dependency, Event, Failure, FailureKind, NewChild, Outcome, Retry, RunContext,
    SaveError, SubmitError, WakeOn,
};
pub use host::{
    StopRequested, all_children, children, context, dependencies, next_event, progress, restore, save, sleep,
    stop_requested, submit_children,
};
#[cfg(feature = "serde")]
pub use json::{restore_json, run_json, save_json, step_json};
pub use step::Step;
pub use wasi::{log, monotonic_clock, random, wait, wall_clock};

/// Makes a function the task of this plugin.
///
/// The function has the shape `fn(Input) -> Result<Output, E>`, where `Input` is any type that serde reads, `Output`
/// one that it writes, and `E` [`Failure`] or a type that turns into one. A task without an input has the input
/// `null`, which `Option<T>` and `()` accept. An input of another shape fails the task by invalid input. A `String` is
/// the result as it is, anything else is JSON.
#[cfg(feature = "serde")]
#[macro_export]
macro_rules! task {
    ($run:path) => {
        const _: () = {
            fn run_text(input: &str) -> ::core::result::Result<$crate::rt::String, $crate::Failure> {
                $crate::run_json(input, $run)
            }
            $crate::text_task!(run_text);
        };
    };
}

/// Makes a function the task of this plugin, without serde.
///
/// The function has the shape `fn(&str) -> Result<String, Failure>`: it takes the JSON text of the input, `null` if
/// there was none, and returns any text.
#[macro_export]
macro_rules! text_task {
    ($run:path) => {
        const _: () = {
            struct Task;
            impl $crate::bindings::plugin::exports::wasmill::task::job::Guest for Task {
                fn run(
                    input: $crate::rt::String,
                ) -> ::core::result::Result<$crate::rt::String, $crate::Failure> {
                    $run(&input)
                }
            }
    $crate::bindings::plugin::export!(Task with_types_in $crate::bindings::plugin);
        };
    };
}

/// Makes a function the task of this plugin that is suspended instead of waiting.
///
/// The function has the shape `fn(Input, Option<State>) -> Result<Step<Output, State>, E>`, with types as those of
/// [`task!`]. The state is `None` in the first step, then what the previous one returned.
#[cfg(feature = "serde")]
#[macro_export]
macro_rules! steps {
    ($run:path) => {
        const _: () = {
            fn run_text(
                input: &str,
                state: ::core::option::Option<$crate::rt::Vec<u8>>,
            ) -> ::core::result::Result<$crate::Step, $crate::Failure> {
                $crate::step_json(input, state, $run)
            }
            $crate::text_steps!(run_text);
        };
    };
}

/// Makes a function the task of this plugin that is suspended instead of waiting, without serde.
///
/// The function has the shape `fn(&str, Option<Vec<u8>>) -> Result<Step, Failure>`.
#[macro_export]
macro_rules! text_steps {
    ($run:path) => {
        const _: () = {
            use $crate::bindings::suspendable_plugin as bindings;
            struct Task;
            impl bindings::exports::wasmill::task::resumable_job::Guest for Task {
                fn resume(
                    input: $crate::rt::String,
                    state: ::core::option::Option<$crate::rt::Vec<u8>>,
                ) -> ::core::result::Result<
                    bindings::exports::wasmill::task::resumable_job::Step,
                    $crate::Failure,
                > {
                    ::core::result::Result::map($run(&input, state), ::core::convert::Into::into)
                }
            }
            $crate::bindings::suspendable_plugin::export!(
                Task with_types_in $crate::bindings::suspendable_plugin
            );
        };
    };
}
