//! One check of the doctor: what was found, what it costs, and how to mend it.
//!
//! The command `wasmill doctor` prints them, and `GET /doctor` returns them.

use schemars::JsonSchema;
use serde::Serialize;

/// The state of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// It works, but degraded.
    Warn,
    /// `serve` does not start, or cannot do what its settings say.
    Fail,
}

/// One check.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub state: CheckState,
    /// What was found.
    pub found: String,
    /// The effect of the problem.
    pub cost: Option<String>,
    /// How to fix it, in one line.
    pub fix: Option<String>,
}

impl Check {
    /// Creates a check that found nothing wrong.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: CheckState::Ok, found: found.into(), cost: None, fix: None }
    }

    /// Creates a check of something that works less well than it should.
    pub fn warn(
        name: &'static str,
        found: impl Into<String>,
        cost: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (cost, fix) = (Some(cost.into()), Some(fix.into()));
        Self { name, state: CheckState::Warn, found: found.into(), cost, fix }
    }

    /// Creates a check of something that does not work.
    pub fn fail(
        name: &'static str,
        found: impl Into<String>,
        cost: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { state: CheckState::Fail, ..Self::warn(name, found, cost, fix) }
    }

    /// Returns its state.
    pub fn state(&self) -> CheckState {
        self.state
    }
}
