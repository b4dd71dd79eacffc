//! What the dashboard shows of this installation.

use clap::ValueEnum;

const NAME_CHARS_MAX: usize = 32;
const TRACE_ID: &str = "{trace_id}";

/// The colour of a name on the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// Such as for production
    Red,
    /// Such as for a rehearsal
    Amber,
    /// Such as for development
    Green,
    /// Anything
    Blue,
}

impl Colour {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Amber => "amber",
            Self::Green => "green",
            Self::Blue => "blue",
        }
    }
}

/// Checks the name of an installation.
pub(super) fn parse_ui_name(text: &str) -> Result<String, String> {
    let is_name = (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let expected = || format!("expected 1 to {NAME_CHARS_MAX} characters without control characters");
    is_name.then(|| text.to_owned()).ok_or_else(expected)
}

/// Checks the address of traces. Other schemes than HTTP could run script in a page.
pub(super) fn parse_trace_url(text: &str) -> Result<String, String> {
    let is_http = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    if !is_http || text.chars().any(char::is_control) {
        return Err("expected a URL with http:// or https://".to_owned());
    }
    if text.contains(TRACE_ID) {
        Ok(text.to_owned())
    } else {
        Err(format!("the URL has no {TRACE_ID}, where the id goes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_a_trace_url_is_http_with_an_id() {
        assert!(parse_ui_name("production").is_ok());
        assert!(["", "a\nb", &"x".repeat(33)].into_iter().all(|name| parse_ui_name(name).is_err()));
        assert!(parse_trace_url("https://jaeger/trace/{trace_id}").is_ok());
        for url in ["javascript:alert({trace_id})", "https://jaeger/trace", "", "//jaeger/{trace_id}"] {
            assert!(parse_trace_url(url).is_err(), "{url}");
        }
    }
}
