//! The variant of `io-stub` for very many tasks at once: it is suspended instead of waiting.
//!
//! The first step chooses the wake-up time and the outcome, and returns them as the state of its suspension; the
//! second step completes the task. In between there is no instance.

#![no_std]

extern crate alloc;

#[path = "../../io-stub/src/plan.rs"]
mod plan;
#[path = "../../io-stub/src/settings.rs"]
mod settings;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use plan::{Ending, Plan};
use settings::{Settings, decimal};
use wasmill_guest::{Failure, Step, log, random, save, wall_clock};

wasmill_guest::text_steps!(resume);

fn resume(input: &str, state: Option<Vec<u8>>) -> Result<Step, Failure> {
    let settings = Settings::parse(input).map_err(Failure::invalid_input)?;
    let now = wall_clock();
    let now_ms = now.as_secs() * 1_000 + u64::from(now.subsec_millis());
    let resumed = state.and_then(|state| Plan::decode(&state));
    let plan = resumed.unwrap_or_else(|| Plan::choose(settings, now_ms, random));
    match plan.left_ms(now_ms) {
        0 => end(plan.ending).map(Step::Done),
        wait_ms => {
            log(&["suspended for ", &decimal(wait_ms), " ms"].concat());
            Ok(Step::Suspended(Duration::from_millis(wait_ms), plan.encode()))
        }
    }
}

fn end(ending: Ending) -> Result<String, Failure> {
    match ending {
        Ending::Result(digit) => Ok(["io work result = ", &decimal(digit.into())].concat()),
        Ending::Failure => {
            // The next attempt chooses a new wait and a new outcome.
            save(&[])?;
            Err(Failure::io("simulated I/O failure"))
        }
    }
}
