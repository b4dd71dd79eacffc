//! The colours of a terminal in lines that guests write.

use maud::{Markup, html};

use crate::part::text::visible;

/// Maximum pieces of a line: a hostile one could else make each of its characters an element.
const PIECES_MAX: usize = 64;

/// How a terminal would show text: one of eight colours, and bold.
#[derive(Clone, Copy, Default, PartialEq)]
struct Style {
    colour: Option<u8>,
    is_bold: bool,
}

/// Maximum places in a line that are marked.
const MARKS_MAX: usize = 16;

/// Shows one line: colours and bold as classes of `ui.css`, no other effect of a terminal, what else cannot be seen by its
/// symbol, and what was looked for marked. `log.js` does the same.
pub fn coloured(line: &str, find: &Needle) -> Markup {
    if !line.contains('\x1b') && find.is_empty() {
        return html! { (visible(line)) };
    }
    let mut left = MARKS_MAX;
    html! {
        @for (style, text) in pieces(line) {
            @let class = Some(style.class()).filter(|class| !class.is_empty());
            @for (text, is_marked) in find.split(&text, &mut left) {
                @if is_marked { mark class=[class] { (visible(text)) } }
                @else if class.is_some() { span class=[class] { (visible(text)) } }
                @else { (visible(text)) }
            }
        }
    }
}

/// A text to look for; whether letters are capitals makes no difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    /// Looks for this text; an empty one is nowhere.
    pub fn new(text: &str) -> Self {
        Self(fold(text))
    }

    /// Returns true if there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if a line has the text, whatever its colours.
    pub fn is_in(&self, line: &str) -> bool {
        let plain: String = pieces(line).into_iter().map(|(_, text)| text).collect();
        fold(&plain).contains(&self.0)
    }

    /// Splits a text at the places where it is, as many as are left.
    fn split<'a>(&self, text: &'a str, left: &mut usize) -> Vec<(&'a str, bool)> {
        let mut parts = Vec::new();
        let mut rest = text;
        if !self.is_empty() {
            let folded = fold(text);
            let (mut seen, width) = (0, self.0.chars().count());
            for (at, found) in folded.match_indices(&self.0).take(*left) {
                // A folded text has the same characters, which may have other lengths.
                let (before, after) = split_at_char(rest, folded[seen..at].chars().count());
                let (here, after) = split_at_char(after, width);
                parts.extend([(before, false), (here, true)]);
                (seen, rest) = (at + found.len(), after);
                *left -= 1;
            }
        }
        parts.push((rest, false));
        parts.retain(|(text, _)| !text.is_empty());
        parts
    }
}

fn split_at_char(text: &str, count: usize) -> (&str, &str) {
    text.split_at(text.char_indices().nth(count).map_or(text.len(), |(at, _)| at))
}

/// Writes each character that has one in lower case.
fn fold(text: &str) -> String {
    let lower = |char: char| {
        let mut lower = char.to_lowercase();
        lower.next().filter(|_| lower.next().is_none()).unwrap_or(char)
    };
    text.chars().map(lower).collect()
}

/// Splits a line where its style changes. Complete control sequences are dropped, and others stay as they are.
fn pieces(line: &str) -> Vec<(Style, String)> {
    let mut pieces: Vec<(Style, String)> = Vec::new();
    let mut style = Style::default();
    let mut rest = line;
    while !rest.is_empty() {
        if let Some((sequence, after)) = sequence(rest) {
            if let Some(codes) = sequence.strip_suffix('m')
                && pieces.len() < PIECES_MAX
            {
                style.apply(codes);
            }
            rest = after;
            continue;
        }
        // At least one character, which is an escape that begins no sequence if it is one.
        let end =
            rest.char_indices().skip(1).find(|(_, char)| *char == '\x1b').map_or(rest.len(), |(at, _)| at);
        match pieces.last_mut() {
            Some((last, text)) if *last == style => text.push_str(&rest[..end]),
            _ => pieces.push((style, rest[..end].to_owned())),
        }
        rest = &rest[end..];
    }
    pieces
}

/// Splits a control sequence off, and returns what follows its introducer; nothing of one that sets a title or a link.
fn sequence(text: &str) -> Option<(&str, &str)> {
    if let Some(body) = text.strip_prefix("\x1b[") {
        let end = body.find(|char| !matches!(char, ' '..='?'))?;
        return matches!(body.as_bytes()[end], b'@'..=b'~').then(|| body.split_at(end + 1));
    }
    let body = text.strip_prefix("\x1b]")?;
    let ends = [("\x07", body.find('\x07')), ("\x1b\\", body.find("\x1b\\"))];
    let (mark, at) = ends.iter().filter_map(|(mark, at)| Some((mark, (*at)?))).min_by_key(|(_, at)| *at)?;
    Some(("", &body[at + mark.len()..]))
}

