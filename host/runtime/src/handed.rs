//! How a guest gets the results of the tasks that its own one waited for: a `task` within its input, a program
//! behind its stdin.
//!
//! `instance` calls it. What is handed over comes from the scheduler, already bounded.

use serde::Serialize;
use wasmill_model::DependencyResult;

use crate::program::ProgramInput;

/// One of those tasks, as a guest reads it.
#[derive(Serialize)]
struct View<'a> {
    id: String,
    outcome: &'static str,
    result: Option<&'a str>,
}

/// Returns the input of a `task`: `{"input": …, "dependencies": [{"id", "outcome", "result"}, …]}`.
pub(crate) fn within(input: &str, handed: &[DependencyResult]) -> String {
    let view = |handed: &DependencyResult| {
        let view = View {
            id: handed.id.to_string(),
            outcome: handed.outcome.as_str(),
            result: handed.result.as_deref(),
        };
        serde_json::to_string(&view).expect("texts alone can be written as JSON")
    };
    let views: Vec<_> = handed.iter().map(view).collect();
    format!("{{\"input\":{input},\"dependencies\":[{}]}}", views.join(","))
}

/// Puts the results behind the stdin of a program, one after the other and nothing in between.
pub(crate) fn behind(input: &mut ProgramInput, handed: &[DependencyResult]) {
    input.stdin.extend(handed.iter().filter_map(|handed| handed.result.as_deref()));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wasmill_model::{TaskId, TaskState};

    use super::*;

    fn handed() -> [DependencyResult; 2] {
        let of = |byte, outcome, result: Option<&str>| DependencyResult {
            id: TaskId::from_bytes([byte; 16]),
            outcome,
            result: result.map(str::to_owned),
        };
        [of(1, TaskState::Completed, Some("two\n\"lines\"")), of(2, TaskState::Failed, None)]
    }

    #[test]
    fn a_task_reads_its_own_input_and_what_it_is_handed() {
        let read: Value = serde_json::from_str(&within("{\"a\": 1}", &handed())).unwrap();
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
    fn a_program_reads_the_results_behind_its_own_stdin() {
        let mut input = ProgramInput { stdin: "first\n".to_owned(), ..ProgramInput::default() };
        behind(&mut input, &handed());
        assert_eq!(input.stdin, "first\ntwo\n\"lines\"");
    }
}
