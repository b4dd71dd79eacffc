//! The question, the answers so far, and what they amount to.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Seven days.
const WITHIN_MS: u64 = 7 * 86_400_000;

/// The input of a task.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    #[serde(rename = "question")]
    pub text: String,
    /// How many have to approve.
    #[serde(default = "one")]
    pub approvals: usize,
    /// How long to wait for them.
    #[serde(default = "within_ms")]
    pub within_ms: u64,
}

impl Question {
    pub fn parse(input: &str) -> Result<Self, String> {
        let question: Self = serde_json::from_str(input).map_err(|error| error.to_string())?;
        if question.approvals == 0 { Err("approvals must be at least 1".to_owned()) } else { Ok(question) }
    }
}

fn one() -> usize {
    1
}

fn within_ms() -> u64 {
    WITHIN_MS
}

/// The state of a task.
#[derive(Serialize, Deserialize)]
pub struct Poll {
    deadline_ms: u64,
    answers: Vec<Answer>,
}

/// An answer that counts.
#[derive(Serialize, Deserialize)]
struct Answer {
    /// The name of its event: of several answers with one name, the first counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    approved: bool,
    /// What came with it.
    payload: Value,
}

#[derive(Serialize)]
struct Outcome<'a> {
    approved: bool,
    expired: bool,
    answers: &'a [Answer],
}

impl Poll {
    pub fn until(deadline_ms: u64) -> Self {
        Self { deadline_ms, answers: Vec::new() }
    }

    pub fn decode(state: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(state).map_err(|error| format!("the state is damaged: {error}"))
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state can be written as JSON")
    }

    /// Counts an answer, and says in a line what it is.
    pub fn count(&mut self, from: Option<String>, payload: &str) -> Result<String, String> {
        let payload: Value = serde_json::from_str(payload).map_err(|error| error.to_string())?;
        let approved = payload.as_bool().or_else(|| payload.get("approved")?.as_bool());
        let approved = approved.ok_or("it says neither true nor false")?;
        if from.is_some() && self.answers.iter().any(|answer| answer.from == from) {
            return Err(format!("{} has answered before", from.unwrap_or_default()));
        }
        let line = format!(
            "{}{}",
            if approved { "approved" } else { "refused" },
            from.as_ref().map(|from| format!(" by {from}")).unwrap_or_default()
        );
        self.answers.push(Answer { from, approved, payload });
        Ok(line)
    }

    /// Returns the result once there is one.
    pub fn result(&self, approvals: usize, now_ms: u64) -> Option<String> {
        let is_refused = self.answers.iter().any(|answer| !answer.approved);
        let approved = !is_refused && self.answers.len() >= approvals;
        let expired = !is_refused && !approved && self.left_ms(now_ms) == 0;
        if !is_refused && !approved && !expired {
            return None;
        }
        let outcome = Outcome { approved, expired, answers: &self.answers };
        Some(serde_json::to_string(&outcome).expect("a result can be written as JSON"))
    }

    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.deadline_ms.saturating_sub(now_ms)
    }
}