impl Style {
    /// Applies the numbers of `ESC [ … m`. Backgrounds are left out, and so are colours that a theme does not have.
    fn apply(&mut self, codes: &str) {
        let mut codes =
            codes.split([';', ':']).map(|code| if code.is_empty() { Some(0) } else { code.parse().ok() });
        while let Some(code) = codes.next() {
            match code {
                Some(0) => *self = Self::default(),
                Some(1) => self.is_bold = true,
                Some(22) => self.is_bold = false,
                Some(code @ 30..=37) => self.colour = Some(code - 30),
                Some(code @ 90..=97) => self.colour = Some(code - 90),
                Some(39) => self.colour = None,
                Some(kind @ (38 | 48)) => {
                    let colour = match codes.next() {
                        Some(Some(5)) => {
                            codes.next().flatten().filter(|colour| *colour < 16).map(|colour| colour % 8)
                        }
                        Some(Some(2)) => codes.by_ref().take(3).fold(None, |_, _| None),
                        _ => None,
                    };
                    if kind == 38 {
                        self.colour = colour;
                    }
                }
                _ => {}
            }
        }
    }

    fn class(self) -> &'static str {
        const PLAIN: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", ""];
        const BOLD: [&str; 8] = ["b c0", "b c1", "b c2", "b c3", "b c4", "b c5", "b c6", "b"];
        let colour = usize::from(self.colour.unwrap_or(7)).min(7);
        if self.is_bold { BOLD[colour] } else { PLAIN[colour] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_classes_and_nothing_else_of_a_terminal_happens() {
        let shown = |line| coloured(line, &Needle::default()).into_string();
        assert_eq!(shown("plain <b>"), "plain &lt;b&gt;");
        assert_eq!(
            shown("\x1b[31mred\x1b[0m, \x1b[1;92mgreen\x1b[m."),
            "<span class=\"c1\">red</span>, <span class=\"b c2\">green</span>."
        );
        assert_eq!(
            shown("\x1b[38;5;4mblue\x1b[39m \x1b[38;2;9;9;1mtrue\x1b[48;5;1m back"),
            "<span class=\"c4\">blue</span> true back"
        );
        assert_eq!(shown("a\x1b[2J\x1b[1;1Hb\x1b]0;title\x07c\x1b]8;;https://evil.example\x1b\\d"), "abcd");
        // Nothing that is not a whole sequence disappears.
        assert_eq!(shown("\x1b[31"), "␛[31");
        assert_eq!(shown("\x1b]0;open\x1bX\x1b\x1b[0m"), "␛]0;open␛X␛");
        assert_eq!(shown("\x1b[999999999999;mx"), "x");
        assert_eq!(shown("\x1b[31ü"), "␛[31ü");
    }

    #[test]
    fn a_line_has_a_bounded_number_of_pieces() {
        let line: String = (0..2_000).map(|n| format!("\x1b[3{}mx", n % 7)).collect();
        let shown = coloured(&line, &Needle::new("x")).into_string();
        assert!(shown.matches("<span").count() <= PIECES_MAX && shown.matches("<mark").count() <= MARKS_MAX);
        assert_eq!(shown.matches('x').count(), 2_000);
    }

    #[test]
    fn what_was_looked_for_is_marked_in_its_colours() {
        let shown = |line, find| coloured(line, &Needle::new(find)).into_string();
        assert_eq!(shown("a Timeout, timeout", "TIMEOUT"), "a <mark>Timeout</mark>, <mark>timeout</mark>");
        assert_eq!(
            shown("\x1b[31mno route\x1b[0m <b>", "route"),
            "<span class=\"c1\">no </span><mark class=\"c1\">route</mark> &lt;b&gt;"
        );
        assert_eq!(
            shown("\u{130}stanbul \u{c4}pfel", "\u{e4}PFEL"),
            "\u{130}stanbul <mark>\u{c4}pfel</mark>"
        );
        assert_eq!(shown("\u{212a}elvin\0", "kel"), "<mark>\u{212a}el</mark>vin\u{2400}");
        assert_eq!(shown("plain", ""), "plain");
        let split = "\x1b[31mti\x1b[32mme";
        assert!(Needle::new("time").is_in(split) && !Needle::new("31m").is_in(split));
        assert!(Needle::default().is_in("anything"));
    }
}
