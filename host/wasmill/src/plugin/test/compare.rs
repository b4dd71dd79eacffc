//! Compares how a task ended with what its case expects.

use serde_json::Value;
use wasmill_model::{Failure, TaskResult, Usage};

use super::cases::{Case, CaseLimits, Expected};
use super::diff;
use crate::run::AttemptOutcome;
use crate::terminal::text::{format_bytes, truncated};

/// Maximum columns of a text that is quoted in one line.
const QUOTED_COLUMNS: usize = 400;

/// Returns what differs; nothing if the case passed.
pub(super) fn mismatches(case: &Case, end: &AttemptOutcome, usage: &Usage, log: &str) -> Vec<String> {
    let mut wrong = match (&case.expected, end) {
        (Expected::Failure(cause, message), AttemptOutcome::Failed(failure)) => {
            if cause.matches(&failure.cause.to_string()) {
                missing("the message", &failure.message, message)
            } else {
                vec![format!("it should fail with \"{cause}\", but {}", failed(failure))]
            }
        }
        (Expected::Failure(cause, _), AttemptOutcome::Completed(result)) => {
            vec![format!("it should fail with \"{cause}\", but completed: {}", quoted(&result.text))]
        }
        (_, AttemptOutcome::Failed(failure)) => vec![format!("it should complete, but {}", failed(failure))],
        (expected, AttemptOutcome::Completed(result)) => differences(expected, result),
        (_, AttemptOutcome::Stopped) => vec!["it was stopped".to_owned()],
    };
    wrong.extend(missing("the log", log, &case.log));
    wrong.extend(exceeded(&case.limits, usage));
    wrong
}

fn failed(failure: &Failure) -> String {
    format!("failed with \"{}\": {}", failure.cause, quoted(failure.message.trim_end()))
}

fn differences(expected: &Expected, result: &TaskResult) -> Vec<String> {
    let got = &result.text;
    match expected {
        Expected::Text(text) if text != got => {
            vec![format!("the result differs:\n{}", diff::lines(text, got))]
        }
        Expected::Json(value) => match serde_json::from_str::<Value>(got) {
            Ok(parsed) if parsed == *value => Vec::new(),
            Ok(parsed) => {
                // The keys of both are in the same order.
                let difference = diff::lines(&format!("{value:#}"), &format!("{parsed:#}"));
                vec![format!("the result differs:\n{difference}")]
            }
            Err(error) => vec![format!("the result is no JSON ({error}): {}", quoted(got))],
        },
        Expected::Containing(texts) => missing("the result", got, texts),
        Expected::Text(_) | Expected::Failure(..) => Vec::new(),
    }
}

/// Tells each text that is not in the whole.
fn missing(what: &str, whole: &str, texts: &[String]) -> Vec<String> {
    let missing = texts.iter().filter(|text| !whole.contains(text.as_str()));
    missing.map(|text| format!("{what} has no {}: {}", quoted(text), quoted(whole))).collect()
}

