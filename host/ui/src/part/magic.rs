//! What bytes are, judged by how they begin: a file says nothing else about itself that could be trusted.

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its name, for people.
    pub name: &'static str,
    /// Extension of its files.
    pub extension: &'static str,
    /// Media type, if it is a picture that every browser shows and none runs.
    pub picture: Option<&'static str>,
}

/// Formats, each with the bytes that a file of it has at an offset.
const FORMATS: [(usize, &[u8], Format); 26] = [
    (0, b"\x89PNG\r\n\x1a\n", picture("PNG picture", "png", "image/png")),
    (0, b"\xff\xd8\xff", picture("JPEG picture", "jpg", "image/jpeg")),
    (0, b"GIF87a", picture("GIF picture", "gif", "image/gif")),
    (0, b"GIF89a", picture("GIF picture", "gif", "image/gif")),
    (8, b"WEBP", picture("WebP picture", "webp", "image/webp")),
    (8, b"WAVE", file("WAVE sound", "wav")),
    (4, b"ftypavif", file("AVIF picture", "avif")),
    (4, b"ftyp", file("MPEG-4 file", "mp4")),
    (0, b"II*\0", file("TIFF picture", "tiff")),
    (0, b"MM\0*", file("TIFF picture", "tiff")),
    (0, b"OggS", file("Ogg file", "ogg")),
    (0, b"fLaC", file("FLAC sound", "flac")),
    (0, b"ID3", file("MP3 sound", "mp3")),
    (0, b"%PDF-", file("PDF document", "pdf")),
    (0, b"PK\x03\x04", file("ZIP archive", "zip")),
    (0, b"\x1f\x8b\x08", file("gzip file", "gz")),
    (0, b"\x28\xb5\x2f\xfd", file("Zstandard file", "zst")),
    (0, b"\xfd7zXZ\0", file("xz file", "xz")),
    (0, b"BZh", file("bzip2 file", "bz2")),
    (0, b"7z\xbc\xaf\x27\x1c", file("7z archive", "7z")),
    (257, b"ustar", file("tar archive", "tar")),
    (0, b"\0asm", file("WebAssembly file", "wasm")),
    (0, b"\x7fELF", file("ELF file", "elf")),
    (0, b"SQLite format 3\0", file("SQLite database", "sqlite")),
    (0, b"PAR1", file("Parquet file", "parquet")),
    (0, b"ARROW1\0\0", file("Arrow file", "arrow")),
];

const fn file(name: &'static str, extension: &'static str) -> Format {
    Format { name, extension, picture: None }
}

const fn picture(name: &'static str, extension: &'static str, media: &'static str) -> Format {
    Format { name, extension, picture: Some(media) }
}

/// Returns the format of a file; `None` for text, and for what is not known.
pub fn format_of(bytes: &[u8]) -> Option<Format> {
    let has = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let (.., format) = FORMATS.iter().find(|(at, magic, _)| has(*at, magic))?;
    // Others have these words at this place by chance.
    let is_container = !matches!(format.extension, "webp" | "wav") || bytes.starts_with(b"RIFF");
    is_container.then_some(*format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        let name = |bytes: &[u8]| format_of(bytes).map(|format| format.name);
        assert_eq!(name(b"\x89PNG\r\n\x1a\n\0\0"), Some("PNG picture"));
        assert_eq!(name(b"RIFF\x10\0\0\0WEBPVP8 "), Some("WebP picture"));
        assert_eq!(name(b"RIFX\x10\0\0\0WEBPVP8 "), None);
        assert_eq!(name(b"%PDF-1.7"), Some("PDF document"));
        assert_eq!(name(b"\0asm\x01\0\0\0"), Some("WebAssembly file"));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(name(&tar), Some("tar archive"));
        for bytes in [&b""[..], b"\x89PN", b"text", b"<svg>"] {
            assert_eq!(name(bytes), None);
        }
    }

    #[test]
    fn only_what_no_browser_runs_is_a_picture() {
        let pictures: Vec<_> = FORMATS.iter().filter_map(|(.., format)| format.picture).collect();
        assert_eq!(pictures, ["image/png", "image/jpeg", "image/gif", "image/gif", "image/webp"]);
    }
}
