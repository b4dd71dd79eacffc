//! The report of the doctor: lines for people, or JSON.

use serde::Serialize;
pub(super) use wasmill_api::{Check, CheckState as State};

use crate::output::{data, out};
use crate::terminal::style::Style;

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
