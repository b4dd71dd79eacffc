//! The default plugin: simulates slow I/O.
//!
//! It waits 3 to 5 minutes, chosen at random, then returns a result or, one time in ten, fails. Its first
//! checkpoint holds the wake-up time and the outcome, so that the task ends on time even if the host restarts.
//!
//! It does without the standard library, serde and formatting: what sleeps by the thousand should be small, and this is
//! part of every build.

#![no_std]

extern crate alloc;

mod plan;
mod settings;

use alloc::string::String;
use core::time::Duration;

use plan::{Ending, Plan};
use settings::{Settings, decimal};
use wasmill_guest::{Failure, log, monotonic_clock, progress, random, restore, save, sleep, wall_clock};

wasmill_guest::text_task!(run);

fn run(input: &str) -> Result<String, Failure> {
    let settings = Settings::parse(input).map_err(Failure::invalid_input)?;
    let plan = saved_plan().map_or_else(|| new_plan(settings), Ok)?;
    let wait_ms = plan.left_ms(now_ms()).min(settings.max_ms);
    log(&["waiting ", &decimal(wait_ms), " ms"].concat());
    wait(Duration::from_millis(wait_ms), Duration::from_millis(plan.wait_ms));
    end(plan.ending)
}

fn saved_plan() -> Option<Plan> {
    restore().and_then(|state| Plan::decode(&state))
}

fn new_plan(settings: Settings) -> Result<Plan, Failure> {
    let plan = Plan::choose(settings, now_ms(), random);
    save(&plan.encode())?;
    Ok(plan)
}

/// Waits for `left` of the `whole` time, reporting progress in steps of 2 %, at most once a second: each report
/// wakes the guest, and there may be very many guests.
///
/// It waits on when the host asks it to stop: within the grace period it may still end, and the checkpoint has all that
/// the next run needs.
fn wait(left: Duration, whole: Duration) {
    let step = (whole / 50).max(Duration::from_secs(1));
    let start = monotonic_clock();
    let mut is_stopping = false;
    loop {
        let left = left.saturating_sub(monotonic_clock().saturating_sub(start));
        let done = 1.0 - left.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        progress(done, &["waiting, ", &decimal(seconds), " s left"].concat());
        if left.is_zero() {
            return;
        }
        let step = left.min(step);
        if is_stopping {
            wasmill_guest::wait(step);
        } else {
            is_stopping = sleep(step).is_err();
        }
    }
}

/// Returns the wall-clock time in milliseconds since 1970.
fn now_ms() -> u64 {
    let now = wall_clock();
    now.as_secs() * 1_000 + u64::from(now.subsec_millis())
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
