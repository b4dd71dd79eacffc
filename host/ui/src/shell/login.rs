//! The page that asks for a key.

use maud::{Markup, html};

use super::{Page, Place};
use crate::part::confirm::hidden;

/// Shows the page. `error` is the code of why the key before was refused, `next` the page to show afterwards.
pub fn page(error: Option<&str>, next: Option<&str>) -> Page {
    let main = html! { h1 { "Sign in" } (form("../", error, next)) };
    Page { title: "Sign in".to_owned(), place: Place::None, root: "../", scripts: &[], is_live: false, main }
}

/// Asks for a key.
pub fn form(root: &str, error: Option<&str>, next: Option<&str>) -> Markup {
    let refusal = error.map(|code| match code {
        "key-expired" => "The key has expired; `wasmill key rotate` makes a new one.",
        "too-many-wrong-keys" => "This address has sent too many wrong keys; try again in a minute.",
        "key-missing" => "Enter a key.",
        _ => "No key of this server has this text; it may have been revoked.",
    });
    html! {
        form.card.stack.sign-in method="post" action={ (root) "ui/login" } {
            @if let Some(refusal) = refusal { div.alert role="alert" { p { (refusal) } } }
            @if let Some(next) = next { (hidden("next", next)) }
            label { span { "Key" } input type="password" name="key" required autocomplete="current-password" autofocus placeholder="wmk_…"; }
            p.note { "This server asks for a key. " code { "wasmill key create NAME --scope watch,read" } " makes one." }
            div.buttons { button.primary type="submit" { "Sign in" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Site;

    #[test]
    fn a_refused_key_is_said_and_nothing_of_the_url_is_shown() {
        let shown = page(Some("<script>"), Some("\"><script>")).whole(&Site::default());
        assert!(shown.contains("No key of this server") && !shown.contains("\"><script>"));
        assert!(!page(None, None).whole(&Site::default()).contains("role=\"alert\""));
    }
}
