//! Text for a terminal: harmless, as wide as there is room, and in units that people read.

use std::borrow::Cow;
use std::env::var;
use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Takes out what would drive a terminal, turn the order of its text or hide in it: guests choose their logs,
/// notes and results, and whoever submits a task chooses its tags.
///
/// Line ends and tabs stay.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains(is_harmful) { text.replace(is_harmful, "\u{fffd}").into() } else { text.into() }
}

fn is_harmful(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t' || is_unseen(c)
}

/// Returns true for characters without a shape that change how others are shown, or hide among them.
pub(crate) fn is_unseen(c: char) -> bool {
    matches!(c,
        // The direction of text.
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        // Nothing to see: spaces without width, joiners, operators, marks of other formats.
        | '\u{ad}' | '\u{34f}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        // Letters that are empty: fillers of Hangul.
        | '\u{115f}'..='\u{1160}' | '\u{3164}' | '\u{ffa0}'
        // Ends of lines and paragraphs.
        | '\u{2028}'..='\u{2029}')
}

/// Makes one line of a text, clean and no wider than there is room.
pub(crate) fn clipped(text: &str, columns: usize) -> String {
    let line = text.replace(['\n', '\t', '\r'], " ");
    let line = clean(&line);
    if line.width() <= columns {
        return line.into_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut kept = String::new();
    for c in line.chars() {
        let width = c.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Returns a text of exactly so many columns.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    let text = clipped(text, columns);
    let missing = columns.saturating_sub(text.width());
    text + &" ".repeat(missing)
}

/// Draws a bar of so many columns, filled by a fraction.
pub(crate) fn bar(fraction: f64, columns: usize) -> (String, String) {
    let (full, half, empty) = if speaks_utf8() { ("━", "╸", "─") } else { ("#", "#", "-") };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 0 and columns")]
    let halves = (fraction.clamp(0.0, 1.0) * columns as f64 * 2.0).round() as usize;
    let filled = full.repeat(halves / 2) + if halves % 2 == 1 { half } else { "" };
    (filled, empty.repeat(columns - halves.div_ceil(2)))
}

fn speaks_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
        let value = var(name).ok()?;
        (!value.is_empty()).then_some(value)
    });
    // Without any, as in most containers, terminals of our day still do.
    locale.is_none_or(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Words a time in its two largest units: `1h 05m`, `2m 03s`, `4.2s`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{}.{}s", seconds, duration.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Words a size in the unit that fits.
pub(crate) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_drive_a_terminal_is_taken_out() {
        let hostile = "\x1b]0;owned\x07\x1b[2Jgone\r\u{9b}31m\tand\n";
        let cleaned = clean(hostile);
        assert!(!cleaned.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{cleaned:?}");
        assert!(cleaned.contains("gone") && cleaned.ends_with("\tand\n"));
        assert!(matches!(clean("plain ü 漢\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_turns_or_hides_text_is_taken_out() {
        let unseen =
            [0x61c, 0x180e, 0x200b, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2060, 0x2064, 0x2066, 0x2069];
        let empty = [0xad, 0x34f, 0x115f, 0x1160, 0x17b4, 0x3164, 0xffa0];
        for code in unseen.into_iter().chain([0xfeff, 0xe0001, 0xe0041, 0xe007f]).chain(empty) {
            let c = char::from_u32(code).unwrap();
            assert_eq!(clean(&format!("a{c}b")), "a\u{fffd}b", "U+{code:04X}");
            assert_eq!(clipped(&format!("a{c}b"), 9), "a\u{fffd}b", "U+{code:04X}");
        }
        // Letters of every direction, accents, wide letters and signs stay.
        for text in ["שלום", "e\u{301}", "漢字", "✓", "\u{a0}"] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn a_clipped_text_is_never_wider_than_its_room() {
        for (text, columns, expected) in [
            ("short", 9, "short"),
            ("long enough", 5, "long…"),
            ("漢字漢字", 5, "漢字…"),
            ("漢字漢字", 4, "漢…"),
            ("two\nlines", 9, "two lines"),
            ("anything", 0, ""),
        ] {
            assert_eq!(clipped(text, columns), expected);
            assert_eq!(padded(text, columns).width(), columns);
        }
    }

    #[test]
    fn a_bar_is_as_wide_as_asked_for() {
        for fraction in [-1.0, 0.0, 0.01, 0.5, 0.77, 1.0, 3.0, f64::NAN] {
            let (filled, empty) = bar(fraction, 20);
            assert_eq!(filled.chars().count() + empty.chars().count(), 20, "{fraction}");
        }
        assert_eq!(bar(1.0, 3).1, "");
        assert_eq!(bar(0.0, 3).0, "");
    }

    #[test]
    fn times_have_their_two_largest_units() {
        for (ms, expected) in [
            (0, "0.0s"),
            (4_290, "4.2s"),
            (59_999, "59s"),
            (123_000, "2m 03s"),
            (3_900_000, "1h 05m"),
            (90_000_000, "1d 01h"),
        ] {
            assert_eq!(time(Duration::from_millis(ms)), expected);
        }
    }
}
