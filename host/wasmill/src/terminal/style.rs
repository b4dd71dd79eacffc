//! Colors and styles.
//!
//! A styled text contains random marks, which `render` replaces by escape sequences. So everything between marks can
//! be stripped of escape sequences, and no other text can forge a mark.

use std::borrow::Cow;
use std::env::var_os;
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::io::{IsTerminal, stderr, stdout};
use std::sync::{LazyLock, OnceLock};

use clap::ValueEnum;

use crate::terminal::text::bar;

/// When to use colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`
    #[default]
    Auto,
    /// Also in files and pipes
    Always,
    /// Never
    Never,
}

/// Stands for the start of an escape sequence; random, so foreign text cannot guess it.
static MARK: LazyLock<String> =
    LazyLock::new(|| format!("\x1b{:016x}[", RandomState::new().hash_one("mark")));

/// The value of `--color`, set once when the command line is parsed.
static COLOR: OnceLock<Color> = OnceLock::new();

/// Sets when to use colors, for the rest of the process.
pub(crate) fn set_color(color: Color) {
    // The first call wins; there is one command line.
    let _ = COLOR.set(color);
}

/// Styles text, or leaves it unchanged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    /// Styles text for stdout.
    pub(crate) fn stdout() -> Self {
        Self { on: is_wanted(stdout().is_terminal()) }
    }

    /// Styles text for stderr.
    pub(crate) fn stderr() -> Self {
        Self { on: is_wanted(stderr().is_terminal()) }
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.style("1", text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.style("2", text)
    }

    pub(crate) fn red(self, text: impl Display) -> String {
        self.style("31", text)
    }

    pub(crate) fn green(self, text: impl Display) -> String {
        self.style("32", text)
    }

    pub(crate) fn yellow(self, text: impl Display) -> String {
        self.style("33", text)
    }

    pub(crate) fn cyan(self, text: impl Display) -> String {
        self.style("36", text)
    }

    /// Draws a bar of this many columns, filled by a fraction.
    pub(crate) fn bar(self, fraction: f64, columns: usize) -> String {
        let (filled, empty) = bar(fraction, columns);
        self.green(filled) + &self.dim(empty)
    }

    /// Styles the text of the selected row.
    pub(crate) fn selected(self, text: impl Display) -> String {
        self.style("7", text)
    }

    /// Styles text in the color of a task state.
    pub(crate) fn state(self, state: &str, text: impl Display) -> String {
        match state {
            "running" => self.cyan(text),
            "completed" | "ready" => self.green(text),
            "failed" | "rejected" => self.red(text),
            "cancelled" => self.yellow(text),
            _ => self.dim(text),
        }
    }

    fn style(self, code: &str, text: impl Display) -> String {
        if self.on { format!("{0}{code}m{text}{0}0m", *MARK) } else { text.to_string() }
    }
}

/// Replaces the marks of a styled text by escape sequences, and passes the text between them through `text`.
pub(crate) fn render<'a>(painted: &'a str, text: fn(&str) -> Cow<'_, str>) -> Cow<'a, str> {
    let mut parts = painted.split(MARK.as_str());
    let first = text(parts.next().unwrap_or_default());
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return first;
    }
    let mut whole = first.into_owned();
    for part in parts {
        let (code, rest) = part.split_once('m').unwrap_or((part, ""));
        whole.push_str(&format!("\x1b[{code}m{}", text(rest)));
    }
    whole.into()
}

fn is_wanted(is_terminal: bool) -> bool {
    match COLOR.get().copied().unwrap_or_default() {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let forbidden = var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            is_terminal && !forbidden && !is_dumb()
        }
    }
}

/// Returns true if the terminal can only print.
pub(crate) fn is_dumb() -> bool {
    var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}
