//! The input, the checkpoint and the result of a task.

use serde::{Deserialize, Serialize};

/// Characters kept of a header value.
const HEADER_CHARS_MAX: usize = 200;

/// The input. The host has already checked it against `fetch.schema.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The URLs to fetch, in this order.
    pub urls: Vec<String>,
    /// Bytes of each body to keep as text.
    #[serde(default)]
    pub text_bytes: usize,
}

impl Request {
    /// Parses the JSON text of the input.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(input: &str) -> Result<Self, String> {
        serde_json::from_str(input)
            .map_err(|error| format!(r#"{error}; the input is an object such as {{"urls": ["https://…"]}}"#))
    }
}

/// The response of one URL.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    /// The URL.
    pub url: String,
    /// The status code.
    pub status: u16,
    /// The target of a redirect. It is not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The content type, if the server sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Bytes of the whole body.
    pub bytes: u64,
    /// The beginning of the body, if requested.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// The progress of a task.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Journey {
    /// The pages fetched so far, in the order of the URLs.
    pub pages: Vec<Page>,
}

impl Journey {
    /// Encodes a checkpoint.
    pub fn encode(&self) -> Vec<u8> {
        self.result().into_bytes()
    }

    /// Decodes a checkpoint; `None` if it is not one of this plugin.
    pub fn decode(state: &[u8]) -> Option<Self> {
        serde_json::from_slice(state).ok()
    }

    /// Returns the JSON text of the result.
    pub fn result(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON")
    }
}

/// Converts bytes from a server to text. Control characters become spaces, so that escaping does not enlarge the
/// checkpoint.
pub fn plain_text(bytes: &[u8]) -> String {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    String::from_utf8_lossy(bytes).replace(is_control, " ")
}

/// Converts a header value to text of bounded length.
pub fn header_text(bytes: &[u8]) -> String {
    plain_text(bytes).chars().take(HEADER_CHARS_MAX).collect()
}
