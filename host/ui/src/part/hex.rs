//! Bytes that are no text, as hexadecimal digits beside the characters that they would be.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::part::unit;

/// Bytes of a row, and bytes that are shown.
const ROW: usize = 16;
const SHOWN_MAX: usize = 4 << 10;

/// Shows bytes.
pub fn dump(bytes: &[u8]) -> Markup {
    let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
    html! {
        pre.value.hex tabindex="0" { (rows(shown)) }
        @if shown.len() < bytes.len() { p.note { "The first " (unit::bytes(shown.len() as u64)) " are shown; the download has all." } }
    }
}

fn rows(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5);
    for (row, chunk) in bytes.chunks(ROW).enumerate() {
        let _ = write!(text, "{:06x} ", row * ROW);
        for column in 0..ROW {
            text.push_str(if column == ROW / 2 { "  " } else { " " });
            match chunk.get(column) {
                Some(byte) => {
                    let _ = write!(text, "{byte:02x}");
                }
                None => text.push_str("  "),
            }
        }
        text.push_str("  ");
        text.extend(
            chunk
                .iter()
                .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '·' }),
        );
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_rows_of_sixteen() {
        let bytes: Vec<_> = b"<b>\0\x1b[31m wasmill\xff".to_vec();
        let expected = "000000  3c 62 3e 00 1b 5b 33 31  6d 20 77 61 73 6d 69 6c  <b>··[31m wasmil\n\
                        000010  6c ff                                             l·\n";
        assert_eq!(rows(&bytes), expected);
        assert_eq!(rows(&[]), "");
    }

    #[test]
    fn markup_in_bytes_is_text_and_many_bytes_are_cut() {
        let html = dump(&b"<script>".repeat(4_096)).into_string();
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
        assert!(html.contains("The first 4") && html.len() < 40_000, "{}", html.len());
    }
}
