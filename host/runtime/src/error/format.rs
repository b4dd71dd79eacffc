//! Formats sizes and bounded texts for messages.

use std::fmt;

/// The maximum size of a message that a guest or a file contributed to.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The maximum size of names in a message.
pub(crate) const NAMES_BYTES_MAX: usize = 256;

/// Formats a size in the largest unit that divides it, such as `64 MiB`.
pub(crate) fn bytes(size: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if size >= 10 << shift || (size >= 1 << shift && size.is_multiple_of(1 << shift)) {
            return format!("{} {unit}", size >> shift);
        }
    }
    format!("{size} bytes")
}

/// Formats bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Formats as many names as fit, and the number of the others.
pub(crate) fn names(all: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let (mut text, mut left_out) = (String::new(), 0_u64);
    for name in all {
        let name = name.as_ref();
        if left_out > 0 || text.len() + name.len() > NAMES_BYTES_MAX {
            left_out += 1;
            continue;
        }
        text.push_str(if text.is_empty() { "" } else { ", " });
        text.push_str(name);
    }
    match (text.is_empty(), left_out) {
        (true, 0) => "nothing".to_owned(),
        (true, left_out) => format!("{left_out} names that are too long to show"),
        (false, 0) => text,
        (false, left_out) => format!("{text} and {left_out} more"),
    }
}

/// Truncates a text to at most `bytes_max`, at a character boundary, and frees the rest.
pub(crate) fn truncate(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text.shrink_to_fit();
    text
}

/// Formats a value, stopping at [`MESSAGE_BYTES_MAX`].
pub(crate) fn bounded(something: impl fmt::Display) -> String {
    let mut text = Bounded(String::new());
    // The only possible error is the one that stops at the bound.
    let _ = fmt::write(&mut text, format_args!("{something}"));
    text.0
}

struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = MESSAGE_BYTES_MAX - self.0.len();
        self.0.push_str(&more[..more.floor_char_boundary(room)]);
        if more.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_their_unit() {
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(1 << 40), "1 TiB");
        assert_eq!(bytes(1_500), "1500 bytes");
        assert_eq!(bytes((100 << 20) + 1), "100 MiB");
    }

    #[test]
    fn texts_are_truncated_between_characters() {
        assert_eq!(truncate("aäb".to_owned(), 2), "a");
        assert_eq!(truncate("short".to_owned(), 100), "short");
        assert!(truncate("x".repeat(1 << 20), 10).capacity() < 100);
        assert_eq!(bounded("ä".repeat(9_999)).len(), MESSAGE_BYTES_MAX);
        assert_eq!(bounded("whole"), "whole");
    }
}
