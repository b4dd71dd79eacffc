//! What a button stands for: the request as a curl line, and the command of `wasmill`.

use maud::{Markup, html};

/// Both lines, with buttons that copy them.
///
/// `path` is what follows the server's address, which `ui.js` puts before it. `command` is `None` if no command does it.
pub fn lines(method: &str, path: &str, body: Option<&str>, command: Option<&str>) -> Markup {
    html! {
        details.commands {
            summary { "As a command" }
            dl {
                @if let Some(command) = command {
                    dt { "Command" }
                    dd { code { (command) } " " (copy(command)) }
                }
                dt { "Request" }
                dd { code data-curl=(path) data-method=(method) data-body=[body] { (curl(method, path, body)) } " " (copy_before()) }
            }
        }
    }
}

/// A button that copies this text.
pub fn copy(text: &str) -> Markup {
    html! { button.quiet.script type="button" data-copy=(text) { "Copy" } }
}

/// A button that copies what this URL answers, as it is.
pub fn copy_from(url: &str) -> Markup {
    html! { button.quiet.script type="button" data-copy-from=(url) { "Copy" } }
}

/// A button that copies the element before it, which script completes.
fn copy_before() -> Markup {
    html! { button.quiet.script type="button" data-copy-before="" { "Copy" } }
}

fn curl(method: &str, path: &str, body: Option<&str>) -> String {
    let method = if method == "GET" { String::new() } else { format!("-X {method} ") };
    let body = body.map(|body| format!(" -H 'content-type: application/json' -d {}", quote(body)));
    format!("curl {method}{}{}", quote(&format!("http://127.0.0.1:8080{path}")), body.unwrap_or_default())
}

/// Quotes a word for a shell.
pub fn quote(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=@,".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_strangers_stay_one_word_of_the_shell() {
        assert_eq!(quote("noop"), "noop");
        assert_eq!(quote("tenant 42"), "'tenant 42'");
        assert_eq!(quote("'; rm -rf / #"), "''\\''; rm -rf / #'");
        assert_eq!(quote(""), "''");
    }
}