fn exceeded(limits: &CaseLimits, usage: &Usage) -> Vec<String> {
    let bytes = |what: &str, limit: Option<u64>, used: u64| {
        let limit = limit.filter(|limit| used > *limit)?;
        let [used_shown, limit_shown] = [used, limit].map(format_bytes);
        Some(format!(
            "it used {used_shown} ({used} bytes) of {what}, more than {limit_shown} ({limit} bytes)"
        ))
    };
    let cpu = limits.cpu.filter(|limit| usage.cpu > *limit);
    let requests = limits.http_requests.filter(|limit| usage.http_requests > *limit);
    [
        bytes("memory", limits.memory_bytes, usage.memory_bytes),
        bytes("log", limits.log_bytes, usage.log_bytes),
        bytes("disk", limits.disk_bytes, usage.disk_written_bytes),
        cpu.map(|limit| format!("it computed for {:?}, more than {limit:?}", usage.cpu)),
        requests.map(|limit| format!("it sent {} HTTP requests, more than {limit}", usage.http_requests)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns a text in quotes, with its line ends as escapes.
fn quoted(text: &str) -> String {
    truncated(&format!("{text:?}"), QUOTED_COLUMNS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use wasmill_model::Cause;

    use super::*;

    fn case(expected: Expected) -> Case {
        Case {
            name: "a case".to_owned(),
            input: None,
            expected,
            log: Vec::new(),
            timeout: None,
            attempts_max: 1,
            limits: CaseLimits::default(),
        }
    }

    fn completed(text: &str) -> AttemptOutcome {
        AttemptOutcome::Completed(TaskResult { text: text.to_owned(), r#type: None })
    }

    fn failed_with(cause: Cause) -> AttemptOutcome {
        AttemptOutcome::Failed(Failure::new(cause, "no such host"))
    }

    #[test]
    fn what_is_as_expected_has_no_mismatch() {
        let texts = |text: &str| vec![text.to_owned()];
        for (expected, end) in [
            (Expected::Text("a".to_owned()), completed("a")),
            (Expected::Json(json!({"a": 1, "b": [2.0]})), completed(r#"{ "b": [2.0], "a": 1 }"#)),
            (Expected::Containing(Vec::new()), completed("anything")),
            (Expected::Containing(texts("thing")), completed("anything")),
            (Expected::Failure("io".parse().unwrap(), texts("host")), failed_with(Cause::Io)),
            (Expected::Failure("exit".parse().unwrap(), Vec::new()), failed_with(Cause::Exit(3))),
        ] {
            let case = case(expected);
            assert_eq!(mismatches(&case, &end, &Usage::default(), ""), [""; 0], "{case:?}");
        }
    }

    #[test]
    fn a_mismatch_names_both_sides() {
        for (expected, end, said) in [
            (Expected::Text("a".to_owned()), completed("b"), "- a\n+ b"),
            (Expected::Json(json!({"a": 1})), completed(r#"{"a": 2}"#), "-   \"a\": 1\n+   \"a\": 2"),
            (Expected::Json(json!(1)), completed("one"), "no JSON (expected value"),
            (Expected::Containing(vec!["x".to_owned()]), completed("a\nb"), r#"has no "x": "a\nb""#),
            (Expected::Text("a".to_owned()), failed_with(Cause::Io), r#"failed with "io": "no such host""#),
            (Expected::Failure("io".parse().unwrap(), Vec::new()), completed("a"), r#"but completed: "a""#),
            (
                Expected::Failure("io".parse().unwrap(), Vec::new()),
                failed_with(Cause::Trap),
                r#"with "trap""#,
            ),
            (
                Expected::Failure("io".parse().unwrap(), vec!["x".to_owned()]),
                failed_with(Cause::Io),
                "no \"x\"",
            ),
        ] {
            let wrong = mismatches(&case(expected), &end, &Usage::default(), "");
            assert!(wrong.len() == 1 && wrong[0].contains(said), "{wrong:?}");
        }
    }

    #[test]
    fn limits_and_log_are_compared_as_well() {
        let limits = CaseLimits {
            memory_bytes: Some(65_536),
            cpu: Some(Duration::from_millis(5)),
            log_bytes: Some(0),
            disk_bytes: Some(10),
            http_requests: Some(1),
        };
        let case = Case { limits, log: vec!["done".to_owned()], ..case(Expected::Containing(Vec::new())) };
        let within =
            Usage { memory_bytes: 65_536, disk_written_bytes: 10, http_requests: 1, ..Usage::default() };
        assert_eq!(mismatches(&case, &completed(""), &within, "done\n"), [""; 0]);
        let beyond = Usage {
            memory_bytes: 131_072,
            cpu: Duration::from_millis(6),
            log_bytes: 1,
            disk_written_bytes: 11,
            http_requests: 2,
            ..within
        };
        let wrong = mismatches(&case, &completed(""), &beyond, "");
        assert_eq!(wrong.len(), 6, "{wrong:?}");
        assert!(wrong[1].contains("131072 bytes") && wrong[1].contains("65536 bytes"), "{wrong:?}");
    }
}
