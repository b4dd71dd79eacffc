//! Bytes that are no text, as hexadecimal digits beside the characters that they would be.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::part::unit;

/// Bytes of a row, and of a page.
const ROW: usize = 16;
const PAGE: usize = 4 << 10;

/// Shows the page of bytes that has the one at `from`, the last page if there are fewer. The links to the others add
/// `from` to the query `more`.
pub fn dump(bytes: &[u8], from: usize, more: &str) -> Markup {
    let from = from.min(bytes.len().saturating_sub(1)) / PAGE * PAGE;
    let until = (from + PAGE).min(bytes.len());
    html! {
        pre.value.hex tabindex="0" { (rows(&bytes[from..until], from)) }
        @if bytes.len() > PAGE {
            nav.buttons aria-label="Bytes" {
                @if from > 0 { a.button.small rel="prev" href={ "?" (more) "&from=" (from - PAGE) } { "‹ before" } }
                span.note { "Bytes " (unit::count(from as u64)) " to " (unit::count(until as u64 - 1)) " of " (unit::count(bytes.len() as u64)) }
                @if until < bytes.len() { a.button.small rel="next" href={ "?" (more) "&from=" (until) } { "after ›" } }
            }
        }
    }
}

fn rows(bytes: &[u8], from: usize) -> String {
    let mut text = String::with_capacity(bytes.len() * 5);
    for (row, chunk) in bytes.chunks(ROW).enumerate() {
        let _ = write!(text, "{:08x} ", from + row * ROW);
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
        let expected = "00001000  3c 62 3e 00 1b 5b 33 31  6d 20 77 61 73 6d 69 6c  <b>··[31m wasmil\n\
                        00001010  6c ff                                             l·\n";
        assert_eq!(rows(&bytes, 0x1000), expected);
        assert_eq!(rows(&[], 0), "");
    }

    #[test]
    fn markup_in_bytes_is_text_and_many_bytes_are_pages() {
        let bytes = b"<script>".repeat(1_025);
        let shown = |from| dump(&bytes, from, "as=hex").into_string();
        let first = shown(0);
        assert!(!first.contains("<script>") && first.contains("&lt;script&gt;") && first.len() < 40_000);
        assert!(first.contains("Bytes 0 to 4,095 of 8,200") && !first.contains("before"));
        let second = shown(5_000);
        assert!(second.contains("?as=hex&amp;from=0\"") && second.contains("?as=hex&amp;from=8192\""));
        assert!(second.contains("00001000 "));
        for from in [8_192, 8_199, 8_200, usize::MAX] {
            let last = shown(from);
            assert!(last.contains("Bytes 8,192 to 8,199 of 8,200") && !last.contains("after"), "{from}");
        }
        assert!(!dump(&[], 7, "as=hex").into_string().contains("Bytes"));
    }
}
