//! What a task asks for, and how far it has come: the input, the checkpoint and the result.

use serde::{Deserialize, Serialize};

/// Characters of a header or of a type that are kept.
const HEADER_CHARS_MAX: usize = 200;

/// The input. `fetch.schema.json` has refused whatever else does not fit before a task gets here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What to fetch, in this order.
    pub urls: Vec<String>,
    /// How much of each body to keep as text.
    #[serde(default)]
    pub text_bytes: usize,
}

impl Request {
    /// Reads the JSON text of the input.
    ///
    /// # Errors
    ///
    /// Says what is wrong and what would be right.
    pub fn parse(input: &str) -> Result<Self, String> {
        serde_json::from_str(input)
            .map_err(|error| format!(r#"{error}; the input is an object such as {{"urls": ["https://…"]}}"#))
    }
}

/// What came back for one URL.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    /// The URL.
    pub url: String,
    /// The status code.
    pub status: u16,
    /// Where a redirect leads to. It is not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The type of the body, if the server named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Bytes of the whole body.
    pub bytes: u64,
    /// The beginning of the body, if it was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// How far a task has come.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Journey {
    /// The pages that are done, in the order of the URLs.
    pub pages: Vec<Page>,
}

impl Journey {
    /// Returns the bytes of a checkpoint.
    pub fn encode(&self) -> Vec<u8> {
        self.result().into_bytes()
    }

    /// Reads a checkpoint; `None` when it holds no journey.
    pub fn decode(state: &[u8]) -> Option<Self> {
        serde_json::from_slice(state).ok()
    }

    /// Returns the JSON text of the result.
    pub fn result(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON")
    }
}

/// Makes text of bytes that a server sent. Control characters become spaces, so that no page takes
/// more than its share of the checkpoint when it is escaped.
pub fn plain_text(bytes: &[u8]) -> String {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    String::from_utf8_lossy(bytes).replace(is_control, " ")
}

/// Makes text of a header, cut to a sane length.
pub fn header_text(bytes: &[u8]) -> String {
    plain_text(bytes).chars().take(HEADER_CHARS_MAX).collect()
}
