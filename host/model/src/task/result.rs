//! Results of tasks: text, or bytes as base64, with their media type.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The maximum size of a media type.
const MEDIA_BYTES_MAX: usize = 127;
/// What follows the media type of a result that is kept as base64, as in a `data:` URL (RFC 2397).
const BASE64: &str = ";base64";

/// The result of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskResult {
    /// The text, or the bytes as base64 (RFC 4648, with padding), as the type says.
    pub text: String,
    /// What it is; `None` for text of a plugin that declares nothing.
    pub r#type: Option<ResultType>,
}

/// What a result is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultType {
    /// Its media type.
    pub media: MediaType,
    /// Whether its text is base64.
    pub is_base64: bool,
}

/// A media type without parameters, such as `image/png`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MediaType(String);

/// A text is no media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a media type is two names with a slash between them, such as image/png")]
pub struct InvalidMediaType;

impl From<String> for TaskResult {
    fn from(text: String) -> Self {
        Self { text, r#type: None }
    }
}

impl From<&str> for TaskResult {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl MediaType {
    /// Plain text in UTF-8.
    pub const TEXT: &str = "text/plain";
    /// JSON.
    pub const JSON: &str = "application/json";
    /// Bytes of any kind.
    pub const BYTES: &str = "application/octet-stream";

    /// Returns the media type of bytes of any kind.
    pub fn bytes() -> Self {
        Self(Self::BYTES.to_owned())
    }

    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if content of this type is text by definition: `text/*`, JSON, and types that end in `+json`.
    pub fn is_text(&self) -> bool {
        self.0.starts_with("text/") || self.is_json()
    }

    /// Returns true for JSON, and for types that end in `+json`.
    pub fn is_json(&self) -> bool {
        self.0 == Self::JSON || self.0.ends_with("+json")
    }
}

impl FromStr for MediaType {
    type Err = InvalidMediaType;

    /// Parses a type and a subtype (RFC 6838, section 4.2); lower case, since case means nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphanumeric())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
        };
        match text.split_once('/') {
            Some((main, sub)) if text.len() <= MEDIA_BYTES_MAX && is_name(main) && is_name(sub) => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            _ => Err(InvalidMediaType),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Formats the type as it is stored: the media type, and `;base64` for bytes.
impl fmt::Display for ResultType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { media, is_base64 } = self;
        write!(f, "{media}{}", if *is_base64 { BASE64 } else { "" })
    }
}

impl FromStr for ResultType {
    type Err = InvalidMediaType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (media, is_base64) = text.strip_suffix(BASE64).map_or((text, false), |media| (media, true));
        Ok(Self { media: media.parse()?, is_base64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_type_is_read_as_it_was() {
        for text in
            ["image/png;base64", "text/csv", "application/vnd.api+json", "application/octet-stream;base64"]
        {
            assert_eq!(text.parse::<ResultType>().map(|read| read.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        assert_eq!("Image/PNG".parse::<MediaType>().map(|read| read.to_string()).as_deref(), Ok("image/png"));
        let long = format!("a/{}", "b".repeat(MEDIA_BYTES_MAX));
        for text in [
            "",
            "png",
            "/png",
            "image/",
            "image/p ng",
            "a/b/c",
            "text/html; charset=utf-8",
            "a/b\r\nc",
            &long,
        ] {
            assert_eq!(text.parse::<MediaType>(), Err(InvalidMediaType), "{text}");
        }
    }

    #[test]
    fn text_types_are_told_from_others() {
        let is_text = |text: &str| text.parse::<MediaType>().is_ok_and(|media| media.is_text());
        assert!(is_text("text/csv") && is_text("application/json") && is_text("application/geo+json"));
        assert!(!is_text("image/png") && !is_text("image/svg+xml") && !is_text("application/octet-stream"));
    }
}
