//! Asks people for their approval, and waits for it without an instance.
//!
//! An answer is an event that somebody posts to the task: `{"approved": true}`, or `true`. The task ends with enough
//! approvals, with the first refusal, or when the time is over. Its state is the answers so far; an event that a run has
//! received is gone once that state is stored, so each answer counts exactly once.

mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "suspendable-plugin" });
}
mod poll;

use std::time::{SystemTime, UNIX_EPOCH};

use bindings::exports::wasmill::task::resumable_job::{Failure, Guest, Step};
use bindings::wasmill::task::host;
use bindings::wasmill::task::types::{FailureKind, Suspension, WakeOn};
use poll::{Poll, Question};

struct Approval;

impl Guest for Approval {
    fn resume(input: String, state: Option<Vec<u8>>) -> Result<Step, Failure> {
        let question = Question::parse(&input).map_err(invalid_input)?;
        let now_ms = now_ms();
        let mut poll = match state {
            Some(state) => Poll::decode(&state).map_err(invalid_input)?,
            None => {
                println!("{}", question.text);
                Poll::until(now_ms.saturating_add(question.within_ms))
            }
        };
        while let Some(event) = host::next_event() {
            match poll.count(event.name, &event.payload) {
                Ok(answer) => println!("{answer}"),
                Err(why) => println!("ignored an event: {why}"),
            }
        }
        if let Some(result) = poll.result(question.approvals, now_ms) {
            return Ok(Step::Done(result));
        }
        let wait = poll.left_ms(now_ms).saturating_mul(1_000_000);
        Ok(Step::Suspended(Suspension { wait, wake_on: WakeOn::EVENT, state: poll.encode() }))
    }
}

bindings::export!(Approval with_types_in bindings);

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn invalid_input(message: String) -> Failure {
    Failure { kind: FailureKind::InvalidInput, message, retry: None }
}
