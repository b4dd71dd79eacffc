//! The default plugin: simulates slow I/O.
//!
//! It waits 3 to 5 minutes, chosen at random, then returns a result or, one time in ten, fails. Its first
//! checkpoint holds the wake-up time and the outcome, so that the task ends on time even if the host restarts.

mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "plugin" });
}
mod plan;
mod settings;

use std::time::{Duration, Instant};

use bindings::exports::wasmill::task::job::Guest;
use bindings::wasmill::task::host;
use bindings::wasmill::task::types::{Failure, FailureKind, SaveError};
use plan::{Ending, Plan};
use settings::Settings;

struct IoStub;

impl Guest for IoStub {
    fn run(input: String) -> Result<String, Failure> {
        let settings = Settings::parse(&input).map_err(|wrong| failure(FailureKind::InvalidInput, wrong))?;
        let plan = saved_plan().map_or_else(|| new_plan(settings), Ok)?;
        let wait_ms = plan.left_ms(plan::now_ms()).min(settings.max_ms);
        println!("waiting {wait_ms} ms");
        wait(Duration::from_millis(wait_ms), Duration::from_millis(plan.wait_ms));
        end(plan.ending)
    }
}

bindings::export!(IoStub with_types_in bindings);

fn saved_plan() -> Option<Plan> {
    host::restore().and_then(|state| Plan::decode(&state))
}

fn new_plan(settings: Settings) -> Result<Plan, Failure> {
    let plan = Plan::choose(settings, plan::now_ms(), plan::random);
    host::save(&plan.encode()).map_err(not_saved)?;
    Ok(plan)
}

/// Waits for `left` of the `whole` time, reporting progress in steps of 2 %, at most once a second: each report
/// wakes the guest, and there may be very many guests.
fn wait(left: Duration, whole: Duration) {
    let step = (whole / 50).max(Duration::from_secs(1));
    let start = Instant::now();
    loop {
        let left = left.saturating_sub(start.elapsed());
        let done = 1.0 - left.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE);
        host::progress(done, &format!("waiting, {} s left", left.as_millis().div_ceil(1_000)));
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(step));
    }
}

fn end(ending: Ending) -> Result<String, Failure> {
    match ending {
        Ending::Result(digit) => Ok(format!("io work result = {digit}")),
        Ending::Failure => {
            // The next attempt chooses a new wait and a new outcome.
            host::save(&[]).map_err(not_saved)?;
            Err(failure(FailureKind::Io, "simulated I/O failure".to_owned()))
        }
    }
}

fn not_saved(error: SaveError) -> Failure {
    failure(FailureKind::Other, format!("the plan was not saved: {error}"))
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message, retry: None }
}
