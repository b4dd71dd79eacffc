//! The page that asks for a key, or sends the browser to where people sign in, and the page after that.

use maud::{Markup, html};

use super::{Page, Place};
use crate::part::confirm::hidden;

/// Shows the page. `error` is the code of why the key before was refused, `next` the page to show afterwards, `provider`
/// the name of who signs people in elsewhere.
pub fn page(error: Option<&str>, next: Option<&str>, provider: Option<&str>) -> Page {
    let main = html! {
        h1 { "Sign in" }
        @if let Some(provider) = provider { (elsewhere("../", provider, next)) }
        (form("../", error, next))
    };
    Page { title: "Sign in".to_owned(), place: Place::None, root: "../", scripts: &[], is_live: false, main }
}

/// Leads to who signs people in elsewhere. It is a link: the policy of pages forbids to send a form to another server.
pub(crate) fn elsewhere(root: &str, provider: &str, next: Option<&str>) -> Markup {
    let next = next.map(|next| form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>());
    let query = next.map(|next| format!("?next={next}")).unwrap_or_default();
    html! { p { a.button.primary href={ (root) "ui/login/openid" (query) } { "Sign in with " (provider) } } }
}

/// Shows that a browser has signed in, with the way to the next page, which the answer takes by itself.
pub fn signed_in(next: &str) -> Page {
    let main = html! { h1 { "Signed in" } p { a href=(next) { "Continue" } } };
    Page {
        title: "Signed in".to_owned(),
        place: Place::None,
        root: "../../",
        scripts: &[],
        is_live: false,
        main,
    }
}

/// Asks for a key.
pub fn form(root: &str, error: Option<&str>, next: Option<&str>) -> Markup {
    let refusal = error.map(|code| match code {
        "key-expired" => "The key has expired; `wasmill key rotate` makes a new one.",
        "too-many-wrong-keys" => "This address has sent too many wrong keys; try again in a minute.",
        "key-missing" => "Enter a key.",
        "unknown-person" => "You have signed in, and no entry of the keys file says what you may do here.",
        "sign-in-failed" => "Nobody has signed in; begin again.",
        "issuer-unavailable" => {
            "The server where people sign in does not answer; try again later, or use a key."
        }
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
        let shown = page(Some("<script>"), Some("\"><script>"), None).whole(&Site::default());
        assert!(shown.contains("No key of this server") && !shown.contains("\"><script>"));
        assert!(!page(None, None, None).whole(&Site::default()).contains("role=\"alert\""));
    }

    #[test]
    fn who_signs_people_in_elsewhere_is_named_and_gets_the_next_page() {
        let shown = page(None, Some("/ui/tasks?state=failed&a=\"b"), Some("A & B")).whole(&Site::default());
        assert!(
            shown.contains("href=\"../ui/login/openid?next=%2Fui%2Ftasks%3Fstate%3Dfailed%26a%3D%22b\""),
            "{shown}"
        );
        assert!(shown.contains("Sign in with A &amp; B"), "{shown}");
        assert!(!page(None, None, None).whole(&Site::default()).contains("openid"));
    }
}
