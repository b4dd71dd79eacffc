//! What operations on all finished tasks that match share: which tasks, how many in one request, and why one stopped.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::TaskState;
use wasmill_store::{Cursor, Filter};

use crate::http::params::{Params, flag, whole_number};
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::task::request::filter;

/// Maximum tasks of a request that asks for a part.
const LIMIT_MAX: u64 = 10_000;

/// What a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BulkParams {
    pub(super) filter: Filter,
    pub(super) dry_run: bool,
    /// Tasks to handle at most; `None` for all.
    pub(super) limit: Option<u64>,
    /// Everything newer than this was handled by an earlier request.
    pub(super) before: Option<Cursor>,
}

/// Why a request stopped.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BulkStopped")]
pub(super) struct StopReasonView {
    /// Code of the problem.
    code: &'static str,
    /// What is wrong and what to do.
    detail: String,
}

impl From<Problem> for StopReasonView {
    fn from(problem: Problem) -> Self {
        Self { code: problem.code(), detail: problem.detail().to_owned() }
    }
}

/// The tasks that an operation selects.
pub(super) struct Selection {
    /// The states that it selects without `state`.
    pub(super) states: &'static [TaskState],
    /// What these are, in words.
    pub(super) words: &'static str,
}

impl Selection {
    /// Parses the parameters.
    pub(super) fn check(&self, params: &Params) -> Result<BulkParams, Problem> {
        let (mut bulk, mut all, mut errors) = (BulkParams::default(), false, FieldErrors::default());
        for (name, value) in params.iter() {
            match name {
                "all" => flag(&mut all, name, value, &mut errors),
                "dry_run" => flag(&mut bulk.dry_run, name, value, &mut errors),
                "limit" => take_limit(&mut bulk.limit, value, &mut errors),
                "cursor" => take_cursor(&mut bulk.before, value, &mut errors),
                name => filter::take(&mut bulk.filter, name, value, &mut errors),
            }
        }
        if let Some(open) = bulk.filter.states.iter().find(|state| !state.is_final()) {
            let detail =
                format!("state must be failed, cancelled or completed; a {open} task has not finished");
            errors.push(FieldError::parameter("state", detail));
        }
        if errors.is_empty() && bulk.filter.is_empty() != all {
            let detail = format!("give either a filter or all=true, which selects every {} task", self.words);
            errors.push(FieldError::parameter("all", detail));
        }
        if bulk.filter.states.is_empty() {
            bulk.filter.states.extend(self.states);
        }
        Problem::reject_errors(errors, bulk)
    }

    /// Documents the parameters.
    pub(super) fn add_parameters(&self, operation: Operation) -> Operation {
        let flag = json!({"type": "boolean", "default": false});
        let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX});
        let cursor = json!({"type": "string", "pattern": "^0*[0-9A-Fa-f]{1,32}$"});
        let operation = operation
            .query("all", format!("Select every {} task.", self.words), &flag)
            .query("dry_run", "Only count the matching tasks.", &flag)
            .query("limit", "Stop after this many tasks; all without it.", &limit)
            .query("cursor", "Continue where an earlier request stopped: its `next`.", &cursor);
        let ended: Vec<_> = TaskState::ALL.into_iter().filter(|state| state.is_final()).collect();
        filter::add_parameters(operation, &ended)
    }
}

fn take_limit(limit: &mut Option<u64>, value: &str, errors: &mut FieldErrors) {
    *limit = whole_number(value).filter(|limit| (1..=LIMIT_MAX).contains(limit));
    if limit.is_none() {
        let detail = format!("limit must be an integer from 1 to {LIMIT_MAX}");
        errors.push(FieldError::parameter("limit", detail));
    }
}

fn take_cursor(before: &mut Option<Cursor>, value: &str, errors: &mut FieldErrors) {
    *before = value.parse().ok();
    if before.is_none() {
        errors.push(FieldError::parameter("cursor", "cursor must be the `next` of an earlier response"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::Param;

    const FAILED: Selection = Selection { states: &[TaskState::Failed], words: "failed" };

    fn read(query: &str) -> Result<BulkParams, Vec<String>> {
        let names = ["all", "dry_run", "limit", "cursor", "state", "plugin"];
        let known = names.map(|name| Param { name: name.to_owned(), is_list: name == "state" });
        let params = Params::read(Some(query), &known).map_err(|_| Vec::new())?;
        FAILED.check(&params).map_err(|problem| {
            let errors = serde_json::to_value(problem.errors()).expect("JSON");
            let parameter = |error: &serde_json::Value| error["parameter"].as_str().map(str::to_owned);
            errors.as_array().expect("a list").iter().filter_map(parameter).collect()
        })
    }

    #[test]
    fn a_request_names_a_filter_or_all_and_may_ask_for_a_part() {
        let part = read("plugin=noop&limit=500&cursor=1f").expect("valid");
        assert_eq!((part.limit, part.before), (Some(500), Some(Cursor(0x1f))));
        assert_eq!((part.filter.states, part.dry_run), (vec![TaskState::Failed], false));
        let all = read("all=true&dry_run=true").expect("valid");
        assert_eq!((all.filter.states, all.dry_run, all.limit), (vec![TaskState::Failed], true, None));
        let stated = read("state=cancelled").expect("valid");
        assert_eq!(stated.filter.states, [TaskState::Cancelled]);
        for (query, parameter) in [
            ("", "all"),
            ("limit=5", "all"),
            ("plugin=noop&all=true", "all"),
            ("all=true&limit=0", "limit"),
            ("all=true&limit=10001", "limit"),
            ("all=true&limit=-1", "limit"),
            ("all=true&cursor=x", "cursor"),
            ("state=running", "state"),
        ] {
            assert_eq!(read(query), Err(vec![parameter.to_owned()]), "{query}");
        }
    }
}
