//! Problems of pages, as pages.

use axum::http::{Method, header};
use axum::response::Response;
use wasmill_ui::problem::{FieldError, Problem as Shown, page};

use crate::problem::Problem;
use crate::service::identity_provider::SignsIn;
use crate::ui::page::{empty_site, html};

/// The operations below `/ui` that are part of the interface.
const OPERATIONS: [&str; 2] = ["/ui/login", "/ui/logout"];

/// Returns true if this is a request for a page, whose reader wants HTML.
pub(crate) fn is_page(method: &Method, path: &str) -> bool {
    let is_below = path.strip_prefix("/ui").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // One of them has the path of a page, too.
    is_below && (!OPERATIONS.contains(&path) || matches!(*method, Method::GET | Method::HEAD))
}

/// Shows a problem as a page for this path.
pub(crate) fn problem_page(problem: &Problem, path: &str, signs_in: Option<&SignsIn>) -> Response {
    let shown = shown(problem);
    let status = problem.status();
    let provider = signs_in.map(|SignsIn(name)| name.as_str());
    let mut response = html(page(&shown, root(path), provider).whole(&empty_site()));
    *response.status_mut() = status;
    if let Some(seconds) = problem.retry_after_secs() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Returns what a page shows of a problem.
pub(crate) fn shown(problem: &Problem) -> Shown {
    Shown {
        status: problem.status().as_u16(),
        title: problem.title().to_owned(),
        code: problem.code().to_owned(),
        detail: problem.detail().to_owned(),
        errors: errors(problem),
    }
}

fn errors(problem: &Problem) -> Vec<FieldError> {
    let errors = serde_json::to_value(problem.errors()).and_then(serde_json::from_value);
    errors.unwrap_or_default()
}

/// Returns the way from a page to the root of the server.
fn root(path: &str) -> &'static str {
    match path.matches('/').count() {
        0 | 1 => "./",
        2 => "../",
        3 => "../../",
        _ => "../../../",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_below_ui() {
        let is_shown = |path| is_page(&Method::GET, path);
        assert!(["/ui", "/ui/", "/ui/task/x", "/ui/login"].into_iter().all(is_shown));
        assert!(!["/", "/task", "/uix", "/task/ui/"].into_iter().any(is_shown));
        let is_form = |path| is_page(&Method::POST, path);
        assert!(is_form("/ui/do") && !is_form("/ui/login") && !is_form("/ui/logout"));
    }

    #[test]
    fn the_way_to_the_root_is_relative() {
        assert_eq!(
            [root("/ui"), root("/ui/tasks"), root("/ui/task/x"), root("/ui/task/x/log")],
            ["./", "../", "../../", "../../../"]
        );
    }
}
