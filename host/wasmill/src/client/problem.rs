//! Converts a server's error response to an error for a terminal, with a fitting exit code.

use hyper::StatusCode;
use serde::Deserialize;

use crate::exit::{Exit, cli_error};
use crate::terminal::text::truncated;

/// Maximum columns shown of a response that is not a problem document, such as a proxy's.
const FOREIGN_COLUMNS: usize = 100;

/// The shown parts of `application/problem+json`, RFC 9457.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    code: String,
    errors: Vec<FieldError>,
}

#[derive(Deserialize)]
struct FieldError {
    pointer: Option<String>,
    parameter: Option<String>,
    detail: String,
}

/// Returns the code of a problem; empty if it is not a problem.
pub(crate) fn code(body: &[u8]) -> String {
    serde_json::from_slice::<Problem>(body).map(|problem| problem.code).unwrap_or_default()
}

/// Returns the error for a response that is not a success.
pub(crate) fn to_error(server: &str, status: StatusCode, body: &[u8]) -> anyhow::Error {
    let problem = serde_json::from_slice::<Problem>(body).ok().filter(|problem| !problem.detail.is_empty());
    let Some(problem) = problem else {
        let said = truncated(String::from_utf8_lossy(body).trim(), FOREIGN_COLUMNS);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let message = format!(
            "{server} answered {status}, but not as wasmill does: another program uses this address, or a proxy \
             stands before it{said}"
        );
        return cli_error(exit(status), message);
    };
    if problem.code == "unknown-route" {
        let message = format!(
            "{server} does not support this request ({}); it may be an older wasmill or another program",
            problem.detail
        );
        return cli_error(Exit::NotFound, message);
    }
    // Details of the API name its routes; this program's users need its commands instead.
    let message = message(&problem)
        .replace("GET /schedules lists", "`wasmill schedule list` shows")
        .replace("GET /plugins lists", "`wasmill plugin list` shows");
    cli_error(exit(status), message)
}

fn message(problem: &Problem) -> String {
    let Problem { title, detail, errors, .. } = problem;
    if errors.len() < 2 {
        return detail.clone();
    }
    let mut message = title.to_lowercase();
    for FieldError { pointer, parameter, detail } in errors {
        let place = pointer.as_deref().or(parameter.as_deref()).unwrap_or_default();
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        message.push_str(&format!("\n  {place}{detail}"));
    }
    // Servers list a few of many errors and end the detail with the number of the others.
    if let Some((_, more)) = detail.rsplit_once("; ").filter(|(_, last)| last.ends_with(" more")) {
        message.push_str(&format!("\n  {more}"));
    }
    message
}

fn exit(status: StatusCode) -> Exit {
    match status {
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::CONFLICT => Exit::Conflict,
        StatusCode::TOO_MANY_REQUESTS => Exit::Unreachable,
        status if status.is_server_error() => Exit::Unreachable,
        status if status.is_client_error() => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    #[track_caller]
    fn said(status: u16, body: &str) -> (Exit, String) {
        let error = to_error("http://host", StatusCode::from_u16(status).unwrap(), body.as_bytes());
        (exit::code_of(&error), error.to_string())
    }

    #[test]
    fn a_problem_is_shown_by_its_detail() {
        let body = r#"{"title":"No such task","detail":"there is no task 7","code":"unknown-task"}"#;
        assert_eq!(said(404, body), (Exit::NotFound, "there is no task 7".to_owned()));
    }

    #[test]
    fn each_of_several_errors_has_a_line() {
        let body = r#"{"title":"Request is wrong","detail":"a; b; and 7 more","code":"invalid-request","errors":[
            {"pointer":"/timeout","detail":"timeout must be a string"},
            {"parameter":"grace","detail":"grace must be a time"}]}"#;
        let (exit, message) = said(422, body);
        assert_eq!(exit, Exit::Usage);
        assert_eq!(
            message,
            "request is wrong\n  /timeout: timeout must be a string\n  grace: grace must be a time\n  and 7 more"
        );
    }

    #[test]
    fn a_foreign_response_is_truncated_and_sanitized() {
        let (exit, message) = said(502, &format!("<html>\x1b[2J{}", "x".repeat(10_000)));
        assert_eq!(exit, Exit::Unreachable);
        assert!(
            message.starts_with("http://host answered 502 Bad Gateway, but not as wasmill does"),
            "{message}"
        );
        assert!(message.contains("before it: <html>"), "{message}");
        assert!(message.chars().count() < 300 && !message.contains('\x1b'), "{message}");
        assert!(said(500, "").1.ends_with("or a proxy stands before it"));
    }

    #[test]
    fn an_unknown_route_is_distinguished_from_an_unknown_task() {
        let (exit, message) = said(404, r#"{"detail":"there is nothing at /x","code":"unknown-route"}"#);
        assert_eq!(exit, Exit::NotFound);
        assert!(message.contains("does not support this request"), "{message}");
    }

    #[test]
    fn each_class_of_errors_has_its_exit_code() {
        for (status, exit) in [
            (400, Exit::Usage),
            (403, Exit::Usage),
            (409, Exit::Conflict),
            (413, Exit::Usage),
            (429, Exit::Unreachable),
            (503, Exit::Unreachable),
        ] {
            assert_eq!(said(status, "").0, exit, "{status}");
        }
    }
}
