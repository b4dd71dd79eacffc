//! What browsers send, and where they may be sent.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Maximum length of a path to return to.
const PATH_CHARS_MAX: usize = 2_000;

/// Returns true if the client names HTML among what it accepts. A program asks for JSON or for anything.
pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepts.flat_map(|value| value.split(','));
    kinds.any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
}

/// Returns true for a path that leads nowhere but to this server.
pub(crate) fn is_own_path(path: &str) -> bool {
    let is_path = path.starts_with('/') && !path.starts_with("//") && path.len() <= PATH_CHARS_MAX;
    // Browsers take a backslash for a slash.
    is_path && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Sends a browser to a location, relative to the path of its request; to the parent of that if it is no header value.
pub(crate) fn redirect(location: &str) -> Response {
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("./"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_returns_to_a_path_of_this_server_only() {
        for own in ["/", "/ui/tasks?state=failed", "/x/y/ui/task/1#log"] {
            assert!(is_own_path(own), "{own}");
        }
        for foreign in
            ["", "ui", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/ü", "/a b"]
        {
            assert!(!is_own_path(foreign), "{foreign}");
        }
        assert!(!is_own_path(&format!("/{}", "x".repeat(PATH_CHARS_MAX))));
    }
}
