//! The media type of a file by the ending of its name.

use crate::{FileName, MediaType};

/// Endings of names, and the media types that they stand for.
const ENDINGS: [(&str, &str); 25] = [
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ndjson", "application/x-ndjson"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("sqlite", "application/vnd.sqlite3"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("toml", "application/toml"),
    ("txt", "text/plain"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

impl MediaType {
    /// Returns the media type of files with this name; bytes of any kind unless the ending is a common one.
    pub fn of_file(name: &FileName) -> Self {
        let ending = name.as_str().rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        let found = ending.and_then(|ending| ENDINGS.iter().find(|(known, _)| *known == ending));
        found.and_then(|(_, media)| media.parse().ok()).unwrap_or_else(Self::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_ending_tells_the_type() {
        let of = |name: &str| MediaType::of_file(&name.parse().unwrap()).to_string();
        assert_eq!(of("out/result.JSON"), "application/json");
        assert_eq!(of("a.tar.gz"), "application/gzip");
        for name in ["json", "a.b/json", "a.", "netlist.v"] {
            assert_eq!(of(name), MediaType::BYTES, "{name}");
        }
        for (ending, media) in ENDINGS {
            assert_eq!(of(&format!("x.{ending}")), media);
        }
    }
}
