//! The key `output` of a manifest: what the result is.

use serde::Deserialize;
use wasmill_model::MediaType;

use crate::plugin::config::ResultFormat;

/// Short names of media types.
const SHORT: [(&str, &str); 16] = [
    ("bytes", MediaType::BYTES),
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("gzip", "application/gzip"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("markdown", "text/markdown"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("wasm", "application/wasm"),
    ("webp", "image/webp"),
    ("xml", "text/xml"),
    ("zip", "application/zip"),
];

/// The key as written.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct OutputFormat(pub(super) ResultFormat);

impl TryFrom<String> for OutputFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let format = match text.as_str() {
            "text" | MediaType::TEXT => ResultFormat::Text,
            "json" | MediaType::JSON => ResultFormat::Json,
            name => {
                let long = SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| *long);
                let media = long.parse().map_err(|error| {
                    let short: Vec<_> = SHORT.iter().map(|(short, _)| *short).collect();
                    format!(
                        "output '{}': {error}, or one of text, json, {}",
                        name.escape_debug(),
                        short.join(", ")
                    )
                })?;
                ResultFormat::Media(media)
            }
        };
        Ok(Self(format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_and_media_types_are_read() {
        let read = |text: &str| OutputFormat::try_from(text.to_owned()).map(|OutputFormat(format)| format);
        assert_eq!((read("text"), read("text/plain")), (Ok(ResultFormat::Text), Ok(ResultFormat::Text)));
        assert_eq!(
            (read("json"), read("application/json")),
            (Ok(ResultFormat::Json), Ok(ResultFormat::Json))
        );
        for (short, long) in SHORT {
            assert_eq!(read(short), read(long));
            assert_eq!(read(short).unwrap().to_string(), long);
        }
        assert_eq!(read("Audio/MPEG").unwrap().to_string(), "audio/mpeg");
        for text in ["", "exe", "text/html; charset=utf-8", "image/"] {
            assert!(read(text).unwrap_err().contains("such as image/png"), "{text}");
        }
    }
}
