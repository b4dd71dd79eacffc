//! Passes the results of dependencies to a guest: within the input of a task, after the stdin of a program.
//!
//! Called by `instance`. The scheduler has already bounded the results.

use serde::Serialize;
use wasmill_model::DependencyResult;

use crate::guest::program::ProgramInput;

/// A dependency in the JSON input of a task.
#[derive(Serialize)]
struct DependencyJson<'a> {
    id: String,
    outcome: &'static str,
    result: Option<&'a str>,
}

/// Returns the input of a task: `{"input": …, "dependencies": [{"id", "outcome", "result"}, …]}`.
pub(crate) fn wrap_input(input: &str, results: &[DependencyResult]) -> String {
    let view = |results: &DependencyResult| {
        let view = DependencyJson {
            id: results.id.to_string(),
            outcome: results.outcome.as_str(),
            result: results.result.as_deref(),
        };
        serde_json::to_string(&view).expect("strings always serialize")
    };
    let views: Vec<_> = results.iter().map(view).collect();
    format!("{{\"input\":{input},\"dependencies\":[{}]}}", views.join(","))
}

/// Appends the results to the stdin of a program, without separators.
pub(crate) fn append_to_stdin(input: &mut ProgramInput, results: &[DependencyResult]) {
    input.stdin.extend(results.iter().filter_map(|results| results.result.as_deref()));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wasmill_model::{TaskId, TaskState};

    use super::*;

    fn results() -> [DependencyResult; 2] {
        let of = |byte, outcome, result: Option<&str>| DependencyResult {
            id: TaskId::from_bytes([byte; 16]),
            outcome,
            result: result.map(str::to_owned),
        };
        [of(1, TaskState::Completed, Some("two\n\"lines\"")), of(2, TaskState::Failed, None)]
    }

    #[test]
    fn a_task_reads_its_input_and_its_dependency_results() {
        let read: Value = serde_json::from_str(&wrap_input("{\"a\": 1}", &results())).unwrap();
        let expected = json!({
            "input": {"a": 1},
            "dependencies": [
                {
                    "id": "01010101-0101-0101-0101-010101010101", "outcome": "completed",
                    "result": "two\n\"lines\"",
                },
                {"id": "02020202-0202-0202-0202-020202020202", "outcome": "failed", "result": null},
            ],
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn a_program_reads_dependency_results_after_its_stdin() {
        let mut input = ProgramInput { stdin: "first\n".to_owned(), ..ProgramInput::default() };
        append_to_stdin(&mut input, &results());
        assert_eq!(input.stdin, "first\ntwo\n\"lines\"");
    }
}
