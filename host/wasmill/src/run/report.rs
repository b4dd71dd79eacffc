//! The outcome of a run: for people, for scripts, as an exit code.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use wasmill_model::{Cause, PluginName, Usage};

use super::attempt::AttemptOutcome;
use crate::exit::Exit;
use crate::output::{self, data, note};
use crate::terminal::style::Style;
use crate::terminal::text::{format_bytes, format_duration};

/// The report of a finished run.
pub(crate) struct RunReport {
    plugin: String,
    digest: String,
    attempt: u32,
    took: Duration,
    pub(crate) usage: Usage,
    pub(crate) end: AttemptOutcome,
}

impl RunReport {
    pub(super) fn new(
        plugin: &PluginName,
        digest: String,
        attempt: u32,
        took: Duration,
        usage: Usage,
        end: AttemptOutcome,
    ) -> Self {
        Self { plugin: plugin.to_string(), digest, attempt, took, usage, end }
    }

    /// The report of a run that was stopped before its plugin was ready.
    pub(super) fn stopped_early(plugin: &str) -> Self {
        Self {
            plugin: plugin.to_owned(),
            digest: String::new(),
            attempt: 0,
            took: Duration::ZERO,
            usage: Usage::default(),
            end: AttemptOutcome::Stopped,
        }
    }

    pub(super) fn exit(&self) -> Exit {
        match &self.end {
            AttemptOutcome::Completed(_) => Exit::Done,
            AttemptOutcome::Failed(_) => Exit::Failed,
            AttemptOutcome::Stopped => Exit::Cancelled,
        }
    }

    /// Prints the result on stdout and a summary on stderr: always on a terminal, elsewhere only if there is no
    /// result.
    pub(super) fn print(&self, is_quiet: bool) {
        let style = Style::stderr();
        let is_watched = std::io::IsTerminal::is_terminal(&std::io::stderr()) && !is_quiet;
        match &self.end {
            AttemptOutcome::Completed(result) => {
                if is_watched {
                    note!("{} {}", style.green("completed"), style.dim(self.costs()));
                }
                let is_base64 = result.r#type.as_ref().is_some_and(|result| result.is_base64);
                output::result(&result.text, is_base64);
            }
            AttemptOutcome::Failed(failure) => {
                let failed = style.red(format!("failed by {}", failure.cause.words()));
                let costs = if is_watched { format!(" {}", style.dim(self.costs())) } else { String::new() };
                note!("{failed}{costs}");
                // The message of a program that exits is the end of its stderr, which was just shown.
                if is_quiet || !matches!(failure.cause, Cause::Exit(_)) {
                    note!("{}", failure.message.trim_end());
                }
            }
            AttemptOutcome::Stopped if is_watched => {
                note!("{} {}", style.yellow("stopped"), style.dim(self.costs()));
            }
            AttemptOutcome::Stopped => note!("stopped"),
        }
    }

    fn costs(&self) -> String {
        let Usage { cpu, memory_bytes, .. } = self.usage;
        format!(
            "in {}, {} ms computing, {} memory",
            format_duration(self.took),
            cpu.as_millis(),
            format_bytes(memory_bytes)
        )
    }

    /// Prints the report as one JSON object on stdout, with the keys of the API.
    pub(super) fn print_json(&self) -> Result<()> {
        let (state, status, result, error) = match &self.end {
            AttemptOutcome::Completed(result) => ("completed", "completed".to_owned(), Some(result), None),
            AttemptOutcome::Failed(failure) => {
                let error = json!({ "cause": failure.cause.to_string(), "message": failure.message });
                ("failed", format!("failed by {}", failure.cause.words()), None, Some(error))
            }
            AttemptOutcome::Stopped => ("cancelled", "cancelled".to_owned(), None, None),
        };
        let result_type = result.and_then(|result| result.r#type.as_ref());
        let report = json!({
            "state": state,
            "status": status,
            "plugin": self.plugin,
            "plugin_digest": self.digest,
            "attempt": self.attempt,
            "duration_ms": u64::try_from(self.took.as_millis())?,
            "result": result.map(|result| &result.text),
            "result_type": result_type.map(|result| result.media.as_str()),
            "result_encoding": result_type.filter(|result| result.is_base64).map(|_| "base64"),
            "error": error,
            "usage": wasmill_api::usage_view(&self.usage),
        });
        data!("{report}");
        Ok(())
    }
}
