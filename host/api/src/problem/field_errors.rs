//! Collects the validation errors of a request.
//!
//! The response does not grow with the request: a bounded number of errors is listed, each with bounded text,
//! and the rest are counted. All quoted client text is truncated here.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

/// Maximum number of errors listed in one response.
pub(crate) const ERRORS_MAX: usize = 10;

/// Maximum JSON bytes of a pointer or parameter name, and of a detail.
const NAME_BYTES_MAX: usize = 200;
const DETAIL_BYTES_MAX: usize = 500;

/// Maximum JSON bytes quoted from one client text.
const QUOTED_BYTES_MAX: usize = 120;

/// One validation error.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct FieldError {
    /// JSON pointer into the body, truncated if long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// Name of the query parameter, truncated if long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// What is wrong and what is expected.
    pub(crate) detail: String,
    /// The valid names; a response lists them once, with the first error that has them.
    #[serde(skip)]
    known: Option<&'static [&'static str]>,
}

impl FieldError {
    /// Creates an error for a top-level field of the body.
    pub(crate) fn field(name: &str, detail: impl Into<String>) -> Self {
        Self::at(format!("/{}", escaped(name)), detail)
    }

    /// Creates an error for the whole body.
    pub(crate) fn body(detail: impl Into<String>) -> Self {
        Self::at(String::new(), detail)
    }

    /// Creates an error for a JSON pointer.
    pub(crate) fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into(), known: None }
    }

    /// Creates an error for a query parameter.
    pub(crate) fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.to_owned()), detail: detail.into(), known: None }
    }

    /// Adds the valid names.
    pub(crate) fn known(self, known: &'static [&'static str]) -> Self {
        Self { known: Some(known), ..self }
    }

    fn cut(self) -> Self {
        let cut = |text: String, bytes_max| match truncated(&text, bytes_max) {
            Cow::Owned(short) => short,
            Cow::Borrowed(_) => text,
        };
        Self {
            pointer: self.pointer.map(|pointer| cut(pointer, NAME_BYTES_MAX)),
            parameter: self.parameter.map(|name| cut(name, NAME_BYTES_MAX)),
            detail: cut(self.detail, DETAIL_BYTES_MAX),
            known: self.known,
        }
    }
}

/// All validation errors of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldErrors {
    listed: Vec<FieldError>,
    /// The number of further errors.
    unlisted: usize,
    /// Whether validation stopped before the end of the request.
    is_incomplete: bool,
}

impl FieldErrors {
    /// Adds an error; beyond the maximum it is only counted.
    pub(crate) fn push(&mut self, error: FieldError) {
        if self.is_full() {
            self.unlisted += 1;
        } else {
            self.listed.push(error.cut());
        }
    }

    /// Counts errors that are not listed.
    pub(crate) fn add_unlisted(&mut self, unlisted: usize) {
        self.unlisted += unlisted;
    }

    /// Adds the errors of a part of the request at this pointer.
    pub(crate) fn extend_under(&mut self, parent: &str, errors: Self) {
        for error in errors.listed {
            let pointer = error.pointer.map(|pointer| format!("{parent}{pointer}"));
            self.push(FieldError { pointer, ..error });
        }
        self.unlisted += errors.unlisted;
        self.is_incomplete |= errors.is_incomplete;
    }

    /// Marks that validation stopped before the end of the request.
    pub(crate) fn mark_incomplete(&mut self) {
        self.is_incomplete = true;
    }

    /// Returns true if no more errors are listed.
    pub(crate) fn is_full(&self) -> bool {
        self.listed.len() >= ERRORS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.unlisted == 0
    }

    /// Returns one summary text, and the listed errors.
    pub(crate) fn into_parts(mut self) -> (String, Vec<FieldError>) {
        let mut printed = Vec::new();
        for error in &mut self.listed {
            let known = error.known.filter(|known| !printed.contains(known));
            if let Some(known) = known {
                printed.push(known);
                error.detail.push_str(&format!("; known fields: {}", known.join(", ")));
            }
        }
        let details = self.listed.iter().map(|error| Cow::Borrowed(error.detail.as_str()));
        let more = match (self.unlisted, self.is_incomplete) {
            (0, false) => None,
            (_, true) => Some("there may be more errors".into()),
            (unlisted, false) => Some(format!("and {unlisted} more").into()),
        };
        let detail = details.chain(more).collect::<Vec<_>>().join("; ");
        (detail, self.listed)
    }
}

impl Extend<FieldError> for FieldErrors {
    fn extend<T: IntoIterator<Item = FieldError>>(&mut self, errors: T) {
        errors.into_iter().for_each(|error| self.push(error));
    }
}

impl From<FieldError> for FieldErrors {
    fn from(error: FieldError) -> Self {
        Self { listed: vec![error.cut()], ..Self::default() }
    }
}

impl From<Vec<FieldError>> for FieldErrors {
    fn from(all: Vec<FieldError>) -> Self {
        let mut errors = Self::default();
        errors.extend(all);
        errors
    }
}

/// Escapes a name for a JSON pointer (RFC 6901).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Truncates client text before it is quoted back.
pub(crate) fn truncated_quote(text: &str) -> Cow<'_, str> {
    truncated(text, QUOTED_BYTES_MAX)
}

/// Truncates a text to this many bytes of its JSON encoding.
pub(crate) fn truncated(text: &str, bytes_max: usize) -> Cow<'_, str> {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, c)| {
        bytes += match c {
            '"' | '\\' => 2,
            '\0'..='\x1f' => 6,
            c => c.len_utf8(),
        };
        bytes > bytes_max
    });
    match end {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_bounded_in_number_and_size() {
        for c in ['a', '\u{0}', '"', '~', '💣'] {
            let long: String = std::iter::repeat_n(c, 100_000).collect();
            let mut errors = FieldErrors::default();
            for _ in 0..100_000 {
                errors.push(FieldError::field(&long[..10 * c.len_utf8()], "wrong"));
            }
            for _ in 0..20 {
                errors.push(FieldError::field(&long, format!("unknown field '{long}'")));
            }
            let (detail, _) = errors.into_parts();
            assert!(detail.ends_with("; and 100010 more"), "{detail}");
            let mut large: FieldErrors = vec![FieldError::parameter(&long, long.clone()); 20].into();
            large.extend_under(&long, FieldError::body(long.clone()).into());
            let (detail, listed) = large.into_parts();
            let size = serde_json::to_string(&(detail, listed)).expect("JSON").len();
            assert!(size < 13_000, "{size}");
        }
    }

    #[test]
    fn known_names_are_listed_once() {
        let unknown = |known| FieldErrors::from(FieldError::field("x", "unknown").known(known));
        let mut errors = unknown(&["a", "b"]);
        errors.extend_under("/1", unknown(&["a", "b"]));
        errors.extend_under("/2", unknown(&["c"]));
        let expected = "unknown; known fields: a, b; unknown; unknown; known fields: c";
        assert_eq!(errors.clone().into_parts().0, expected);
        errors.mark_incomplete();
        assert_eq!(errors.into_parts().0, format!("{expected}; there may be more errors"));
    }

    #[test]
    fn text_is_truncated_between_characters() {
        assert_eq!(truncated("abc", 3), "abc");
        assert_eq!(truncated("abcd", 3), "abc…");
        assert_eq!(truncated("aüb", 2), "a…");
        assert_eq!(truncated("\u{1}\u{1}", 6), "\u{1}…");
    }
}
