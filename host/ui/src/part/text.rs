//! Text of strangers, made visible.
//!
//! maud escapes markup. What remains are characters that a reader cannot see, or that turn the text around them:
//! they are replaced by their names, as `wasmill` does in a terminal.

use std::borrow::Cow;

/// Returns text for one line: every control character is shown, line breaks as well.
pub fn visible(text: &str) -> Cow<'_, str> {
    replace(text, char::is_control)
}

/// Returns text for a block: line breaks and tabs stay.
pub fn block(text: &str) -> Cow<'_, str> {
    replace(text, |char| char.is_control() && char != '\n' && char != '\t')
}

/// Returns the beginning of a text for one line, at most this many characters, with an ellipsis if it was longer.
pub fn brief(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => visible(text),
        Some((end, _)) => Cow::Owned(format!("{}…", visible(&text[..end]))),
    }
}

fn replace(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_odd = |char: char| is_hidden(char) || direction(char).is_some();
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match direction(char) {
            Some(name) => {
                shown.push('⟨');
                shown.push_str(name);
                shown.push('⟩');
            }
            None if is_hidden(char) => shown.push(picture(char)),
            None => shown.push(char),
        }
    }
    Cow::Owned(shown)
}

/// Returns the name of a character that changes the direction of text, or that has no width.
fn direction(char: char) -> Option<&'static str> {
    Some(match char {
        '\u{61c}' => "ALM",
        '\u{200b}' => "ZWSP",
        '\u{200e}' => "LRM",
        '\u{200f}' => "RLM",
        '\u{2028}' => "LS",
        '\u{2029}' => "PS",
        '\u{202a}' => "LRE",
        '\u{202b}' => "RLE",
        '\u{202c}' => "PDF",
        '\u{202d}' => "LRO",
        '\u{202e}' => "RLO",
        '\u{2060}' => "WJ",
        '\u{2066}' => "LRI",
        '\u{2067}' => "RLI",
        '\u{2068}' => "FSI",
        '\u{2069}' => "PDI",
        '\u{feff}' => "BOM",
        _ => return None,
    })
}

/// Returns the symbol of a control character.
fn picture(char: char) -> char {
    match u32::from(char) {
        0x7f => '␡',
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
        _ => '\u{fffd}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown() {
        assert_eq!(visible("plain ü"), "plain ü");
        assert_eq!(visible("a\0b\x1b[31m\u{85}"), "a␀b␛[31m\u{fffd}");
        assert_eq!(visible("a\nb"), "a␊b");
        assert_eq!(block("a\nb\tc\r"), "a\nb\tc␍");
        assert_eq!(visible("user\u{202e}gpj.exe\u{202c}"), "user⟨RLO⟩gpj.exe⟨PDF⟩");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(brief("äöü", 3), "äöü");
        assert_eq!(brief("äöü", 2), "äö…");
        assert_eq!(brief(&"x".repeat(1 << 20), 4), "xxxx…");
    }
}
