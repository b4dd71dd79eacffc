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

/// Shows one line: colours and bold as classes of `ui.css`, no other effect of a terminal, and what else cannot be seen
/// by its symbol. `log.js` does the same.
pub fn coloured(line: &str) -> Markup {
    if !line.contains('\x1b') {
        return html! { (visible(line)) };
    }
    html! {
        @for (style, text) in pieces(line) {
            @let class = style.class();
            @if class.is_empty() { (visible(&text)) } @else { span class=(class) { (visible(&text)) } }
        }
    }
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
        let shown = |line| coloured(line).into_string();
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
        let shown = coloured(&line).into_string();
        assert!(shown.matches("<span").count() <= PIECES_MAX);
        assert_eq!(shown.matches('x').count(), 2_000);
    }
}
