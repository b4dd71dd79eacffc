//! The report of the doctor: lines for people, or JSON.

use serde::Serialize;

use crate::output::{data, out};
use crate::terminal::style::Style;

/// The state of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It works, but degraded.
    Warn,
    /// `serve` does not start, or cannot do what its settings say.
    Fail,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    name: &'static str,
    state: State,
    found: String,
    /// The effect of the problem.
    cost: Option<String>,
    /// How to fix it, in one line.
    fix: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), cost: None, fix: None }
    }

    pub(super) fn warn(
        name: &'static str,
        found: impl Into<String>,
        cost: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (cost, fix) = (Some(cost.into()), Some(fix.into()));
        Self { name, state: State::Warn, found: found.into(), cost, fix }
    }

    pub(super) fn fail(
        name: &'static str,
        found: impl Into<String>,
        cost: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { state: State::Fail, ..Self::warn(name, found, cost, fix) }
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> State {
        self.state
    }
}

/// All checks.
#[derive(Debug, Serialize)]
pub(super) struct DoctorReport {
    version: &'static str,
    ok: bool,
    checks: Vec<Check>,
}

impl DoctorReport {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        let ok = checks.iter().all(|check| check.state != State::Fail);
        Self { version: env!("CARGO_PKG_VERSION"), ok, checks }
    }

    /// Returns true if nothing failed.
    pub(super) fn is_ok(&self) -> bool {
        self.ok
    }

    /// Prints the report to stdout.
    pub(super) fn print(&self, json: bool) {
        if json {
            data!("{}", serde_json::to_string_pretty(self).expect("plain data can be written as JSON"));
            return;
        }
        let style = Style::stdout();
        for check in &self.checks {
            let Check { name, found, .. } = check;
            out!("{} {name:<14} {found}", word(check.state, style));
            for (what, text) in [("costs", &check.cost), ("fix", &check.fix)] {
                if let Some(text) = text {
                    out!("       {what:<5} {text}");
                }
            }
        }
        let count = |state| self.checks.iter().filter(|check| check.state == state).count();
        out!(
            "{} checks: {} ok, {} warn, {} fail",
            self.checks.len(),
            count(State::Ok),
            count(State::Warn),
            count(State::Fail)
        );
    }
}

fn word(state: State, style: Style) -> String {
    match state {
        State::Ok => style.green("ok  "),
        State::Warn => style.yellow("warn"),
        State::Fail => style.red("FAIL"),
    }
}
