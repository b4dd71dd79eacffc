//! Text for a terminal: sanitized, fitted to a width, and in readable units.

use std::borrow::Cow;
use std::env::var;
use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Replaces control characters and characters that reorder or hide text: guests choose their logs, notes and results,
/// and submitters choose tags.
///
/// Newlines and tabs stay.
pub(crate) fn sanitize(text: &str) -> Cow<'_, str> {
    if text.contains(is_unsafe) { text.replace(is_unsafe, "\u{fffd}").into() } else { text.into() }
}

fn is_unsafe(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t' || is_invisible(c)
}

/// Returns true for invisible characters that change how others are shown, or hide among them.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        // Text direction.
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        // Invisible: soft hyphens, zero-width spaces, joiners, operators, format controls of scripts and music, tags.
        | '\u{ad}' | '\u{34f}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        // Blank letters: Hangul fillers.
        | '\u{115f}'..='\u{1160}' | '\u{3164}' | '\u{ffa0}'
        // Line and paragraph separators.
        | '\u{2028}'..='\u{2029}')
}

/// Returns a text as one sanitized line that fits the columns.
pub(crate) fn truncated(text: &str, columns: usize) -> String {
    let line = text.replace(['\n', '\t', '\r'], " ");
    let line = sanitize(&line);
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

/// Returns a text padded to exactly this many columns.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    let text = truncated(text, columns);
    let missing = columns.saturating_sub(text.width());
    text + &" ".repeat(missing)
}

/// Draws a bar of this many columns, filled by a fraction: the filled and the empty part.
pub(crate) fn bar(fraction: f64, columns: usize) -> (String, String) {
    let (full, half, empty) = if is_utf8_locale() { ("━", "╸", "─") } else { ("#", "#", "-") };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 0 and columns")]
    let halves = (fraction.clamp(0.0, 1.0) * columns as f64 * 2.0).round() as usize;
    let filled = full.repeat(halves / 2) + if halves % 2 == 1 { half } else { "" };
    (filled, empty.repeat(columns - halves.div_ceil(2)))
}

fn is_utf8_locale() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
        let value = var(name).ok()?;
        (!value.is_empty()).then_some(value)
    });
    // Without a locale, as in most containers, today's terminals still use UTF-8.
    locale.is_none_or(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Formats a duration in its two largest units: `1h 05m`, `2m 03s`, `4.2s`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{}.{}s", seconds, duration.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Formats a size in a fitting unit.
pub(crate) fn format_bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_are_removed() {
        let hostile = "\x1b]0;owned\x07\x1b[2Jgone\r\u{9b}31m\tand\n";
        let sanitized = sanitize(hostile);
        assert!(!sanitized.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{sanitized:?}");
        assert!(sanitized.contains("gone") && sanitized.ends_with("\tand\n"));
        assert!(matches!(sanitize("plain ü 漢\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn reordering_and_invisible_characters_are_removed() {
        let unseen =
            [0x61c, 0x180e, 0x200b, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2060, 0x2064, 0x2066, 0x2069];
        let empty = [0xad, 0x34f, 0x115f, 0x1160, 0x17b4, 0x3164, 0xffa0];
        for code in unseen.into_iter().chain([0xfeff, 0xe0001, 0xe0041, 0xe007f]).chain(empty) {
            let c = char::from_u32(code).unwrap();
            assert_eq!(sanitize(&format!("a{c}b")), "a\u{fffd}b", "U+{code:04X}");
            assert_eq!(truncated(&format!("a{c}b"), 9), "a\u{fffd}b", "U+{code:04X}");
        }
        // Letters of every direction, accents, wide characters and symbols stay.
        for text in ["שלום", "e\u{301}", "漢字", "✓", "\u{a0}"] {
            assert_eq!(sanitize(text), text);
        }
    }

    #[test]
    fn a_truncated_text_fits_its_columns() {
        for (text, columns, expected) in [
            ("short", 9, "short"),
            ("long enough", 5, "long…"),
            ("漢字漢字", 5, "漢字…"),
            ("漢字漢字", 4, "漢…"),
            ("two\nlines", 9, "two lines"),
            ("anything", 0, ""),
        ] {
            assert_eq!(truncated(text, columns), expected);
            assert_eq!(padded(text, columns).width(), columns);
        }
    }

    #[test]
    fn a_bar_has_the_given_width() {
        for fraction in [-1.0, 0.0, 0.01, 0.5, 0.77, 1.0, 3.0, f64::NAN] {
            let (filled, empty) = bar(fraction, 20);
            assert_eq!(filled.chars().count() + empty.chars().count(), 20, "{fraction}");
        }
        assert_eq!(bar(1.0, 3).1, "");
        assert_eq!(bar(0.0, 3).0, "");
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        for (ms, expected) in [
            (0, "0.0s"),
            (4_290, "4.2s"),
            (59_999, "59s"),
            (123_000, "2m 03s"),
            (3_900_000, "1h 05m"),
            (90_000_000, "1d 01h"),
        ] {
            assert_eq!(format_duration(Duration::from_millis(ms)), expected);
        }
    }
}
