//! The variant of `io-stub` for very many tasks at once: it is suspended instead of waiting.
//!
//! The first step chooses the wake-up time and the outcome, and returns them as the state of its suspension; the
//! second step completes the task. In between there is no instance.

mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "suspendable-plugin" });
}
#[path = "../../io-stub/src/plan.rs"]
mod plan;
#[path = "../../io-stub/src/settings.rs"]
mod settings;

use bindings::exports::wasmill::task::resumable_job::{Failure, Guest, Step};
use bindings::wasmill::task::host;
use bindings::wasmill::task::types::{FailureKind, Suspension};
use plan::{Ending, Plan};
use settings::Settings;

struct IoStubSuspended;

impl Guest for IoStubSuspended {
    fn resume(input: String, state: Option<Vec<u8>>) -> Result<Step, Failure> {
        let settings = Settings::parse(&input).map_err(|wrong| failure(FailureKind::InvalidInput, wrong))?;
        let now_ms = plan::now_ms();
        let resumed = state.and_then(|state| Plan::decode(&state));
        let plan = resumed.unwrap_or_else(|| Plan::choose(settings, now_ms, plan::random));
        match plan.left_ms(now_ms) {
            0 => end(plan.ending).map(Step::Done),
            wait_ms => {
                println!("suspended for {wait_ms} ms");
                let wait = wait_ms * 1_000_000;
                Ok(Step::Suspended(Suspension { wait, state: plan.encode() }))
            }
        }
    }
}

bindings::export!(IoStubSuspended with_types_in bindings);

fn end(ending: Ending) -> Result<String, Failure> {
    match ending {
        Ending::Result(digit) => Ok(format!("io work result = {digit}")),
        Ending::Failure => {
            // The next attempt chooses a new wait and a new outcome.
            let saved = host::save(&[]);
            saved.map_err(|error| failure(FailureKind::Other, format!("nothing was saved: {error}")))?;
            Err(failure(FailureKind::Io, "simulated I/O failure".to_owned()))
        }
    }
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message, retry: None }
}
