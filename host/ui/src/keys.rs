//! The keys in force: what each may do and reach, when it ends and was used. Never their secrets.

use maud::{Markup, html};

use crate::part::text::{brief, visible};
use crate::part::time::{Show, optional, time};
use crate::part::{command, unit};
use crate::record::Key;
use crate::shell::{Page, Place};

/// Shows the page.
pub fn page(keys: &[Key]) -> Page {
    let main = html! {
        h1 { "Keys" }
        section aria-labelledby="list-title" {
            h2 id="list-title" { "In force" }
            @if keys.is_empty() {
                p.empty { "This server asks for no key: everyone who can connect may do everything. " code { "wasmill key create NAME --scope admin" } " makes the first one, and closes it." }
            }
            @else {
                table.records {
                    caption.sr { "Keys, by name" }
                    thead {
                        tr {
                            th scope="col" { "Name" } th scope="col" { "Scopes" } th scope="col" { "Reaches" } th scope="col" { "Rate" }
                            th scope="col" { "Ends" } th scope="col" { "Last used here" }
                        }
                    }
                    tbody id="rows" data-live { @for key in keys { (row(key)) } }
                }
            }
            (command::lines("GET", "/keys", None, Some("wasmill key list")))
        }
        section aria-labelledby="change-title" {
            h2 id="change-title" { "Change keys" }
            p { "Keys are kept in a file on the machine of the server and are changed there. A change takes effect within two seconds." }
            dl.facts.wide {
                @for (does, line) in COMMANDS { div { dt { (does) } dd { code { (line) } " " (command::copy(line)) } } }
            }
        }
    };
    Page { title: "Keys".to_owned(), place: Place::Keys, root: "../", scripts: &[], is_live: true, main }
}

const COMMANDS: [(&str, &str); 4] = [
    ("Create a key", "wasmill key create NAME --scope submit,read --expires 90d"),
    ("Create a key for a tenant", "wasmill key create NAME --scope submit,read --group NAME"),
    ("Replace a key, with an overlap", "wasmill key rotate NAME"),
    ("Revoke a key", "wasmill key revoke NAME"),
];

fn row(key: &Key) -> Markup {
    html! {
        tr {
            th scope="row" data-label="Name" {
                (brief(&key.name, 64)) @if key.this { " " span.note { "yours" } }
                br; code.note { (brief(&key.id, 64)) }
            }
            td data-label="Scopes" { @for (index, scope) in key.scopes.iter().enumerate() { @if index > 0 { ", " } (visible(scope)) } }
            td data-label="Reaches" { (reach(key)) }
            td data-label="Rate" {
                @if let Some(rate) = &key.rate { (visible(rate)) } @else { span.none { "–" } }
                @if key.refused > 0 { " " span.note { (unit::count(key.refused)) " refused" } }
            }
            td data-label="Ends" {
                @if key.expired { span.cause { "expired" } " " }
                @if let Some(expires) = &key.expires { (time(expires, Show::Age)) } @else { "never" }
            }
            td data-label="Last used here" {
                (optional(key.last_used_at.as_deref(), Show::Age))
                @if let Some(from) = &key.last_used_from { " " span.note { "from " (brief(from, 64)) } }
            }
        }
    }
}

fn reach(key: &Key) -> Markup {
    let parts = [("plugins", &key.plugins), ("groups", &key.groups), ("tags", &key.tags)];
    let bounds: Vec<_> =
        parts.into_iter().filter_map(|(name, names)| Some((name, names.as_ref()?))).collect();
    html! {
        @if bounds.is_empty() { "everything" }
        @for (index, (name, names)) in bounds.iter().enumerate() {
            @if index > 0 { "; " }
            (name) " "
            @for (index, name) in names.iter().enumerate() { @if index > 0 { ", " } code { (visible(name)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rights, Site};

    #[test]
    fn text_of_strangers_is_text_and_what_has_ended_is_said() {
        let text = || "\"'><script>alert(1)</script>\u{202e}\0".to_owned();
        let key = Key {
            id: text(),
            name: text(),
            scopes: vec![text()],
            plugins: Some(vec![text(), text()]),
            tags: Some(vec![text()]),
            rate: Some(text()),
            refused: 7,
            expires: Some(text()),
            expired: true,
            last_used_at: Some(text()),
            last_used_from: Some(text()),
            ..Key::default()
        };
        let site = Site { rights: Rights::ALL, ..Site::default() };
        let html = page(&[key, Key { this: true, ..Key::default() }]).whole(&site);
        assert!(!html.contains("<script>alert") && !html.contains("\u{202e}<"), "{html}");
        assert!(html.contains("expired") && html.contains("7 refused") && html.contains("yours"), "{html}");
        assert!(html.contains("everything") && html.contains("; tags "), "{html}");
        assert!(page(&[]).whole(&site).contains("This server asks for no key"));
    }

    #[test]
    fn only_an_admin_is_led_there() {
        let reader =
            Site { rights: Rights { watch: true, read: true, ..Rights::default() }, ..Site::default() };
        assert!(!page(&[]).whole(&reader).contains("href=\"../ui/keys\""));
        let admin = Site { rights: Rights::ALL, ..Site::default() };
        assert!(page(&[]).whole(&admin).contains("href=\"../ui/keys\""));
    }
}
