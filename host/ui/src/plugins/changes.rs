//! What an upload would change, before it is taken.

use maud::{Markup, html};

use crate::part::text::{brief, visible};
use crate::part::unit;
use crate::record::{Names, Upload};

/// Shows the difference to the version in service.
pub(super) fn section(upload: &Upload) -> Markup {
    let Upload { changes, .. } = upload;
    let permissions = &changes.permissions;
    let lists = [
        ("reach", &permissions.http),
        ("connect to", &permissions.tcp),
        ("read the variable", &permissions.env),
        ("use the folder", &permissions.dirs),
        ("use the scratch folder", &permissions.scratch),
        ("use the secret", &permissions.secrets),
        ("import", &changes.imports),
        ("export", &changes.exports),
    ];
    let is_same = lists.iter().all(|(_, names)| names.added.is_empty() && names.removed.is_empty())
        && changes.settings.is_empty()
        && !changes.schema_changed;
    html! {
        section.changes id="changes" aria-labelledby="dialog-title" {
            h2 id="dialog-title" {
                @if changes.is_new { "Add " } @else { "Replace " } (brief(&upload.name, 64)) "?"
            }
            p {
                (unit::bytes(upload.size_bytes)) ", compiled in " (unit::millis(upload.compile_ms))
                @if let Some(kind) = &upload.kind { ", kind " (visible(kind)) }
                @if let Some(digest) = &upload.digest { ", " code { (brief(digest, 8)) } }
                @if let Some(digest) = &changes.replaces { " in place of " code { (brief(digest, 8)) } }
            }
            @if let Some(secrets) = upload.permissions.as_ref().map(|all| &all.secrets) && !secrets.is_empty() {
                p.alert { "This plugin may use " @for (index, secret) in secrets.iter().enumerate() { @if index > 0 { ", " } code { (visible(&secret.name)) } } "." }
            }
            @if is_same { p { "Permissions, limits, imports and schema stay as they are." } }
            ul.may {
                @for (verb, names) in lists { (list(verb, names)) }
                @if changes.schema_changed { li.changed { "the schema of the input changes" } }
                @for (name, setting) in &changes.settings {
                    li.changed { (visible(name)) ": " code { (brief(&setting.from.to_string(), 80)) } " → " code { (brief(&setting.to.to_string(), 80)) } }
                }
            }
            p.note { "Nothing has been stored yet. Running tasks keep the version that they started with." }
        }
    }
}

fn list(verb: &str, names: &Names) -> Markup {
    html! {
        @for name in &names.added { li.added { "+ " (verb) " " code { (visible(name)) } } }
        @for name in &names.removed { li.removed { "− " (verb) " " code { (visible(name)) } } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Changes, PermissionChanges, Permissions, Secret, Setting};

    #[test]
    fn what_comes_and_goes_is_shown_as_text() {
        let text = || "<script>alert(1)</script>\u{202e}".to_owned();
        let names = || Names { added: vec![text()], removed: vec!["old".to_owned()] };
        let setting = Setting { from: 1.into(), to: text().into() };
        let changes = Changes {
            imports: names(),
            permissions: PermissionChanges { http: names(), ..PermissionChanges::default() },
            settings: [(text(), setting)].into(),
            ..Changes::default()
        };
        let shown = section(&Upload { name: text(), changes, ..Upload::default() }).into_string();
        assert!(
            !shown.contains("<script>")
                && shown.contains("− reach <code>old</code>")
                && !shown.contains("stay as they are")
        );
        assert!(section(&Upload::default()).into_string().contains("stay as they are"));
        let secret = Secret { name: "STRIPE_KEY".to_owned(), ..Secret::default() };
        let permissions = Some(Permissions { secrets: vec![secret], ..Permissions::default() });
        let shown = section(&Upload { permissions, ..Upload::default() }).into_string();
        assert!(shown.contains("may use <code>STRIPE_KEY</code>"), "{shown}");
    }
}
